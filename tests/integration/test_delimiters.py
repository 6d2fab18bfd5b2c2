"""
Text from a client costs what its length costs, whatever it is made of.

Every parser of a list, of parameters, of a path, works by delimiters; a megabyte of them must not keep other clients waiting.
Each case sends the same amount of text twice in the same place, once made of the delimiter and once of the letter a, and compares
the CPU time of the process. Run as a script it prints what costs too much.
"""

from __future__ import annotations

import itertools
import math
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import Mpp, Simulated, fetch

ALLOWED_S = 0.020
"""Seconds of CPU time that a delimiter may cost more than the letter a."""
TIMES = 5
"""The best of so many measurements counts; fewer are made when that is below the limit already."""
ROUNDS = 3
"""As often, with a pause before each but the first, is that done: a busy machine needs more CPU time for the same."""
SIZE = 1_000_000
"""Bytes: what the limit of a head, 1 MiB, leaves for one field or the target."""
WORK = "127.0.0.1/32"

IN_TARGETS = (b"/", b";", b",", b"=", b"&", b"%", b"?", b":", b'"', b"\\", b".", b"+", b"*", b"-", b"_", b"[", b"%2F", b"%25")
IN_FIELDS = (*[bytes([code]) for code in b'/;,=&%?#:"\\ \t.+*-[('], b"\xff")
FIELDS = (
    b"Accept",
    b"Accept-Encoding",
    b"Authorization",
    b"Connection",
    b"Content-Type",
    b"Cookie",
    b"Forwarded",
    b"Host",
    b"Origin",
    b"Range",
    b"Sec-Fetch-Site",
    b"TE",
    b"Traceparent",
    b"X-Dashboard-Uid",
    b"X-Forwarded-For",
    b"X-Forwarded-Host",
    b"X-Unknown",
)
"""Those that mpp reads, and some that it only passes on."""
# Text in which the parser is told that there is something to find.
LURES = {
    b"Cookie": b"MPP.Route=1;",
    b"Forwarded": b"for=127.0.0.1,",
    b"X-Forwarded-For": b"127.0.0.1,",
    b"Authorization": b"Basic ",
}
QUERY = b"/api/v1/query?query=up&timeout=9&x="
PLACES = (
    (b"/", b""),
    (b"/mpp/", b""),
    (b"/mpp/health?", b""),
    (b"/mpp/ready?backends=1&", b""),
    (b"/mpp/status?format=json&", b""),
    (b"/mpp/explain?/", b""),
    (b"/mpp/explain?format=json&url=", b""),
    (b"/mpp/explain?/api/v1/query?query=up&timeout=", b""),
    (b"/api/v1/label/", b"/values"),
    (b"/api/v1/labels?", b""),
    (QUERY, b""),
    (b"/api/v1/query?timeout=", b""),
)
"""What stands before and after the text in a target."""


