"""
The way to a front: a virtual cable into a network namespace that can be cut, or, without the right to one, plain loopback.

Cut means: packets are dropped in both directions, nobody gets an error. On loopback the nearest thing is an accept queue that is
full, so that the kernel drops what wants to connect; what is connected has to be left unanswered by others.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from typing import Self

HERE, THERE = "198.18.0.1", "198.18.0.2"
"""The two ends (RFC 2544's range for benchmarks). Nothing leaves the namespaces: they have no other route."""
OUTSIDE, INSIDE = "bench0", "bench1"
NOBODY = "02:00:00:00:00:00"
"""A hardware address that no end has: a frame for it is dropped on arrival."""
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def ip(*arguments: str) -> str:
    """Run ``ip``; give what it prints."""
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def hardware_address(name: str) -> str:
    """Return an interface's hardware address."""
    fields = ip("-o", "link", "show", "dev", name).split()
    return fields[fields.index("link/ether") + 1]


class Link:
    """
    The way to one front; a context manager.

    :ivar address: where the front listens.
    """

    def __init__(self, *, namespace: bool) -> None:
        self.address = THERE if namespace else "127.0.0.1"
        self._namespace = namespace
        self._stack = contextlib.ExitStack()
        self._listener: socket.socket | None = None
        self._crowd: list[socket.socket] = []

    def __enter__(self) -> Self:
        if self._namespace:
            self._make()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _make(self) -> None:
        """Make the namespace and the cable; both go away with this process."""
        self._outer = os.open("/proc/self/ns/net", os.O_RDONLY)
        self._stack.callback(os.close, self._outer)
        _check(_libc.unshare(_CLONE_NEWNET))
        self._inner = os.open("/proc/self/ns/net", os.O_RDONLY)
        self._stack.callback(os.close, self._inner)
        ip("link", "add", INSIDE, "type", "veth", "peer", "name", OUTSIDE, "netns", f"/proc/{os.getpid()}/fd/{self._outer}")
        self._raise(INSIDE, THERE)
        self._mac_inside = hardware_address(INSIDE)
        _check(_libc.setns(self._outer, _CLONE_NEWNET))
        self._raise(OUTSIDE, HERE)
        self._mac_outside = hardware_address(OUTSIDE)
        self.join()

    def _raise(self, name: str, address: str) -> None:
        ip("addr", "add", f"{address}/30", "dev", name)
        ip("link", "set", name, "up")

    @contextlib.contextmanager
    def _inside(self) -> Iterator[None]:
        """Be in the front's namespace for a while, if it has one: a socket belongs to the one that it was made in."""
        if not self._namespace:
            yield
            return
        _check(_libc.setns(self._inner, _CLONE_NEWNET))
        try:
            yield
        finally:
            _check(_libc.setns(self._outer, _CLONE_NEWNET))

    def listen(self, port: int, backlog: int) -> socket.socket:
        """Return a listening socket."""
        with self._inside():
            listener = socket.create_server((self.address, port), backlog=backlog)
        self._listener, self._backlog = listener, backlog
        return listener

    def _point(self, inside: str, outside: str) -> None:
        """Let packets for either end go to a hardware address."""
        ip("neigh", "replace", THERE, "lladdr", inside, "dev", OUTSIDE, "nud", "permanent")
        with self._inside():
            ip("neigh", "replace", HERE, "lladdr", outside, "dev", INSIDE, "nud", "permanent")

    def cut(self) -> bool:
        """
        Drop all packets, or at least what wants to connect.

        :return bool: all packets are dropped, those of open connections too.
        """
        if self._namespace:
            self._point(NOBODY, NOBODY)
        elif self._listener is not None:
            self._crowd = [self._knock(self._listener) for _ in range(2)]
        return self._namespace

    def _knock(self, listener: socket.socket) -> socket.socket:
        listener.listen(0)
        visitor = socket.socket()
        visitor.setblocking(False)
        visitor.connect_ex(listener.getsockname())
        return visitor

    def join(self) -> None:
        """Let packets through."""
        if self._namespace:
            self._point(self._mac_inside, self._mac_outside)
        elif self._listener is not None and self._crowd:
            self._listener.listen(self._backlog)
            while self._crowd:
                self._crowd.pop().close()
