"""Memory is given back: what a run takes at most is what it needs at one time, not in all."""

from __future__ import annotations

import ctypes

import pyarrow as pa


def frugal() -> None:
    """Let this process's Arrow allocate from jemalloc, where it has one.

    The default keeps what each thread once had; jemalloc returns it within a second.
    """
    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def give_back() -> None:
    """Return unused memory to the kernel, between two stages."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim:
        trim(0)
