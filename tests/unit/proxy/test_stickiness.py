"""Which server a client keeps for federation and remote read."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Backend, Choice, Observation, Selection, Standing
from mpp.proxy.decisions.placement import server_of
from mpp.selection.sticky_servers import sticky_servers

A, B, C = (Backend("http", name, 9090) for name in "abc")
CLIENTS = [f"192.0.2.{number}" for number in range(40)]


def selection(*selected: Backend, down: tuple[Backend, ...] = (), ejected: tuple[Backend, ...] = ()) -> Selection:
    """Return a Selection over all three servers."""
    standings = {each: Standing.DOWN if each in down else Standing.VIABLE for each in (A, B, C)}
    observations = tuple(Observation(each, standing, ejected_at=float(each in ejected)) for each, standing in standings.items())
    return Selection(1, Choice(selected, tuple(each for each in (A, B, C) if each not in selected)), observations)


class StickyServersTests(SynchronousTestCase):
    """The servers among which clients are kept, one Selection after the other."""

    def test_sticky_server_stays_until_it_is_out_of_service(self) -> None:
        """A server stays sticky until it goes out of service, and when it is back the others stay."""
        sticky: tuple[Backend, ...] = ()
        for now, expected in [
            (selection(), ()),
            (selection(A), (A,)),
            (selection(B), (A,)),
            (selection(A, B, C), (A,)),
            (selection(B, C, ejected=(A,)), (B, C)),
            (selection(A, B, C), (B, C)),
            (selection(A, C, down=(B,)), (C,)),
            (selection(A, B, C), (C,)),
            (selection(A, down=(A, B, C)), ()),
            (selection(A, B, down=(A, C)), (B,)),
        ]:
            sticky = sticky_servers(sticky, now)
            self.assertEqual(sticky, expected)

    def test_busy_server(self) -> None:
        """A busy server can serve, and stays sticky."""
        busy = evolve(selection(B), observations=(Observation(A, Standing.BUSY), Observation(B, Standing.VIABLE)))
        self.assertEqual(sticky_servers((A,), busy), (A,))


class ServerOfTests(SynchronousTestCase):
    """The server of one client."""

    def test_clients_are_spread(self) -> None:
        """Different clients keep different ones of several sticky servers, the same client the same."""
        now = evolve(selection(A, B, C), sticky=(A, B, C))
        self.assertEqual({server_of(client, now) for client in CLIENTS}, {A, B, C})
        self.assertEqual({server_of(CLIENTS[0], now) for _ in range(9)}, {server_of(CLIENTS[0], now)})

    def test_only_clients_of_a_lost_server_move(self) -> None:
        """When a server goes out of service its own clients move, before the next Selection already."""
        before = evolve(selection(A, B, C), sticky=(A, B, C))
        after = evolve(selection(B, C, down=(A,)), sticky=(A, B, C))
        for client in CLIENTS:
            home, now = server_of(client, before), server_of(client, after)
            self.assertTrue(now == home or (home == A and now != A), client)

    def test_no_server(self) -> None:
        """With no server in service none is kept."""
        self.assertIsNone(server_of("192.0.2.1", selection(A, down=(A, B, C))))
