"""
Notifications to systemd as described in sd_notify(3): mpp is ready, which backends serve, mpp is stopping, and mpp is alive (the
watchdog). This module reads the Selection and changes nothing. Without a service manager it does nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from txaio.tx import make_logger

from mpp.core.interfaces import ISelections
from mpp.core.model import Selection, Standing
from mpp.core.scheduling.periodic import PeriodicCheck
from mpp.selection.verdict.verdict import BAD, judge_servers

_log = make_logger()

# Seconds between two looks at the state: a change is reported within this time.
BEAT_S = 1.0
# How many backends a line names: it is read in a terminal, and the status page has all of them.
_NAMED = 3


@frozen
class ServiceManager:
    """
    The service manager that the environment describes.

    :ivar address: its socket; empty without a service manager. An address with a leading ``@`` is an abstract socket (Linux).
    :ivar watchdog_s: seconds without a notification after which it restarts mpp; 0 without a watchdog.
    """

    address: str = ""
    watchdog_s: float = 0.0

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> ServiceManager:
        """
        Read the variables ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``.

        :param pid: the id of this process; a watchdog for another process is ignored.
        """
        address = environ.get("NOTIFY_SOCKET", "")
        # Other addresses (vsock:) are for virtual machines that notify their host.
        if not address.startswith(("/", "@")):
            return cls()
        silence = environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        return cls(address, int(silence) / 1e6 if ours and silence.isdecimal() else 0.0)

    def notify(self, *lines: str) -> bool:
        """Send one datagram without blocking; return whether it was sent."""
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            # The socket itself may be what the system does not have now.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
                notices.setblocking(False)
                notices.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            _log.debug("notification of the service manager at {address} failed: {error}", address=self.address, error=error)
            return False
        return True


class SystemdNotifier(Service):
    """
    The service that notifies the service manager while the program runs.

    It compares the state with the last notification every `BEAT_S` seconds; a failed notification is repeated at the next time.

    :param supervisor: the service manager; without an address, no notification is sent.
    :param clock: the clock by which notifications are timed.
    """

    def __init__(self, supervisor: ServiceManager, selections: ISelections, clock: IReactorTime) -> None:
        self._supervisor = supervisor
        self._selections = selections
        self._stopping = False
        self._notified: tuple[str, ...] = ()
        # Half of the watchdog's time, as sd_watchdog_enabled(3) recommends.
        interval = min(BEAT_S, supervisor.watchdog_s / 2) if supervisor.watchdog_s else BEAT_S
        self._beats = PeriodicCheck(self._beat, clock, interval, "notifications of the service manager", _log, now=True)

    def startService(self) -> None:
        """Start to notify once the first selection round has ended; the program is ready from then on."""
        Service.startService(self)
        if self._supervisor.address:
            self._selections.reselect().addCallback(self._begin)

    def _begin(self, selection: Selection) -> None:
        # When the program is stopped before its first round, the Deferred fires with a Selection of generation 0.
        if self.running and selection.generation:
            self._beats.startService()

    def _beat(self) -> None:
        state = self._state()
        lines = state if state != self._notified else ()
        if self._supervisor.watchdog_s:
            lines += ("WATCHDOG=1",)
        if lines and self._supervisor.notify(*lines):
            self._notified = state

    def _state(self) -> tuple[str, ...]:
        if self._stopping:
            return ("STOPPING=1", "STATUS=finishing the requests in flight")
        return ("READY=1", f"STATUS={describe(self._selections.current)}")

    def stopping(self) -> None:
        """Notify that the program is stopping; the watchdog is still served while the requests in flight are finished."""
        self._stopping = True
        if self._supervisor.address:
            self._beat()

    def stopService(self) -> Any:
        """Stop notifying the service manager."""
        self._beats.stopService()
        return Service.stopService(self)


def describe(selection: Selection) -> str:
    """Return one line about the backends that serve, and the ones that do not, with the reasons."""
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
