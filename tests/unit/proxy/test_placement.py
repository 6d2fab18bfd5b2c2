"""Tests of `mpp.proxy.decisions.placement`: where a request goes that waits for a slot."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Backend, Choice, Observation, Selection, Standing
from mpp.proxy.decisions.placement import elsewhere

A, B, C = (Backend("http", name, 9090) for name in "abc")
VIABLE, BUSY, SUSPECT, NOT_READY = Standing.VIABLE, Standing.BUSY, Standing.SUSPECT, Standing.NOT_READY


def selection(*standings: Standing, selected: tuple[Backend, ...] = (A,), ejected: Backend | None = None) -> Selection:
    """Make a Selection of servers with these standings."""
    known = (A, B, C)[: len(standings)]
    observed = tuple(
        Observation(backend, standing, ejected_at=1.0 if backend == ejected else 0.0)
        for backend, standing in zip(known, standings, strict=True)
    )
    return Selection(1, Choice(selected, tuple(b for b in known if b not in selected)), observed)


class ElsewhereTests(SynchronousTestCase):
    """`elsewhere`, row by row."""

    def test_waiting_request_moves_where_there_is_room(self) -> None:
        """A waiting request goes to a server in service that has room, or to the newly selected one."""
        for title, known, waits_on, excluded, room, expected in (
            ("the standby has room", selection(VIABLE, VIABLE), A, (), (B,), B),
            ("a busy server may have room", selection(VIABLE, BUSY), A, (), (B,), B),
            ("the standby is full, too", selection(VIABLE, VIABLE), A, (), (), None),
            ("there is no other server", selection(VIABLE), A, (), (A,), None),
            ("the best of those that have room", selection(VIABLE, VIABLE, VIABLE), A, (), (C, B), B),
            ("selected ones first", selection(VIABLE, VIABLE, VIABLE, selected=(A, C)), A, (), (B, C), C),
            ("it failed already", selection(VIABLE, VIABLE), A, (A, B), (B,), None),
            ("the standby is suspect", selection(VIABLE, SUSPECT), A, (), (B,), None),
            ("the standby is not ready", selection(VIABLE, NOT_READY), A, (), (B,), None),
            ("the standby is out of service", selection(VIABLE, VIABLE, ejected=B), A, (), (B,), None),
            ("another one is selected now, and full", selection(VIABLE, VIABLE, selected=(B,)), A, (), (), B),
            ("another one is selected now, a third has room", selection(VIABLE, VIABLE, VIABLE, selected=(B,)), A, (), (C,), C),
            ("the selected one failed already", selection(VIABLE, VIABLE, selected=(B,)), A, (B,), (), None),
            ("its server is not known any more", selection(VIABLE, VIABLE, selected=(B,)), C, (), (), B),
            ("the selected one is a last resort", selection(SUSPECT, SUSPECT, selected=(B,)), A, (), (B,), None),
        ):
            self.assertEqual(elsewhere(known, waits_on, excluded, lambda each, room=room: each in room), expected, title)

    def test_query_avoids_servers_without_query_slots(self) -> None:
        """A query does not go to a server whose query slots are taken, unless that is the selected one now."""
        for title, known, room, expected in (
            ("the standby is viable", selection(VIABLE, VIABLE), (B,), B),
            ("the standby is busy", selection(VIABLE, BUSY), (B,), None),
            ("a third is not", selection(VIABLE, BUSY, VIABLE), (B, C), C),
            ("the busy one is selected now", selection(VIABLE, BUSY, selected=(B,)), (B,), B),
        ):
            self.assertEqual(elsewhere(known, A, (), lambda each, room=room: each in room, query=True), expected, title)
