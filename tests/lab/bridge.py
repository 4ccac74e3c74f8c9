"""Ports across network namespaces: who connects here is connected there, byte for byte."""

import contextlib
import socket
import threading


class Bridge:
    """Listens on loopback in one namespace and connects to loopback of another.

    `listen` and `connect` run their argument inside a namespace, as `NetworkNamespace.call` does.
    """

    def __init__(self, listen, connect, port):
        self.connect, self.to = connect, port
        self.carried = []
        self.server = listen(lambda: socket.create_server(("127.0.0.1", 0)))
        self.port = self.server.getsockname()[1]
        self.thread = threading.Thread(target=self.accept)
        self.thread.start()

    def accept(self):
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            try:
                far = self.connect(lambda: socket.create_connection(("127.0.0.1", self.to), 5))
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            self.carried = [one for one in self.carried if one.alive]
            self.carried.append(Carried(near, far))

    def close(self):
        """Close the port and whatever is still open through it."""
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join()
        for one in self.carried:
            one.close()


class Carried:
    """One connection: both ways are read until their ends, then both sockets are closed."""

    def __init__(self, near, far):
        self.sockets = (near, far)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    @property
    def alive(self):
        return self.thread.is_alive()

    def run(self):
        near, far = self.sockets
        with near, far:
            back = threading.Thread(target=pump, args=(far, near))
            back.start()
            pump(near, far)
            back.join()

    def close(self):
        for one in self.sockets:
            stop(one, socket.SHUT_RDWR)
        self.thread.join()


def pump(one, other):
    """Carry bytes until there are no more; the other end is told so."""
    try:
        while part := one.recv(65536):
            other.sendall(part)
    except OSError:
        stop(one, socket.SHUT_RDWR)
    stop(other, socket.SHUT_WR)


def stop(one, how):
    with contextlib.suppress(OSError):  # it has ended already
        one.shutdown(how)


def here(work):
    """Run `work` in the namespace of this process."""
    return work()
