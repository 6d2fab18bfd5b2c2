"""A simulated Prometheus on a socket, or wherever a test connects its factory to."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet import defer, protocol

from mpp.testing.connection import ISite, SimulatedConnection
from mpp.testing.framing import chunk
from mpp.testing.prometheus import SimulatedPrometheus

BACKLOG = 1024
"""Go asks for what the kernel allows, 4096 on Linux; with Twisted's 50 a burst of connections would wait for SYN retries."""


class SimulatedServer(protocol.Factory[SimulatedConnection]):
    """
    Makes Connections that serve one site.

    :ivar connections: those that are open.
    :ivar streams: those that follow the event stream.
    """

    noisy = False

    def __init__(self, site: ISite, clock: Any) -> None:
        self._site, self._clock = site, clock
        self.connections: set[SimulatedConnection] = set()
        self.streams: set[SimulatedConnection] = set()

    def buildProtocol(self, addr: object) -> SimulatedConnection:
        """Make a Connection."""
        return SimulatedConnection(self._site, self._clock, self.connections, self.streams)

    def notify(self, event: bytes) -> None:
        """Send an event to all who follow the event stream."""
        self.streams &= self.connections
        for connection in self.streams:
            connection.send(chunk(b"data: " + event + b"\n\n"))


@frozen(eq=False)
class Listening:
    """A simulated Prometheus on a socket, and the faults that concern the socket itself."""

    reactor: Any
    sim: SimulatedPrometheus
    server: SimulatedServer
    interface: str
    port: int
    _ports: list[Any]

    def follow(self) -> None:
        """Close, silence or open the port as the plan says."""
        plan = self.sim.plan
        kind = "" if plan is None or plan.fault.strikes != "port" else type(plan.fault).__name__
        if kind == "Refuse" and self._ports:
            self._ports.pop().stopListening()
            self.drop()
        elif kind != "Refuse" and not self._ports:
            self._ports.append(self.reactor.listenTCP(self.port, self.server, BACKLOG, self.interface))
        for port in self._ports:
            (port.stopReading if kind == "Vanish" else port.startReading)()

    def drop(self) -> None:
        """Reset all connections."""
        for connection in tuple(self.server.connections):
            connection.abort()

    def stop(self) -> defer.Deferred[Any]:
        """
        Close the port and all connections.

        :return Deferred(object): fires when the port is closed.
        """
        self.sim.plan_changed.remove(self.follow)
        self.drop()
        return defer.gatherResults([defer.maybeDeferred(port.stopListening) for port in self._ports])


def listen(reactor: Any, sim: SimulatedPrometheus, *, port: int = 0, interface: str = "127.0.0.1") -> Listening:
    """Serve on a socket until ``stop``; port 0 picks a free one, which is then kept."""
    server = SimulatedServer(sim, reactor)
    listening = reactor.listenTCP(port, server, BACKLOG, interface)
    served = Listening(reactor, sim, server, interface, listening.getHost().port, [listening])
    sim.plan_changed.append(served.follow)
    return served
