"""Which mpp is asked: whoever has several of them open has to tell them apart. A value; pure."""

from __future__ import annotations

from attrs import frozen

from mpp.core.text.humanize import listing


@frozen
class Identity:
    """
    One running mpp.

    :ivar host: the name of the machine or the container.
    :ivar pid: the process that takes signals; with workers, their parent.
    :ivar listening: the addresses that are listened on.
    """

    host: str = ""
    pid: int = 0
    listening: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """The identity in words; empty when nothing is known."""
        where = f"listens on {listing(self.listening)}" if self.listening else ""
        return ", ".join(filter(None, (self.host, where, f"pid {self.pid}" if self.pid else "")))
