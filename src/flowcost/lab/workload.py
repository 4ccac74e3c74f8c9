"""What runs inside a pod: a small server and client, told what to do line by line.

Run as a program of its own, standard library only: `workload.py CGROUP NETNS_FD`. It joins the
cgroup, then the network namespace, answers one JSON line per JSON line, and dies with its parent.
A TCP exchange is: 16 bytes (bytes up, bytes down), the bytes up, the bytes down; again, until the
client is done. Connections end with both FINs acknowledged by living sockets unless asked to reset.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

PR_SET_PDEATHSIG = 1  # prctl(2)
CLONE_NEWNET = 0x40000000
UDP_SEGMENT = 103  # linux/udp.h
CHUNK = bytes(1 << 16)
TIMEOUT_S = 30.0

_servers: list[socket.socket] = []


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _read(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            break
        parts += part
    return bytes(parts)


def _drain(connection: socket.socket, count: int) -> None:
    buffer = bytearray(1 << 18)
    while count > 0:
        received = connection.recv_into(buffer, min(count, len(buffer)))
        if not received:
            raise ConnectionError("the other end closed early")
        count -= received


def _send(connection: socket.socket, count: int) -> None:
    while count > 0:
        count -= connection.send(CHUNK[: min(count, len(CHUNK))])


def _serve_connection(connection: socket.socket) -> None:
    with connection:
        connection.settimeout(TIMEOUT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while len(header := _read(connection, 16)) == 16:
                up, down = struct.unpack("!QQ", header)
                _drain(connection, up)
                _send(connection, down)
        except OSError:
            return


def _accept(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve_connection, args=(connection,), daemon=True).start()


def _echo(server: socket.socket, silent: bool) -> None:  # noqa: FBT001 - a thread's argument
    while True:
        try:
            data, peer = server.recvfrom(65535)
            if not silent:
                server.sendto(data, peer)
        except OSError:
            return


def _answer(query: bytes, names: dict[str, list[str]]) -> bytes:
    """Return the DNS answer (RFC 1035) to one question; unknown names get NXDOMAIN."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    question_type = int.from_bytes(query[at + 1 : at + 3])
    name = ".".join(labels)
    family = socket.AF_INET6 if question_type == 28 else socket.AF_INET
    addresses = [a for a in names.get(name, []) if _family(a) == family]
    flags = 0x8180 if name in names else 0x8183
    answer = query[:2] + struct.pack("!HHHHH", flags, 1, len(addresses), 0, 0) + query[12 : at + 5]
    for address in addresses:
        data = socket.inet_pton(family, address)
        answer += struct.pack("!HHHIH", 0xC00C, question_type, 1, 30, len(data)) + data
    return answer


def _dns(server: socket.socket, names: dict[str, list[str]]) -> None:
    while True:
        try:
            query, peer = server.recvfrom(4096)
            server.sendto(_answer(query, names), peer)
        except OSError:
            return


def serve_tcp(port: int) -> None:
    """Accept exchanges on `port`, both families."""
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    _servers.append(listener)
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()


def serve_udp(
    port: int, *, silent: bool = False, names: dict[str, list[str]] | None = None
) -> None:
    """Echo datagrams, or keep silent, or answer DNS questions from `names`."""
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104
        server = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        server.bind((host, port))
        _servers.append(server)
        target, option = (_echo, silent) if names is None else (_dns, names)
        threading.Thread(target=target, args=(server, option), daemon=True).start()


def tcp(
    *,
    host: str,
    port: int,
    up: int = 0,
    down: int = 0,
    requests: int = 1,
    connections: int = 1,
    reset: bool = False,
) -> dict[str, int]:
    """Open `connections`, one after the other, each with `requests` exchanges."""
    refused = 0
    for _ in range(connections):
        connection = socket.socket(_family(host), socket.SOCK_STREAM)
        connection.settimeout(TIMEOUT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection.connect((host, port))
        except ConnectionRefusedError:
            refused += 1
            connection.close()
            continue
        for _ in range(requests):
            connection.sendall(struct.pack("!QQ", up, down) + CHUNK[: min(up, 1024)])
            _send(connection, up - min(up, 1024))
            _drain(connection, down)
        if reset:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        else:
            connection.shutdown(socket.SHUT_WR)
            _read(connection, 1)
        connection.close()
    return {"refused": refused}


def udp(
    *,
    host: str,
    port: int,
    count: int = 1,
    size: int = 64,
    connected: bool = True,
    replies: bool = True,
    segment: int = 0,
) -> dict[str, int]:
    """Send `count` datagrams of `size` bytes; `segment` splits each into many (UDP GSO)."""
    client = socket.socket(_family(host), socket.SOCK_DGRAM)
    client.settimeout(5.0)
    if segment:
        client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, segment)
    if connected:
        client.connect((host, port))
    answered = 0
    for _ in range(count):
        if connected:
            client.send(bytes(size))
        else:
            client.sendto(bytes(size), (host, port))
        expected = -(-size // segment) if segment else 1
        for _ in range(expected if replies else 0):
            try:
                client.recv(65535)
                answered += 1
            except TimeoutError:
                break
    client.close()
    return {"answered": answered}


def spray(*, host: str, port: int, first: int, last: int) -> None:
    """Send one datagram from each local port of [first, last): as many connections."""
    for number in range(first, last):
        with socket.socket(_family(host), socket.SOCK_DGRAM) as client:
            client.bind(("", number))
            client.sendto(b"x", (host, port))


def resolve(server: str, name: str, port: int = 53, family: int = 4) -> list[str]:
    """Ask `server` for `name` and return the addresses answered."""
    kind = 1 if family == 4 else 28
    labels = b"".join(bytes((len(part),)) + part.encode() for part in name.split("."))
    query = struct.pack("!HHHHHH", os.getpid() & 0xFFFF, 0x0100, 1, 0, 0, 0)
    query += labels + b"\0" + struct.pack("!HH", kind, 1)
    with socket.socket(_family(server), socket.SOCK_DGRAM) as client:
        client.settimeout(2.0)
        client.connect((server, port))
        client.send(query)
        answer = client.recv(4096)
    width = 4 if family == 4 else 16
    chosen = socket.AF_INET if family == 4 else socket.AF_INET6
    at, found = len(query), []
    for _ in range(int.from_bytes(answer[6:8])):
        found.append(socket.inet_ntop(chosen, answer[at + 12 : at + 12 + width]))
        at += 12 + width
    return found


def sleep(seconds: float) -> None:
    """Do nothing for a while: how an idle pod looks."""
    time.sleep(seconds)


COMMANDS: dict[str, Callable[..., Any]] = {
    "serve_tcp": serve_tcp,
    "serve_udp": serve_udp,
    "tcp": tcp,
    "udp": udp,
    "spray": spray,
    "resolve": resolve,
    "sleep": sleep,
}


def main(cgroup: str, namespace_fd: int) -> None:
    """Join the pod, then obey standard input until it closes."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with open(f"{cgroup}/cgroup.procs", "w") as processes:  # noqa: PTH123 - starts without pathlib
        processes.write("0")
    if libc.setns(namespace_fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(namespace_fd)
    sys.stdout.write('{"ok": null}\n')
    sys.stdout.flush()
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        try:
            reply = {"ok": COMMANDS[order.pop("do")](**order)}
        except Exception as error:  # noqa: BLE001 - the other end raises it
            reply = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