@frozen
class Case:
    """
    Where a text stands.

    :ivar place: for people.
    :ivar before: the bytes of the request before the text.
    :ivar after: those after it.
    :ivar text: what the text is made of.
    :ivar size: how many bytes of it.
    """

    place: str
    before: bytes
    after: bytes
    text: bytes
    size: int = SIZE

    def request(self, unit: bytes) -> bytes:
        """Return the whole request."""
        return self.before + (unit * (self.size // len(unit) + 1))[: self.size] + self.after


def patterns(delimiters: tuple[bytes, ...]) -> Iterator[bytes]:
    """Return the pieces of texts: each delimiter alone, with a letter between, and ones that two parsers take each for theirs."""
    yield from delimiters
    yield from (b"a" + delimiter for delimiter in delimiters)
    yield from (b"%=%&", b"/..", b"/.", b"a=b;", b"1m", b"127.0.0.1,")


def targets() -> Iterator[Case]:
    """Return the cases of targets."""
    for (before, after), text in itertools.product(PLACES, patterns(IN_TARGETS)):
        yield Case(before.decode() + "…", b"GET " + before, after + b" HTTP/1.1\r\nHost: a\r\n\r\n", text)


def fields() -> Iterator[Case]:
    """Return the cases of fields: to a server, and to a page of mpp's own."""
    places = ((b"/api/v1/labels", tuple(patterns(IN_FIELDS))), (b"/mpp/status", IN_FIELDS))
    for name, (target, text) in itertools.product(FIELDS, ((target, text) for target, texts in places for text in texts)):
        host = b"" if name == b"Host" else b"Host: a\r\n"
        head = b"GET %b HTTP/1.1\r\n%b%b: %b" % (target, host, name, LURES.get(name, b""))
        yield Case(f"{name.decode()} {target.decode()}", head, b"\r\n\r\n", text)


def bodies() -> Iterator[Case]:
    """Return the cases of forms."""
    for before, text in itertools.product((b"", b"query=up&timeout=", b"timeout=9&query="), patterns(IN_FIELDS)):
        form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n" % (len(before) + SIZE)
        head = b"POST /api/v1/query HTTP/1.1\r\nHost: a\r\n" + form + b"\r\n" + before
        yield Case(f"form {before.decode()}…", head, b"", text)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


class Server:
    """mpp with everything switched on that reads what a client sends, in front of a simulated server."""

    def __init__(self) -> None:
        self.simulated = Simulated("--version", "3.5.0")
        self.simulated.start()
        trust = ("--trusted-proxies", WORK, "--affinity-options", "header:X-Dashboard-Uid,cookies,sourceip")
        # The simulated server takes its time over parameters; mpp shall not ask meanwhile whether it is there.
        patient = ("--suspect-after", "30s", "--access-log")
        self.mpp = Mpp([self.simulated.url], *trust, *patient, interval="60s").start()
        self.letters: dict[str, float] = {}
        fetch(self.mpp.port, "/api/v1/labels")

    def close(self) -> None:
        """End both."""
        self.mpp.close()
        self.simulated.close()

    def cost(self, request: bytes) -> float:
        """Return the seconds of CPU time that one request costs, its answer included."""
        before = cpu_seconds(self.mpp.pid)
        with socket.create_connection(("127.0.0.1", self.mpp.port), timeout=30) as connection:
            try:
                connection.sendall(request)
                while not connection.recv(65536).count(b"HTTP/1.1 "):
                    pass
            except ConnectionError:
                # It is refused before it is sent.
                pass
        # What is left to do for it is done before this is answered.
        fetch(self.mpp.port, "/mpp/health")
        return cpu_seconds(self.mpp.pid) - before

    def excess(self, case: Case) -> float:
        """Return how many seconds of CPU time a text costs more than the letter a."""
        letters = self.letters.get(case.place)
        if letters is None:
            letters = self.letters[case.place] = min(self.cost(case.request(b"a")) for _ in range(TIMES))
        excess = math.inf
        for number in range(TIMES * ROUNDS):
            if number and number % TIMES == 0:
                time.sleep(1)
            excess = min(excess, self.cost(case.request(case.text)) - letters)
            if excess <= ALLOWED_S:
                break
        return excess


class DelimiterTests(SynchronousTestCase):
    """A megabyte of delimiters."""

    def setUp(self) -> None:
        """Start mpp."""
        self.server = Server()
        self.addCleanup(self.server.close)

    def check(self, cases: Iterator[Case]) -> None:
        """No case costs more than is allowed."""
        dear = [(case.place, case.text, round(excess, 3)) for case in cases if (excess := self.server.excess(case)) > ALLOWED_S]
        self.assertEqual(dear, [])
        self.assertNotIn("Traceback", self.server.mpp.log())

    def test_no_delimiter_in_a_target_splits_a_request(self) -> None:
        """In a target."""
        self.check(targets())

    def test_no_delimiter_in_a_field_splits_a_request(self) -> None:
        """In a field."""
        self.check(fields())

    def test_no_delimiter_in_a_form_splits_a_request(self) -> None:
        """In the body of a form."""
        self.check(bodies())


def main() -> None:
    """Print what costs more than is allowed."""
    server = Server()
    try:
        for case in itertools.chain(targets(), fields(), bodies()):
            excess = server.excess(case)
            if excess > ALLOWED_S:
                print(f"{case.place:50} {case.text!s:12} {excess * 1000:7.0f} ms", flush=True)
    finally:
        server.close()


if __name__ == "__main__":
    main()
