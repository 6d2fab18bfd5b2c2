"""A TCP relay that takes a limited number of connections as Go's LimitListener does: it does not accept further ones."""

from __future__ import annotations

import contextlib
import socket
import threading


class Limiter:
    """
    Listens on loopback in front of a server until it is closed.

    :param target: the server's port.
    :param limit: how many connections are accepted at once.
    :ivar port: where it listens.
    """

    def __init__(self, target: int, limit: int) -> None:
        self._target = target
        self._slots = threading.Semaphore(limit)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._open: set[socket.socket] = set()
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept nothing more, and reset what is open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in tuple(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            self._slots.acquire()
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self._target)) as server:
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open |= {client, server}
                back = threading.Thread(target=_pipe, args=(server, client), daemon=True)
                back.start()
                _pipe(client, server)
                back.join()
                self._open -= {client, server}
        finally:
            self._slots.release()


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes until either side ends, then end both."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
