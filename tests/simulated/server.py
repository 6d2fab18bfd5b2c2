"""The server of a simulated Prometheus, on a socket or in memory."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet import defer, protocol

from tests.simulated.connection import ISite, SimulatedConnection
from tests.simulated.framing import chunk
from tests.simulated.prometheus import SimulatedPrometheus

BACKLOG = 1024
"""The listen backlog. Go uses the kernel's limit, 4096 on Linux; with Twisted's 50, connections would wait for SYN retries."""


class SimulatedServer(protocol.Factory[SimulatedConnection]):
    """
    The protocol factory of a simulated Prometheus or of its control pages.

    :ivar connections: the open connections.
    :ivar streams: the connections that follow the event stream.
    """

    noisy = False

    def __init__(self, site: ISite, clock: Any) -> None:
        self._site, self._clock = site, clock
        self.connections: set[SimulatedConnection] = set()
        self.streams: set[SimulatedConnection] = set()

    def buildProtocol(self, addr: object) -> SimulatedConnection:
        """Return the protocol for a new connection."""
        return SimulatedConnection(self._site, self._clock, self.connections, self.streams)

    def notify(self, event: bytes) -> None:
        """Send an event to all connections that follow the event stream."""
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
        """Close, pause or open the port as the present fault demands."""
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
        """Reset all open connections."""
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
    """Listen on a socket until ``stop`` is called; port 0 picks a free one, which is then kept."""
    server = SimulatedServer(sim, reactor)
    listening = reactor.listenTCP(port, server, BACKLOG, interface)
    served = Listening(reactor, sim, server, interface, listening.getHost().port, [listening])
    sim.plan_changed.append(served.follow)
    return served
