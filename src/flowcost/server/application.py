"""The HTTP application: health, then what the views offer, over one lifetime."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route

from flowcost.views import problems

Background = Callable[[], AbstractContextManager[object]]


def build(
    routes: Sequence[BaseRoute],
    middleware: Sequence[Middleware] = (),
    background: Background | None = None,
) -> Starlette:
    """Return the application; `background` runs from before its first request to after its last."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if background is None:
            yield
            return
        held = background()
        await run_in_threadpool(held.__enter__)
        try:
            yield
        finally:
            await run_in_threadpool(held.__exit__, None, None, None)

    return Starlette(
        routes=[Route("/healthz", _alive), *routes],
        middleware=list(middleware),
        exception_handlers=problems.HANDLERS,
        lifespan=lifespan,
    )


async def _alive(_: Request) -> PlainTextResponse:
    """Answer that the process runs; whether all is well, and why not, says /v1/health."""
    return PlainTextResponse("ok\n")
