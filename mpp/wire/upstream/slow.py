"""
Responses of one server that wait for their clients, and which of them is given up when there are too many.

The two decisions (`may_park`, `to_reset`) are pure. The rest keeps account of which responses are paused and of what their
clients have taken. It knows neither connections nor requests.

# Note [Paused responses]

A client that reads slowly pauses its response, and the server is read no further. Such a response would keep its slot under
``--max-concurrency`` for as long as the client likes, so that a few hundred slow clients keep everybody else waiting. Therefore
a paused response gives its slot back (it is *parked*) and takes one again when the client goes on. At most as many responses as
there are slots are parked, and at most half of these belong to one client address. A response that cannot be parked keeps its
slot. Only when another request waits for that slot is a response given up: the one whose client took least in the last `SPAN_S`
seconds. There is no minimum rate: a client on a bad line is served to the end unless it is the slowest of too many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol as Shape

from attrs import frozen

SPAN_S = 10
"""
Over how many seconds it is compared what clients take: a client on a bad mobile line takes some in any ten seconds, while the
kernel's buffers let even a good one pause for a second.
"""


class Paused(Shape):
    """What can be paused: a `mpp.wire.upstream.connection.UpstreamConnection` with a response under way."""

    def client(self) -> str:
        """Return the address of the client that the response is for."""

    def taken(self) -> int:
        """Return how many bytes of the response the client has taken so far."""


@frozen
class PausedReader:
    """
    A client that has paused its response.

    :ivar of: the response.
    :ivar client: the client's address.
    :ivar taken: bytes that the client took in the last `SPAN_S` seconds.
    :ivar parked: the response has given its slot back.
    """

    of: Paused
    client: str
    taken: int
    parked: bool


def share(limit: int) -> int:
    """Return how many of ``limit`` parked responses may be one client's."""
    return max(1, limit // 2)


def may_park(parked: int, of_client: int, limit: int) -> bool:
    """
    Decide whether one more paused response gives its slot back.

    :param parked: how many have done so on this server.
    :param of_client: how many of these are for the same client.
    :param limit: how many may.
    """
    return parked < limit and of_client < share(limit)


def to_reset(readers: Iterable[PausedReader], limit: int) -> PausedReader | None:
    """
    Choose the response that is given up because a request waits for a slot, see Note [Paused responses].

    :param readers: all paused responses of the server.
    :param limit: how many may be parked.
    :return: None when no paused response has a slot. When all places for parked responses are used up, the one that took least
        of all; when only some clients have used up their share, the one that took least of these clients'.
    """
    readers = list(readers)
    with_slot = {reader.client for reader in readers if not reader.parked}
    if sum(reader.parked for reader in readers) < limit:
        readers = [reader for reader in readers if reader.client in with_slot]
    return min(readers, key=_taken, default=None) if with_slot else None


def _taken(reader: PausedReader) -> int:
    return reader.taken


class _Account:
    """What is known of one response that was paused at least once: ``samples`` of what its client had taken, one a second."""

    __slots__ = ("client", "parked", "paused", "samples")

    def __init__(self, client: str) -> None:
        self.client = client
        self.paused = self.parked = False
        self.samples: deque[int] = deque(maxlen=SPAN_S)


class SlowReaders:
    """
    The paused responses of one server.

    :ivar accounts: what is known of the responses that were paused at least once.
    :ivar parked: how many have given their slot back.
    """

    __slots__ = ("_of_client", "accounts", "parked")

    def __init__(self) -> None:
        self.parked = 0
        self.accounts: dict[Paused, _Account] = {}
        self._of_client: dict[str, int] = {}

    def pause(self, response: Paused, limit: int) -> bool:
        """Record that a response is paused by its client; return whether it gives its slot back."""
        account = self.accounts.get(response)
        if account is None:
            account = self.accounts[response] = _Account(response.client())
        account.paused = True
        return not account.parked and self._park(account, limit)

    def resume(self, response: Paused) -> bool:
        """Record that the client goes on; return whether its response was parked, and needs a slot again."""
        account = self.accounts.get(response)
        if account is None:
            return False
        account.paused = False
        return self._unpark(account)

    def end(self, response: Paused) -> bool:
        """Forget a response, which has ended; return whether it was parked."""
        account = self.accounts.pop(response, None)
        return account is not None and self._unpark(account)

    def park_more(self, limit: int) -> list[Paused]:
        """Park what is paused and may give its slot back now, because others go on or have ended; return these."""
        waiting = ((response, account) for response, account in self.accounts.items() if account.paused and not account.parked)
        return [response for response, account in waiting if self._park(account, limit)]

    def sample(self) -> None:
        """Note what each client has taken so far. To be called once a second as long as there are any."""
        for response, account in self.accounts.items():
            account.samples.append(response.taken())

    def slowest(self, limit: int) -> Paused | None:
        """Return the response that is to be given up because a request waits for a slot; None when that would free none."""
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
        """Return what had been taken `SPAN_S` seconds ago; 0 when the response was not paused before that."""
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
