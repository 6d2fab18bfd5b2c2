"""
The ways in which a server goes wrong, as values.

A fault gets the answer that a healthy server would give, as bytes, and the line to send on; what it does with them is the fault.
It knows neither HTTP's parsing nor sockets.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen

from mpp.testing.plan import IFault, ILine


@frozen
class Fault:
    """Base of the faults that strike single requests."""

    strikes: str = field(default="request", init=False)


@frozen
class Refuse:
    """The port is closed, what was connected is reset: the process has died."""

    strikes: str = field(default="port", init=False)

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Never reached by a real connection; in memory, reset it."""
        line.reset()


@frozen
class Vanish:
    """Nobody accepts connections any more and nothing is answered: the kernel takes what the backlog holds, then drops."""

    strikes: str = field(default="port", init=False)

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Say nothing."""


@frozen
class Die:
    """The connection is reset as soon as a request has come; with a share, that share of the connections."""

    strikes: str = field(default="connection", init=False)

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Reset."""
        line.reset()


@frozen
class Silence(Fault):
    """Accepts, reads, never answers."""

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Say nothing."""


@frozen
class Late(Fault):
    """The right answer after some seconds."""

    seconds: float = 2.0

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Wait, then answer."""

        def answer() -> None:
            line.send(head + body)
            line.done()

        line.later(self.seconds, answer)


@frozen
class Status(Fault):
    """The same error to everything, in plain text as a server that starts or stops gives it, or as JSON."""

    status: int = 503
    body: bytes = b"Service Unavailable"

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Answer with the error."""
        kind = b"application/json" if self.body.startswith(b"{") else b"text/plain; charset=utf-8"
        line.send(b"HTTP/1.1 %d Spoiled\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (self.status, kind, len(self.body)))
        line.send(self.body)
        line.done()


@frozen
class HalfThenClose(Fault):
    """Head and half of the body, then FIN."""

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send half, close."""
        line.send(head + body[: len(body) // 2])
        line.close()


@frozen
class HalfThenReset(Fault):
    """Head and half of the body, then RST."""

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send half, reset."""
        line.send(head + body[: len(body) // 2])
        line.reset()


@frozen
class HalfThenSilence(Fault):
    """Head and half of the body, then nothing more, for ever."""

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send half."""
        line.send(head + body[: len(body) // 2])


@frozen
class Garbage(Fault):
    """Not HTTP at all."""

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Speak something else."""
        line.send(b"SSH-2.0-OpenSSH_9.2p1\r\n\x00\x01\x02 this is not the answer you are looking for\r\n\r\n")
        line.close()


@frozen
class Close(Fault):
    """Closes without a word."""

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Close."""
        line.close()


@frozen
class Drip(Fault):
    """The right answer, one byte at a time."""

    every: float = 0.05

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send a byte, wait, and so on."""
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
    A ``Content-Length`` that is off.

    :ivar by: positive: more is announced than comes before the connection closes. Negative: more comes than was announced.
    """

    by: int = 10

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send everything under the wrong length, close."""
        status = head.partition(b"\r\n")[0]
        line.send(
            status + b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % max(0, len(body) + self.by) + body
        )
        line.close()


@frozen
class Interim(Fault):
    """Informational answers before the right one, which HTTP allows."""

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """Send 100, 102 and 103, then the answer."""
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
"""By the names that the command line and the control port know."""
