"""
Tells the service manager how mpp is, in the datagrams that systemd expects (sd_notify(3)): ready, who serves, stopping, and
that it is alive. Reads the Selection, and changes nothing; without a service manager it does nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from txaio.tx import make_logger

from mpp.core.interfaces import ISelections
from mpp.core.model import Selection, Standing
from mpp.selection.verdict.verdict import BAD, judge_servers

_log = make_logger()

# A change is told within so many seconds; for people who look, that is at once.
BEAT_S = 1.0
# The line is for a terminal: who wants to know more opens the status page.
_NAMED = 3


@frozen
class ServiceManager:
    """
    The service manager, as the environment describes it.

    :ivar address: its socket; empty when there is none. ``@`` begins an abstract one (Linux).
    :ivar watchdog_s: the longest silence after which it restarts us; 0 for never.
    """

    address: str = ""
    watchdog_s: float = 0.0

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> ServiceManager:
        """
        Read ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``.

        :param pid: our own; a watchdog that is meant for another process is not ours.
        """
        address = environ.get("NOTIFY_SOCKET", "")
        # Others (vsock:) are for virtual machines that tell their host.
        if not address.startswith(("/", "@")):
            return cls()
        silence = environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        return cls(address, int(silence) / 1e6 if ours and silence.isdecimal() else 0.0)

    def notify(self, *lines: str) -> bool:
        """Send one datagram without waiting for anyone; give whether it was taken."""
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
            notices.setblocking(False)
            try:
                notices.sendto("\n".join(lines).encode(), address)
            except OSError as error:
                _log.debug("The service manager at {address} cannot be told: {error}", address=self.address, error=error)
                return False
        return True


class SystemdNotifier(Service):
    """
    Tells the service manager what it wants to know, for as long as the program lives.

    What could not be sent is sent with the next beat.

    :param clock: for the beat.
    """

    def __init__(self, supervisor: ServiceManager, selections: ISelections, clock: IReactorTime) -> None:
        self._supervisor = supervisor
        self._selections = selections
        self._stopping = False
        self._notified: tuple[str, ...] = ()
        self._loop = LoopingCall(self._beat)
        self._loop.clock = clock

    def startService(self) -> None:
        """Wait for the first round; the program is ready from then on."""
        Service.startService(self)
        if self._supervisor.address:
            self._selections.reselect().addCallback(self._begin)

    def _begin(self, selection: Selection) -> None:
        # Those who wait are let go without a round when the program is stopped before it.
        if self.running and selection.generation:
            silence = self._supervisor.watchdog_s
            # Half of what is bearable, as sd_watchdog_enabled(3) has it.
            beating = self._loop.start(min(BEAT_S, silence / 2) if silence else BEAT_S)
            beating.addErrback(lambda failure: _log.failure("The service manager is told nothing more", failure=failure))

    def _beat(self) -> None:
        state = self._state()
        lines = state if state != self._notified else ()
        if self._supervisor.watchdog_s:
            lines += ("WATCHDOG=1",)
        if lines and self._supervisor.notify(*lines):
            self._notified = state

    def _state(self) -> tuple[str, ...]:
        if self._stopping:
            return ("STOPPING=1", "STATUS=finishing what is in flight")
        return ("READY=1", f"STATUS={describe(self._selections.current)}")

    def stopping(self) -> None:
        """Tell that the program is about to stop. What is in flight may take its time: it is still alive meanwhile."""
        self._stopping = True
        if self._supervisor.address:
            self._beat()

    def stopService(self) -> Any:
        """Tell nothing more."""
        if self._loop.running:
            self._loop.stop()
        return Service.stopService(self)


def describe(selection: Selection) -> str:
    """Give one line on who serves, and who does not and why."""
    if not selection.observations:
        return "no Prometheus server is known"
    servers = judge_servers(selection)
    names = _listed([backend.name for backend in selection.selected])
    count = f"{len(selection.selected)} of {len(selection.observations)}"
    serving = f"serving from {names} ({count})" if names and servers.level != BAD else servers.text.rstrip(".")
    unwell = [
        f"{o.backend.name} {o.standing.name.lower().replace('_', ' ')}{f' ({o.why})' if o.why else ''}"
        for o in selection.observations
        if o.standing is not Standing.VIABLE
    ]
    text = serving + (f"; {_listed(unwell)}" if unwell else "")
    return "".join(character if character.isprintable() else " " for character in text)


def _listed(words: list[str]) -> str:
    further = len(words) - _NAMED
    return ", ".join(words[:_NAMED]) + (f" and {further} more" if further > 0 else "")
