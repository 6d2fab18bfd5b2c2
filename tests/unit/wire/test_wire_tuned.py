"""Whether mpp leans on Twisted's private parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet import tcp
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mpp.wire.tuned import switch as tuned
from mpp.wire.tuned import transports
from mpp.wire.tuned.reactor import lean_reactor

ROOT = Path(__file__).parents[3]

_PROGRAM = """\
import json, sys
from mpp.wire.tuned.reactor import install
from mpp.wire.tuned.switch import is_tuned
install(tuned=is_tuned())
from twisted.internet import reactor
from mpp.config.loader import read
from mpp.app.program import Program
program = Program(read(["--endpoint", "127.0.0.1:1", "--listen", "tcp:0:interface=127.0.0.1"], {}).settings, reactor)
program.privilegedStartService()
port, dialer = program.listeners.open[0].port, program.backends.pool._dialer
print(json.dumps([type(reactor).__name__, port.transport.__name__, dialer.eager]))
"""


class DecisionTests(SynchronousTestCase):
    """What decides."""

    def test_mpp_plain_accepts_any_word_but_no(self) -> None:
        """Any word but those for no asks for Twisted's own parts."""
        for text, plain in (("1", True), ("yes", True), ("please", True), ("", False), ("0", False), ("No", False)):
            self.assertEqual(tuned.is_asked_for({"MPP_PLAIN": text}), plain, text)
        self.assertFalse(tuned.is_asked_for({}))

    def test_nothing_changed(self) -> None:
        """This release of Twisted has all that is needed."""
        self.assertEqual(tuned.changed_privates(), ())

    def test_changed_twisted_is_used_as_it_is(self) -> None:
        """A release of Twisted that differs in one thing is used as it is, in everything, and the log says what that is."""
        self.patch(os, "environ", {})
        self.forget()
        self.assertTrue(tuned.is_tuned())
        for owner, name, said in (
            (tcp.Port, "transport", "Port.transport"),
            (EPollReactor, "doIteration", "EPollReactor.doIteration is doPoll"),
        ):
            patch = self.patch(owner, name, None)
            self.forget()
            self.assertFalse(tuned.is_tuned())
            self.assertEqual(tuned.changed_privates(), (said,))
            patch.restore()

    def test_log_says_when_plain_parts_are_used(self) -> None:
        """The log says when Twisted's own parts are used, and why; otherwise nothing, at its usual level."""
        for environ, broken, said in (
            ({}, False, []),
            ({"MPP_PLAIN": "1"}, False, [("info", "mpp uses Twisted's own reactor and transports, because MPP_PLAIN is set")]),
            (
                {},
                True,
                [
                    (
                        "warn",
                        "mpp uses Twisted's own reactor and transports, which are slower:"
                        " this release of Twisted has changed what the fast ones use: Port.transport",
                    )
                ],
            ),
        ):
            self.patch(os, "environ", environ)
            patch = self.patch(tcp.Port, "transport", None if broken else tcp.Server)
            self.forget()
            with capturedLogs() as events:
                tuned.log_state(lean())
            patch.restore()
            told = [(event["log_level"].name, formatEvent(event)) for event in events]
            self.assertEqual([(level, text) for level, text in told if level != "debug"], said)

    def test_another_reactor(self) -> None:
        """One line says what a reactor costs that twistd has chosen; nothing is said of mpp's own."""
        self.patch(os, "environ", {})
        self.forget()
        with capturedLogs() as events:
            for reactor in (MemoryReactorClock(), lean(), None):
                tuned.log_state(reactor)
        told = [formatEvent(event) for event in events if event["log_level"].name != "debug"]
        self.assertEqual(len(told), 1)
        self.assertTrue(
            told[0].startswith("twistd runs mpp on MemoryReactorClock: a request takes 20 to 50 % more processor time")
        )

    def forget(self) -> None:
        """Have it decided anew, now and after the test."""
        for decided in (tuned.is_tuned, transports.changed_privates):
            decided.cache_clear()
            self.addCleanup(decided.cache_clear)


def lean() -> object:
    """Return what is of the class of mpp's own reactor, and never run."""
    kind = lean_reactor()
    assert kind is not None
    return object.__new__(kind)


class ProgramTests(SynchronousTestCase):
    """A process of its own, because it is decided once."""

    def built(self, **environ: str) -> Any:
        """Return the kinds of its reactor and its clients' transports, and whether those of its servers are tuned."""
        clean = {name: value for name, value in os.environ.items() if name != "MPP_PLAIN"}
        code = [sys.executable, "-c", _PROGRAM]
        run = subprocess.run(code, cwd=ROOT, env={**clean, **environ}, capture_output=True, text=True, check=True, timeout=60)
        return json.loads(run.stdout)

    def test_mpp_plain_tunes_nothing(self) -> None:
        """With MPP_PLAIN nothing in the whole program is tuned; without it, everything is."""
        self.assertEqual(self.built(), ["LeanReactor", "EagerServer", True])
        self.assertEqual(self.built(MPP_PLAIN="1"), ["EPollReactor", "Server", False])
