"""The identity of a running mpp, which distinguishes the pages of several ones. Pure."""

from __future__ import annotations

from attrs import frozen

from mpp.core.text.humanize import listing


@frozen
class Identity:
    """
    The identity of one running mpp.

    :ivar host: the name of the machine or container.
    :ivar pid: the id of the process that receives signals; with workers, of their parent.
    :ivar listening: the addresses on which it listens.
    """

    host: str = ""
    pid: int = 0
    listening: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """The host, the addresses and the process id in one text; empty if none is known."""
        where = f"listens on {listing(self.listening)}" if self.listening else ""
        return ", ".join(filter(None, (self.host, where, f"pid {self.pid}" if self.pid else "")))
