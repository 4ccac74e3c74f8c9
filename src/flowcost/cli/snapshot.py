"""`flowcost snapshot`: write an inventory directory from live sources, read-only."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from flowcost import clock
from flowcost.cli.options import emit, format_option
from flowcost.errors import UsageError
from flowcost.schema import Column
from flowcost.views.tables import render

_COLUMNS = (
    Column("file", "text", "file that was written"),
    Column("count", "int", "things that it lists"),
)
# What one run replaces as a whole: aws/<account>/<region>, kubernetes/<cluster>, netbox.
_UNITS = ("aws/*/*", "kubernetes/*", "netbox")
_TOKEN_VARIABLE = "FLOWCOST_NETBOX_TOKEN"  # noqa: S105 - the name of a variable


def _policy(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from flowcost.resolve import aws_snapshot  # noqa: PLC0415 - only for this answer

        click.echo(aws_snapshot.policy())
        ctx.exit()


def _cluster_role(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from flowcost.resolve import kubernetes_snapshot  # noqa: PLC0415 - only for this answer

        click.echo(kubernetes_snapshot.cluster_role())
        ctx.exit()


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--aws", is_flag=True, help="Read the AWS account of the environment.")
@click.option("--profile", "profiles", multiple=True, help="AWS profile; one per account.")
@click.option("--region", "regions", multiple=True, help="AWS region, or 'all'.")
@click.option("--endpoint-url", default="", help="Another AWS endpoint.")
@click.option("--kubernetes", is_flag=True, help="Read the cluster of kubectl's current context.")
@click.option("--context", "contexts", multiple=True, help="kubectl context; one per cluster.")
@click.option("--cluster-name", default="", help="Name of the one cluster, else its context.")
@click.option("--kubeconfig", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--netbox", "netbox_url", default="", help="Address of a NetBox server.")
@click.option(
    "--netbox-token-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File with its token. Default: the environment variable FLOWCOST_NETBOX_TOKEN.",
)
@click.option("--history", is_flag=True, help="Add DIRECTORY/<UTC time>.")
@click.option(
    "--print-policy",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_policy,
    help="Print the smallest IAM policy that is enough.",
)
@click.option(
    "--print-cluster-role",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_cluster_role,
    help="Print the smallest Kubernetes role that is enough.",
)
@format_option
def command(
    *,
    directory: Path,
    aws: bool,
    profiles: tuple[str, ...],
    regions: tuple[str, ...],
    endpoint_url: str,
    kubernetes: bool,
    contexts: tuple[str, ...],
    cluster_name: str,
    kubeconfig: Path | None,
    netbox_url: str,
    netbox_token_file: Path | None,
    history: bool,
    form: str,
) -> None:
    """Write an inventory to DIRECTORY: who holds which address, now.

    Only read calls are made. Without --history the snapshot speaks for all time; a history of
    snapshots dates every identity, so run it regularly.
    """
    use_aws = aws or bool(profiles) or bool(regions)
    use_kubernetes = kubernetes or bool(contexts)
    if not (use_aws or use_kubernetes or netbox_url):
        raise UsageError("nothing to read", hint="name --aws, --kubernetes or --netbox URL")
    if cluster_name and len(contexts) > 1:
        raise UsageError("--cluster-name names one cluster, and there are several --context")
    written = []
    with _published(directory, history=history) as staging:
        if use_aws:
            from flowcost.resolve import aws_snapshot  # noqa: PLC0415 - boto3 is slow to load

            for profile in profiles or ("",):
                written += aws_snapshot.take(
                    staging,
                    profile=profile,
                    regions=regions,
                    endpoint_url=endpoint_url,
                    progress=_progress,
                )
        if use_kubernetes:
            from flowcost.resolve import kubernetes_snapshot  # noqa: PLC0415 - only if asked for

            for context in contexts or ("",):
                written += kubernetes_snapshot.take(
                    staging,
                    context=context,
                    cluster=cluster_name,
                    kubeconfig=kubeconfig,
                    progress=_progress,
                )
        if netbox_url:
            from flowcost.resolve import netbox_api  # noqa: PLC0415 - only if asked for

            token = _token(netbox_token_file)
            written += netbox_api.take(staging, netbox_url, token, progress=_progress)
        rows = [(str(one.path.relative_to(staging)), one.count) for one in written]
    emit(render(_COLUMNS, rows, form), None)


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"reading {line}", err=True)


def _token(file: Path | None) -> str:
    if file is None:
        return os.environ.get(_TOKEN_VARIABLE, "")
    return file.read_text(encoding="utf-8").strip()


@contextmanager
def _published(directory: Path, *, history: bool) -> Iterator[Path]:
    """Yield a directory to write into; it becomes the inventory only if all went well."""
    _refuse_mixture(directory, history=history)
    # Addresses and names of everything that runs: a new directory is for its owner alone.
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    taken = clock.now()
    staging = Path(tempfile.mkdtemp(prefix=".snapshot-", dir=directory))
    try:
        yield staging
        if history:
            staging.rename(directory / clock.iso(taken))
        else:
            for pattern in _UNITS:
                for unit in sorted(staging.glob(pattern)):
                    _replace(directory / unit.relative_to(staging), unit)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replace(target: Path, unit: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rename(unit.with_name(f"{unit.name}.before"))
    unit.rename(target)


def _refuse_mixture(directory: Path, *, history: bool) -> None:
    """Refuse to put a history's moments and a lone snapshot into one directory."""
    if history and any((directory / name).exists() for name in ("aws", "kubernetes", "netbox")):
        raise UsageError(
            f"{directory} holds a snapshot, not a history",
            hint="move it into a directory named by its time (2026-11-01T00:00:00Z), or leave "
            "--history away to replace it",
        )
    if not history and any(directory.glob("????-??-??T*")):
        raise UsageError(f"{directory} holds a history", hint="add to it with --history")
