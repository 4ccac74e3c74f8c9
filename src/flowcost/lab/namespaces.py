"""Network namespaces without names: they live exactly as long as the file that holds them.

A namespace made here is reachable only through our own descriptor (and the processes we start in
it), so when this process ends, in whatever way, the kernel frees it and every device in it.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from flowcost.errors import NotPermittedError, NotSupportedError

CLONE_NEWNET = 0x40000000  # linux/sched.h

T = TypeVar("T")


def _libc(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise NotPermittedError(
            f"{name}: {os.strerror(code)}",
            hint="The lab needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN) on Linux.",
        )


def _in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own: a namespace belongs to a thread, not to a process."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - re-raised in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


class NetworkNamespace:
    """One network namespace, held by a descriptor.

    `path` names it for other programs as long as they inherit the descriptor.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self.fd = _in_thread(_new)

    @property
    def path(self) -> str:
        """Return a path to the namespace that holds in a child that inherits `fd`."""
        return f"/proc/self/fd/{self.fd}"

    def call(self, work: Callable[[], T]) -> T:
        """Return what `work` returns when run inside the namespace.

        A socket opened by `work` stays in the namespace for good.
        """

        def run() -> T:
            _libc("setns", self.fd, CLONE_NEWNET)
            return work()

        return _in_thread(run)

    def sysctl(self, settings: dict[str, int]) -> None:
        """Set `net.*` kernel parameters of the namespace."""

        def write() -> None:
            for name, value in settings.items():
                Path("/proc/sys/net", *name.split(".")).write_text(str(value))

        self.call(write)

    def run(self, *command: str, text: str = "", pass_fds: tuple[int, ...] = ()) -> str:
        """Run a program inside the namespace and return its output.

        Raises:
            NotSupportedError: the program is missing or fails; its own words are in the message.
        """
        full = ("nsenter", f"--net={self.path}", *command)
        try:
            done = subprocess.run(
                full,
                input=text,
                capture_output=True,
                text=True,
                check=False,
                pass_fds=(self.fd, *pass_fds),
            )
        except FileNotFoundError:
            raise NotSupportedError("nsenter is not installed", hint=PACKAGES_HINT) from None
        if done.returncode != 0:
            raise NotSupportedError(
                f"{self.label}: {' '.join(command)}: {done.stderr.strip()}", hint=PACKAGES_HINT
            )
        return done.stdout

    def close(self) -> None:
        """Let go of the namespace; it ends with its last process."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


PACKAGES_HINT = "On Debian: apt-get install iproute2 nftables ethtool util-linux"


def _new() -> int:
    _libc("unshare", CLONE_NEWNET)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
