"""
The responses of one server that their clients read slowly, and the choice of the one that is reset if there are too many.

The two decisions (`may_park`, `to_reset`) are pure. The rest records which responses are paused and how much their clients have
read. It knows neither connections nor requests.

# Note [Paused responses]

A client that reads slowly pauses its response, and the server is read no further. Such a response would keep its slot under
``--max-concurrency`` as long as the client wants, so that a few hundred slow clients make all others wait. Therefore a paused
response gives its slot back (it is *parked*) and takes one again when the client reads on. At most as many responses as there
are slots are parked, and at most half of these belong to one client address. A response that cannot be parked keeps its slot.
Only when another request waits for that slot is a response reset: the one whose client read least in the last `SPAN_S` seconds.
There is no minimum rate: a client on a bad line is served to the end unless it is the slowest of too many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol as Shape

from attrs import frozen

SPAN_S = 10
"""
Seconds over which the speeds of clients are compared: a client on a bad mobile line reads something in any ten seconds, while
the kernel's buffers let even a good one pause for a second.
"""


class Paused(Shape):
    """The interface of a response that can be paused: a `mpp.wire.upstream.connection.UpstreamConnection` that receives one."""

    def client(self) -> str:
        """Return the address of the client that the response is for."""

    def taken(self) -> int:
        """Return how many bytes of the response the client has read so far."""


@frozen
class PausedReader:
    """
    A client that has paused its response, because it reads slowly.

    :ivar of: the paused response.
    :ivar client: the client's address.
    :ivar taken: bytes that the client read in the last `SPAN_S` seconds.
    :ivar parked: the response has given its slot to other requests.
    """

    of: Paused
    client: str
    taken: int
    parked: bool


def share(limit: int) -> int:
    """Return how many of the ``limit`` paused responses without a slot may belong to one client address."""
    return max(1, limit // 2)


def may_park(parked: int, of_client: int, limit: int) -> bool:
    """
    Decide whether one more paused response is parked: gives its slot to other requests.

    :param parked: how many responses of the server are parked already.
    :param of_client: how many of these belong to the same client.
    :param limit: how many may be parked at once.
    """
    return parked < limit and of_client < share(limit)


def to_reset(readers: Iterable[PausedReader], limit: int) -> PausedReader | None:
    """
    Choose the response that is reset because a request waits for a slot, see Note [Paused responses].

    :param readers: all paused responses of the server.
    :param limit: how many may be parked (paused without a slot).
    :return: None if no paused response has a slot. If no more responses may be parked, the one whose client read least of all;
        if only some clients have used up their share, the one that read least among these clients.
    """
    readers = list(readers)
    with_slot = {reader.client for reader in readers if not reader.parked}
    if sum(reader.parked for reader in readers) < limit:
        readers = [reader for reader in readers if reader.client in with_slot]
    return min(readers, key=_taken, default=None) if with_slot else None


def _taken(reader: PausedReader) -> int:
    return reader.taken


class _Account:
    """The record of one response that was paused at least once: ``samples`` of the bytes read by its client, one a second."""

    __slots__ = ("client", "parked", "paused", "samples")

    def __init__(self, client: str) -> None:
        self.client = client
        self.paused = self.parked = False
        self.samples: deque[int] = deque(maxlen=SPAN_S)


class SlowReaders:
    """
    The paused responses of one server.

    :ivar accounts: the records of the responses that were paused at least once.
    :ivar parked: how many responses have given their slot to other requests.
    """

    __slots__ = ("_of_client", "accounts", "parked")

    def __init__(self) -> None:
        self.parked = 0
        self.accounts: dict[Paused, _Account] = {}
        self._of_client: dict[str, int] = {}

    def pause(self, response: Paused, limit: int) -> bool:
        """Record that a client has paused its response; return whether the response now gives its slot to other requests."""
        account = self.accounts.get(response)
        if account is None:
            account = self.accounts[response] = _Account(response.client())
        account.paused = True
        return not account.parked and self._park(account, limit)

    def resume(self, response: Paused) -> bool:
        """Record that the client reads on; return whether its response had given its slot away, and needs one again."""
        account = self.accounts.get(response)
        if account is None:
            return False
        account.paused = False
        return self._unpark(account)

    def end(self, response: Paused) -> bool:
        """Remove a response that has ended; return whether it was paused without a slot."""
        account = self.accounts.pop(response, None)
        return account is not None and self._unpark(account)

    def park_more(self, limit: int) -> list[Paused]:
        """Return the paused responses that now give their slots to other requests, because others have ended or continue."""
        waiting = ((response, account) for response, account in self.accounts.items() if account.paused and not account.parked)
        return [response for response, account in waiting if self._park(account, limit)]

    def sample(self) -> None:
        """Record how much each client has read so far. To be called once a second as long as there are records."""
        for response, account in self.accounts.items():
            account.samples.append(response.taken())

    def slowest(self, limit: int) -> Paused | None:
        """Return the response to reset because a request waits for a slot; None if that would free no slot."""
        if all(account.parked or not account.paused for account in self.accounts.values()):
            return None
        readers = (
            PausedReader(response, account.client, response.taken() - self._before(account), account.parked)
            for response, account in self.accounts.items()
            if account.paused
        )
        chosen = to_reset(readers, limit)
        return None if chosen is None else chosen.of

    def _before(self, account: _Account) -> int:
        """Return how many bytes had been read `SPAN_S` seconds ago; 0 if the response was first paused later."""
        return account.samples[0] if len(account.samples) == SPAN_S else 0

    def _park(self, account: _Account, limit: int) -> bool:
        client = account.client
        of_client = self._of_client.get(client, 0)
        if not may_park(self.parked, of_client, limit):
            return False
        account.parked = True
        self.parked += 1
        self._of_client[client] = of_client + 1
        return True

    def _unpark(self, account: _Account) -> bool:
        if not account.parked:
            return False
        account.parked = False
        self.parked -= 1
        left = self._of_client[account.client] - 1
        if left:
            self._of_client[account.client] = left
        else:
            del self._of_client[account.client]
        return True
