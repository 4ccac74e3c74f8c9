"""Traffic between two ends, by standard library only: each function is one command."""

import contextlib
import os
import socket
import struct
import sys
import time

LINGER_RESET = struct.pack("ii", 1, 0)


def tcp(host):
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)


def udp(host):
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)


def ready():
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def tcp_server(host, port):
    """Echo small requests; swallow bulk; send what `send N` asks for."""
    listener = tcp(host)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, int(port)))
    listener.listen(512)
    ready()
    while True:
        connection, _ = listener.accept()
        if os.fork():
            connection.close()
            continue
        listener.close()
        with connection, contextlib.suppress(ConnectionError):
            while data := connection.recv(1 << 20):
                if data.startswith(b"send "):
                    connection.sendall(bytes(int(data.split()[1])))
                elif len(data) <= 64:
                    connection.sendall(data)
        os._exit(0)


def tcp_once(host, port):
    """Answer one request a connection and close first, so that TIME_WAIT is at this end."""
    with tcp(host) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(512)
        ready()
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(ConnectionError):
                connection.sendall(connection.recv(64))


def finish(connection):
    """End a connection and see the other's end; a FIN after a close has no socket to count it."""
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(1 << 20):
        pass


def bulk(host, port, size):
    with tcp(host) as s:
        s.connect((host, int(port)))
        s.sendall(bytes(int(size)))
        finish(s)


def fetch(host, port, size):
    with tcp(host) as s:
        s.connect((host, int(port)))
        s.sendall(b"send %d " % int(size))
        left = int(size)
        while left:
            left -= len(s.recv(1 << 20))
        finish(s)


def requests(host, port, count):
    with tcp(host) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.connect((host, int(port)))
        for _ in range(int(count)):
            s.sendall(b"x" * 64)
            s.recv(64)
        finish(s)


def churn(host, port, count, how="fin"):
    for _ in range(int(count)):
        with tcp(host) as s:
            if how == "reset":
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
            s.connect((host, int(port)))
            s.sendall(b"x" * 64)
            s.recv(64)
            if how == "fin":
                finish(s)
            if how == "last":
                s.recv(64)


def refused(host, port, count):
    for _ in range(int(count)):
        with tcp(host) as s, contextlib.suppress(ConnectionRefusedError):
            s.connect((host, int(port)))


def udp_server(host, port):
    with udp(host) as s:
        s.bind((host, int(port)))
        ready()
        while True:
            data, peer = s.recvfrom(65535)
            s.sendto(data[:512], peer)


def udp_requests(host, port, count, how="connected", size="100", pause="0"):
    with udp(host) as s:
        s.settimeout(2)
        if how == "connected":
            s.connect((host, int(port)))
        for _ in range(int(count)):
            if how == "connected":
                s.send(bytes(int(size)))
                s.recv(65535)
            else:
                s.sendto(bytes(int(size)), (host, int(port)))
                s.recvfrom(65535)
            time.sleep(float(pause))


def udp_segments(host, port, count, segments="30", size="1200"):
    """Send super-datagrams by UDP_SEGMENT, as QUIC stacks do; nothing comes back."""
    with udp(host) as s:
        s.setsockopt(socket.IPPROTO_UDP, 103, int(size))
        for _ in range(int(count)):
            s.sendto(bytes(int(segments) * int(size)), (host, int(port)))
            time.sleep(0.002)


def udp_sink(host, port):
    with udp(host) as s:
        s.bind((host, int(port)))
        ready()
        while True:
            s.recv(65535)


def dns_server(host, port, transport, answer):
    """Give every question the same answer."""
    message = bytes.fromhex(answer)
    if transport == "udp":
        with udp(host) as s:
            s.bind((host, int(port)))
            ready()
            while True:
                _, peer = s.recvfrom(4096)
                s.sendto(message, peer)
    with tcp(host) as s:
        s.bind((host, int(port)))
        s.listen(64)
        ready()
        while True:
            connection, _ = s.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(struct.pack(">H", len(message)) + message)
                connection.recv(1)


def dns_ask(host, port, transport, count):
    for _ in range(int(count)):
        with udp(host) if transport == "udp" else tcp(host) as s:
            s.connect((host, int(port)))
            s.sendall(b"q" * 30)
            s.recv(4096)


def ping(host, count):
    v6 = ":" in host
    protocol = socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP
    with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, protocol) as s:
        s.settimeout(2)
        for number in range(int(count)):
            kind = 128 if v6 else 8
            head = struct.pack(">BBHHH", kind, 0, 0, 7, number)
            total = sum(struct.unpack(">4H", head))
            s.sendto(struct.pack(">BBHHH", kind, 0, ~total & 0xFFFF, 7, number), (host, 0))
            s.recv(2048)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
