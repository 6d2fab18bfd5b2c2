"""
Decides which range queries are worth an entry of the cache. Knows queries by their hash only, and bounds its own memory.

Most range queries of dashboards start at a multiple of their step, or at a fixed offset from it, the phase. Their entries can be
used again at once. A query with another phase is most likely asked once only, by a browser that does not align its time range.
"""

from __future__ import annotations

import math
from array import array
from collections import OrderedDict
from hashlib import blake2b

from twisted.internet.interfaces import IReactorTime

SECOND_WITHIN_S = 600.0
"""A query whose phase is not usual is admitted if it is asked a second time within this number of seconds."""
USUAL_PHASES = 4
"""The number of phases of a step, besides 0, that are usual: their queries are admitted when they are asked the first time."""

_BITS = 16
_SLOTS = 1 << _BITS
_STEPS = 256
_PHASES = 16
_MOST_COUNTED = 1024


class Admission:
    """
    The memory of the range queries that were asked lately and are not in the cache: 64 Ki hashes of queries, and the phases of
    256 different steps.

    :param secret: the key of the hash, so that clients cannot choose queries whose hashes collide.
    """

    def __init__(self, clock: IReactorTime, secret: bytes) -> None:
        self._clock = clock
        self._secret = secret
        self._fingerprints = array("Q", bytes(8 * _SLOTS))
        self._asked_at = array("d", [-math.inf]) * _SLOTS
        self._phases: OrderedDict[int, dict[int, int]] = OrderedDict()

    def admits(self, query: bytes, step_ms: int, phase_ms: int) -> bool:
        """
        Return whether a query that is not in the cache gets an entry, and remember that it was asked.

        :param query: the key of the query in the cache, as bytes; other keys have other bytes.
        :param step_ms: its step in milliseconds.
        :param phase_ms: the start of its range modulo the step, in milliseconds.
        """
        return phase_ms == 0 or self._is_usual(step_ms, phase_ms) or self._is_second(query)

    def _is_usual(self, step_ms: int, phase_ms: int) -> bool:
        """
        Count a phase, and return whether it is one of the most used ones of its step.

        The phases are counted as by Misra and Gries ("Finding repeated elements", 1982): a phase with more than 1/17 of the uses
        is always counted, whatever other phases clients make up.
        """
        counts = self._phases.setdefault(step_ms, {})
        self._phases.move_to_end(step_ms)
        if len(self._phases) > _STEPS:
            self._phases.popitem(last=False)
        if phase_ms in counts or len(counts) < _PHASES:
            counts[phase_ms] = counts.get(phase_ms, 0) + 1
        else:
            self._phases[step_ms] = {phase: count - 1 for phase, count in counts.items() if count > 1}
            return False
        if counts[phase_ms] > _MOST_COUNTED:
            # A phase that is used now has to outnumber the ones of last week.
            counts = self._phases[step_ms] = {phase: count // 2 for phase, count in counts.items() if count > 1}
        more = sum(1 for count in counts.values() if count > counts[phase_ms])
        return more < USUAL_PHASES and counts[phase_ms] > 1

    def _is_second(self, query: bytes) -> bool:
        digest = int.from_bytes(blake2b(query, digest_size=8, key=self._secret).digest(), "little")
        slot, fingerprint = digest % _SLOTS, digest >> _BITS
        now = self._clock.seconds()
        again = self._fingerprints[slot] == fingerprint and now - self._asked_at[slot] <= SECOND_WITHIN_S
        self._fingerprints[slot], self._asked_at[slot] = fingerprint, now
        return again
