"""
The memory that all requests together may hold.

Whoever keeps a body's bytes takes them from the one Budget and gives back as many. It knows nothing of requests.
"""

from __future__ import annotations


class Budget:
    """
    A count of bytes held, with a limit.

    :ivar limit: how many bytes may be held at once.
    :ivar held: how many are.
    """

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def __repr__(self) -> str:
        return f"<Budget {self.held} of {self.limit}>"

    def take(self, size: int) -> bool:
        """Hold so many bytes more, unless that passes the limit; tell whether they are held now."""
        held = self.held + size
        if held > self.limit:
            return False
        self.held = held
        return True

    def overdraw(self, size: int) -> None:
        """
        Hold bytes that are in memory already, past the limit if need be.

        For the rest of a segment that a connection had read when it was paused: at most one segment for each connection.
        """
        self.held += size

    def give(self, size: int) -> None:
        """Hold so many bytes less."""
        self.held -= size
