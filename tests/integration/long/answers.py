"""Compares the answers of two servers to the same query, point by point."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, field

from tests.integration.long.query_sets import Request
from tests.integration.processes import fetch

CLOSE = 1e-9
"""Relative difference of values that count as equal: even one server gives other last digits each time, by the order of maps."""
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

Points = Mapping[tuple[Any, ...], str]
"""The values by their labels and time."""


def ask(port: int, request: Request) -> tuple[int, dict[str, str], bytes]:
    """Send a request to a server on this machine; return status, headers and body."""
    if request.post:
        return fetch(port, request.path, method="POST", headers=FORM, body=request.parameters.encode(), timeout=60)
    return fetch(port, f"{request.path}?{request.parameters}", timeout=60)


def points(body: bytes) -> Points | None:
    """Return the points of an answer; None if it is an error."""
    document = json.loads(body)
    if document["status"] != "success":
        return None
    data = document["data"]
    if not isinstance(data, dict):
        return {(json.dumps(each, sort_keys=True),): "" for each in data}
    if data["resultType"] == "scalar":
        return {("", data["result"][0]): data["result"][1]}
    found = {}
    for series in data["result"]:
        labels = json.dumps(series["metric"], sort_keys=True)
        for time, value in series.get("values", []) or [series["value"]]:
            found[labels, time] = value
    return found


def is_close(one: str, other: str) -> bool:
    """Return whether two values are equal but for rounding."""
    if one == other:
        return True
    try:
        return math.isclose(float(one), float(other), rel_tol=CLOSE)
    except ValueError:
        return False


@define
class Comparison:
    """
    How the answers to some queries differ from those that were expected.

    :ivar failed: answers that are errors, where an answer was expected, or the reverse.
    :ivar differing: answers that differ in any point.
    :ivar missing: points that are missing in these.
    :ivar more: points that should not be there.
    :ivar wrong: points with another value.
    :ivar warned: answers with a warning of mpp.
    :ivar silent: answers that differ without one.
    :ivar examples: some of the requests whose answers differ, silent ones first.
    """

    asked: int = 0
    failed: int = 0
    differing: int = 0
    missing: int = 0
    more: int = 0
    wrong: int = 0
    warned: int = 0
    silent: int = 0
    examples: list[str] = field(factory=list)

    def add(self, request: Request, expected: bytes, got: bytes) -> None:
        """Compare one answer with the expected one."""
        self.asked += 1
        own, others = points(got), points(expected)
        self.warned += b'"mpp: ' in got
        if own is None or others is None:
            if own is not others:
                self.failed += 1
                self._differs(request, got, got[:200])
            return
        missing = len(others.keys() - own.keys())
        more = len(own.keys() - others.keys())
        wrong = sum(not is_close(value, own[key]) for key, value in others.items() if key in own)
        self.missing, self.more, self.wrong = self.missing + missing, self.more + more, self.wrong + wrong
        if missing or more or wrong:
            self._differs(request, got, b"%d missing, %d more, %d wrong" % (missing, more, wrong))

    def _differs(self, request: Request, got: bytes, why: bytes) -> None:
        self.differing += 1
        silent = b'"mpp: ' not in got
        self.silent += silent
        self.examples.insert(0 if silent else len(self.examples), f"{request.path}?{request.parameters}: {why.decode()}")
        del self.examples[5:]

    def __str__(self) -> str:
        return (
            f"{self.asked} asked, {self.failed} failed, {self.differing} differ, points: {self.missing} missing, "
            f"{self.more} more, {self.wrong} wrong; {self.warned} with a warning, {self.silent} differ without one"
        )


def compared(requests: Iterable[Request], expected: int, asked: int) -> Comparison:
    """
    Compare what two servers answer.

    :param expected: the port of the server whose answers are right.
    :param asked: the port of the other one.
    """
    found = Comparison()
    for request in requests:
        found.add(request, ask(expected, request)[2], ask(asked, request)[2])
    return found


@define
class EitherComparison:
    """
    How answers differ from those of servers that scrape on their own: each value must be one that some of them gives.

    :ivar expected: points that the server has that was never down.
    :ivar missing: those of them that are missing.
    :ivar foreign: points with a value that none of the servers gives.
    """

    asked: int = 0
    expected: int = 0
    missing: int = 0
    foreign: int = 0
    warned: int = 0
    examples: list[str] = field(factory=list)

    def add(self, request: Request, whole: bytes, all_others: Iterable[bytes], got: bytes) -> None:
        """Compare one answer."""
        self.asked += 1
        self.warned += b'"mpp: ' in got
        own, expected = points(got), points(whole)
        if own is None or expected is None:
            assert own is expected, got
            return
        others = [each for body in all_others if (each := points(body)) is not None]
        missing = expected.keys() - own.keys()
        self.expected += len(expected)
        foreign = [key for key, value in own.items() if not any(key in each and is_close(value, each[key]) for each in others)]
        self.missing, self.foreign = self.missing + len(missing), self.foreign + len(foreign)
        if (missing or foreign) and len(self.examples) < 5:
            shown = [*sorted(map(str, missing))[:2], *map(str, foreign[:2])]
            self.examples.append(f"{request.path}?{request.parameters}: {len(missing)} missing, {len(foreign)} foreign {shown}")

    def __str__(self) -> str:
        points = f"{self.missing} of {self.expected} missing, {self.foreign} of no server"
        return f"{self.asked} asked, points: {points}; {self.warned} with a warning"
