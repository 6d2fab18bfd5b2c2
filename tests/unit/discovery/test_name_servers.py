"""The order in which name servers are queried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, TimeoutError, fail, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.names import dns
from twisted.names.error import DNSQueryRefusedError
from twisted.trial.unittest import SynchronousTestCase

from mpp.discovery.name_servers import NameServers, Server

FIRST, SECOND, THIRD = (("10.0.0.1", 53), ("10.0.0.2", 53), ("10.0.0.3", 53))
NAME = "_web._tcp.prom.example.org"


@define(eq=False)
class FakeServer:
    """
    A name server.

    :ivar answer: the code of its responses, or how a query fails.
    :ivar truncates: whether its responses over UDP are cut off.
    """

    answer: int | Exception
    truncates: bool = False
    connections: tuple[()] = ()
    asked: list[object] = field(factory=list)

    def queryUDP(self, queries: Any, timeout: Sequence[int]) -> Deferred[dns.Message]:
        """See `Resolver`."""
        return self._answered(timeout, truncated=self.truncates)

    def queryTCP(self, queries: Any, timeout: int) -> Deferred[dns.Message]:
        """See `Resolver`."""
        return self._answered("TCP", truncated=False)

    def _answered(self, how: object, *, truncated: bool) -> Deferred[dns.Message]:
        self.asked.append(how)
        if isinstance(self.answer, Exception):
            return fail(self.answer)
        message = dns.Message(rCode=self.answer, trunc=truncated)
        message.queries = [dns.Query(NAME, dns.SRV)]
        return succeed(message)


class FakeNameServers(NameServers):
    """A client of name servers that a test makes."""

    def __init__(self, fakes: dict[Server, FakeServer]) -> None:
        super().__init__("", MemoryReactorClock(), list(fakes))
        self.fakes = fakes

    def _only(self, server: Server) -> Any:
        return self.fakes[server]


class OrderTests(SynchronousTestCase):
    """Which server's response counts."""

    def names(self, *answers: int | Exception, truncates: bool = False) -> FakeNameServers:
        fakes = [FakeServer(answer, truncates) for answer in answers]
        return FakeNameServers(dict(zip((FIRST, SECOND, THIRD), fakes, strict=False)))

    def asked(self, names: FakeNameServers) -> list[list[object]]:
        return [fake.asked for fake in names.fakes.values()]

    def test_failing_server_is_passed_over(self) -> None:
        """A server that fails, rejects the query or does not support it does not hide the next one."""
        for code in (dns.ESERVER, dns.ENOTIMP, dns.EREFUSED):
            names = self.names(code, dns.OK, dns.OK)
            self.assertEqual(self.successResultOf(names.lookupService(NAME, timeout=(1, 1))), ([], [], []))
            self.assertEqual(self.asked(names), [[(1,)], [(1,)], []])

    def test_failing_server_is_passed_over_on_tcp(self) -> None:
        """The same holds for the query over TCP that follows a truncated response."""
        names = self.names(dns.EREFUSED, dns.OK, truncates=True)
        self.assertEqual(self.successResultOf(names.lookupService(NAME, timeout=(1, 1))), ([], [], []))
        self.assertEqual(self.asked(names), [[(1,), "TCP"], [(1,), "TCP"]])

    def test_name_that_does_not_exist(self) -> None:
        """The response that a name does not exist is a response: the next server is not queried."""
        names = self.names(dns.ENAME, dns.OK)
        self.failureResultOf(names.lookupService(NAME, timeout=(1, 1)))
        self.assertEqual(self.asked(names), [[(1,)], []])

    def test_all_fail(self) -> None:
        """If no server does better, the last response counts; no server that has responded is queried twice."""
        names = self.names(dns.ESERVER, dns.EREFUSED, TimeoutError())
        self.failureResultOf(names.lookupService(NAME, timeout=(1, 2)), DNSQueryRefusedError)
        self.assertEqual(self.asked(names), [[(1,)], [(1,)], [(1,), (2,)]])

    def test_no_server_responds(self) -> None:
        """If no server responds, the error is the one of the last query."""
        names = self.names(TimeoutError(), OSError("no route"))
        self.failureResultOf(names.lookupService(NAME, timeout=(1, 2)), OSError)
        self.assertEqual(self.asked(names), [[(1,), (2,)]] * 2)
