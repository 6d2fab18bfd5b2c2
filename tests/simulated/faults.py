"""
The ways in which a server fails, as values.

A fault gets the correct response as bytes, and the connection; it sends something else, or nothing, or at another time.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen

from tests.simulated.plan import IFault, ILine


@frozen
class Fault:
    """The base class of faults that affect single requests."""

    strikes: str = field(default="request", init=False)


@frozen
class Refuse:
    """A process that has ended: the port is closed, and open connections are reset."""

    strikes: str = field(default="port", init=False)

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Reset the connection; only called in memory, because a closed port has none."""
        line.reset()


@frozen
class Vanish:
    """A hung process that accepts no connection and sends no response; the kernel drops SYNs once the backlog is full."""

    strikes: str = field(default="port", init=False)

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send no response at all."""


@frozen
class Die:
    """A reset of the connection at its first request; the share is one of connections."""

    strikes: str = field(default="connection", init=False)

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Reset the connection at once."""
        line.reset()


@frozen
class Silence(Fault):
    """A server that accepts connections and reads requests, and never responds."""

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send no response at all."""


@frozen
class Late(Fault):
    """The correct response after some seconds."""

    seconds: float = 2.0

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send the response after the delay."""

        def answer() -> None:
            line.send(head + body)
            line.done()

        line.later(self.seconds, answer)


@frozen
class Status(Fault):
    """The same error for every request, in plain text as from a server that starts or stops, or in JSON."""

    status: int = 503
    body: bytes = b"Service Unavailable"

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send the error as the response."""
        kind = b"application/json" if self.body.startswith(b"{") else b"text/plain; charset=utf-8"
        line.send(b"HTTP/1.1 %d Spoiled\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (self.status, kind, len(self.body)))
        line.send(self.body)
        line.done()


@frozen
class HalfThenClose(Fault):
    """A response that ends with FIN after half of the body."""

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send half of the body and close the connection."""
        line.send(head + body[: len(body) // 2])
        line.close()


@frozen
class HalfThenReset(Fault):
    """A response that ends with RST after half of the body."""

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send half of the body and reset the connection."""
        line.send(head + body[: len(body) // 2])
        line.reset()


@frozen
class HalfThenSilence(Fault):
    """A response that stalls forever after half of the body."""

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send half of the body, and nothing after it."""
        line.send(head + body[: len(body) // 2])


@frozen
class Garbage(Fault):
    """A response in a protocol other than HTTP."""

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send the greeting of an SSH server and close the connection."""
        line.send(b"SSH-2.0-OpenSSH_9.2p1\r\n\x00\x01\x02 this is not the answer you are looking for\r\n\r\n")
        line.close()


@frozen
class Close(Fault):
    """A connection that is closed without a response."""

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Close the connection at once."""
        line.close()


@frozen
class Drip(Fault):
    """The correct response, one byte at a time."""

    every: float = 0.05

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send one byte every ``every`` seconds."""
        self._drop(line, head + body, 0)

    def _drop(self, line: ILine, data: bytes, at: int) -> None:
        line.send(data[at : at + 1])
        if at + 1 >= len(data):
            line.done()
            return
        line.later(self.every, lambda: self._drop(line, data, at + 1))


@frozen
class WrongLength(Fault):
    """
    A response with a wrong ``Content-Length``.

    :ivar by: the difference in bytes. If it is positive, the connection is closed before the announced length is reached; if it
        is negative, more bytes are sent than announced.
    """

    by: int = 10

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send the whole body with the wrong length and close the connection."""
        status = head.partition(b"\r\n")[0]
        line.send(
            status + b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % max(0, len(body) + self.by) + body
        )
        line.close()


@frozen
class Interim(Fault):
    """Informational responses before the correct one, which HTTP allows."""

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send 100, 102 and 103, then the correct response."""
        noise = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        line.send(noise + head + body)
        line.done()


FAULTS: dict[str, Callable[..., IFault]] = {
    "refuse": Refuse,
    "vanish": Vanish,
    "die": Die,
    "silence": Silence,
    "late": Late,
    "status": Status,
    "half-close": HalfThenClose,
    "half-reset": HalfThenReset,
    "half-silence": HalfThenSilence,
    "garbage": Garbage,
    "close": Close,
    "drip": Drip,
    "wrong-length": WrongLength,
    "interim": Interim,
}
"""The faults by their names on the command line and the control port."""
