"""
PromQL queries made at random: by a grammar, and by changing those. What begins with the same seed makes the same queries.

Used by the tests that give them to `mpp.promql`; most of what is changed is no valid PromQL.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

NAMES = ("up", "http_requests_total", "job:rate:5m", "x", "node_cpu_seconds_total", "ALERTS", "rate", "offset", "r17", "r1999")
LABELS = ("job", "__name__", "instance", "alertname", "le", '"job"', '"a b"', '"__name__"', "offset", "job_name")
DURATIONS = ("5m", "1h", "1h30m", "1d", "90s", "1w", "1y", "0s", "1ms", "300", "1.5", "1e3", "1e300", "1.5h", "9999999999y")
ODD_DURATIONS = ("5m*2", "step()", "range()", "-5m", "1m1h", "$__rate_interval", "5m^9", "min_of(1m,2m)", "", "0x10", "Inf")
NUMBERS = ("1", "0", "-1", "0.5", "1e300", "1e400", "NaN", "Inf", "0x1F", "1_000", "1.7e9", "9" * 50, ".5", "1e-9", "08")
STRINGS = (
    '"a"', "'b'", "`c`", '"a|b|c"', '"api.*"', '".+"', '".*"', '"(a|b)"', '"^a$"', r'"(a+)+$"', '"(?i)a"', r'"a\\.b"', '"$job"',
    '"j1.*|j2.+|j3"', r'"\x41\u0041\U00010000"', r'"\q"', '"a{1000}{1000}"', r'"\\Qa\\E"', '"é"', '""', r'"\""', '"# no comment"',
    '"(a|b|ab)*c"', r'"\\p{L}{100}"', "`[a-z]+`", '"1h[2d]"',
)  # fmt: skip
VALID_NAMES = ("up", "x", "job:rate:5m", "ALERTS", "r17", "r1999", "__name__")
VALID_LABELS = ("job", "instance", "alertname", '"job"', '"a b"')
VALID_DURATIONS = ("5m", "1h", "1h30m", "1d", "90s", "1w2d", "300", "1y")
VALID_STRINGS = (
    '"a"',
    "'b'",
    "`c`",
    '"a|b|c"',
    '"api.*"',
    '".+"',
    '"(a|b)"',
    r'"a\\.b"',
    '"j1.*|j2.+|j3"',
    '"é"',
    '"# \\" @ [5m"',
)
MATCHERS = ("=", "!=", "=~", "!~", "==", ">")
FUNCTIONS = (
    "rate", "increase", "sum_over_time", "abs", "absent", "histogram_quantile", "label_replace", "time", "vector", "info",
    "clamp",
    "timestamp", "predict_linear", "start", "end", "step", "holt_winters", "sort_by_label", "quantile_over_time", "scalar",
    "unknown",
)  # fmt: skip
AGGREGATIONS = ("sum", "topk", "quantile", "count_values", "avg", "limitk", "limit_ratio", "stddev")
OPERATORS = (
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "==",
    "!=",
    ">",
    "<=",
    "and",
    "or",
    "unless",
    "atan2",
    "> bool",
    "</",
    "+ on(a) group_left(b)",
)
MODIFIERS = ("@ 1.7e9", "@ start()", "@ end()", "@ -1", "@ 1e12", "@ 1e300", "@ NaN", "@ 0x5", "anchored", "smoothed", "@ step()")
PIECES = (
    "@", "offset", "[", "]", "{", "}", "(", ")", "1e300", '"', "'", "`", "#", "\n", "\0", "é", "\U0001f600", "[5m:]", " or ",
    "=~", "\\",
    ":", ",", "by (a)", "without", "bool", "ignoring()", "fill(0)", "offset -5m", "\ud800", "-", "5m", "=", "!", "group_left",
    "\t",
)  # fmt: skip
FRAGMENTS = (
    "x", "rate(", "(", ")", "[", "]", "offset ", "OFFSET ", "@", " ", ":", "-", "+", "*", "/", "^", "0x", "0X", "_", ".", "e",
    "E", "0", "1", "08", "1e9", "9" * 20, "ms", "s", "m", "h", "d", "w", "y", "D", "S", "M", "f", "start()", "end (", "{", "}",
    '"a"', "~", "=", ",", "smoothed", "or",
)  # fmt: skip
"""Parts of tokens: what they make of numbers, durations and keywords is seldom right."""
CHAINS: tuple[Callable[[int], str], ...] = (
    lambda n: "+".join(["x"] * n),
    lambda n: "^".join(['x{a="b"}'] * n),
    lambda n: " or ".join(['sum by (a, b) (rate(x{a="b",c=~"d|e"}[5m] offset 5m))'] * n),
    lambda n: "(" * n + "x" + ")" * n,
    lambda n: "-" * n + "x",
    lambda n: "sum(" * n + "x" + ")" * n,
    lambda n: "x" + "[5m:]" * n,
    lambda n: "max_over_time(" * n + "x" + "[5m:1m])" * n,
    lambda n: "x{" + ",".join(f'job=~"a{i}.*|b.+"' for i in range(n)) + "}",
    lambda n: "x{" + ",".join(['job!~"j1.*"'] * n) + "}",
    lambda n: "+".join(['{__name__=~"r1.*",job=~"j.+"}'] * n),
    lambda n: "+".join(f"r{i}" for i in range(n)),
    lambda n: 'x{job=~"' + "|".join(f"j{i}.*" for i in range(n)) + '"}',
    lambda n: 'x{job=~"' + r"\\." * n + '"}',
    lambda n: "x{" + ",".join(['job=~"' + r"\\x61" * 40 + 'a|b"'] * n) + "}",
    lambda n: "x{" + ",".join(['"' + r"\\x61" * 40 + '"="b"'] * n) + "}",
    lambda n: 'x{job=~"' + "(a|" * n + ")*" * n + '"}',
    lambda n: "sum by (" + ",".join(["a"] * n) + ")(x)",
    lambda n: "x[" + "1m" * n + "]",
    lambda n: "x " * n,
    lambda n: '"" ' * n,
    lambda n: "# a\n" * n + "x",
    lambda n: "1" * n + "m",
    lambda n: "[1m*2] " * n,
    lambda n: " " * n + "x" + "\t" * n,
    lambda n: "=~ " * n + '"a"',
    lambda n: "'" * n,
    lambda n: "\\" + '" ' * n,
    lambda n: r"\" a" * n,
    lambda n: "x{" * n,
    lambda n: "quantile(time(), x @ 1) + " * n + "1",
    lambda n: "+".join("x{" + ",".join(f'job!="j{i}{k}"' for k in range(8)) + "}" for i in range(n)),
    lambda n: "+".join("x{" + ",".join(f'job=~"j{i + k}.*"' for k in range(8)) + "}" for i in range(n)),
    lambda n: "x{" + ",".join('job=~"' + "|".join(f"j{i}{k}.+" for k in range(20)) + '"' for i in range(n)) + "}",
    lambda n: "+".join(f'rate(x{{job!="j{i}"}}[{i + 1}m] offset {i + 1}m)' for i in range(n)),
    lambda n: "+".join(f"x[{i + 1}m:] @ start() + x offset {i + 1}m" for i in range(n)),
)
SIZES = (2, 3, 8, 10, 12, 16, 24, 25, 48, 49, 50, 51, 52, 60, 100, 333, 500, 1000, 1700, 4000, 8191, 20000, 65535)
"""Of chains; the largest are above every limit."""
LONGEST = 200_000


class Queries:
    """
    A generator of queries that never ends.

    :param seed: which queries.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def __iter__(self) -> Iterator[str]:
        previous = "up"
        while True:
            kind = self._random.random()
            if kind < 0.3:
                query = self.valid(self._random.randrange(5))
            elif kind < 0.5:
                query = self._expression(self._random.randrange(6))
            elif kind < 0.6:
                query = self._chain()
            elif kind < 0.7:
                query = "x" + "".join(self._pick(FRAGMENTS) for _ in range(self._random.randrange(2, 25)))
            else:
                query = self._changed(previous)
            previous = query[:2000]
            yield query[:LONGEST]

    def _chain(self) -> str:
        query = self._random.choice(CHAINS)(self._random.choice(SIZES))
        return query if self._random.random() < 0.5 else query[: self._random.randrange(4000)]

    def _changed(self, query: str) -> str:
        pick = self._random
        for _ in range(pick.randrange(1, 5)):
            at, other = sorted((pick.randrange(len(query) + 1), pick.randrange(len(query) + 1)))
            change = pick.randrange(6)
            if change == 0:
                query = query[:at] + query[other:]
            elif change == 1:
                query = query[:at] + pick.choice(PIECES) + query[at:]
            elif change == 2:
                query = query[:at] + query[at:other] * pick.randrange(2, 60) + query[other:]
            elif change == 3:
                query = query[:at] + self._expression(1) + query[other:]
            elif change == 4:
                query = query[:at] + chr(pick.randrange(128)) + query[at + 1 :]
            else:
                query = query.replace(pick.choice("([{,"), pick.choice(PIECES), 1)
            query = query[:20000]
        return query

    def valid(self, depth: int) -> str:
        """Return an instant vector that each server understands."""
        pick = self._random
        if depth <= 0:
            return self._valid_selector() + self._valid_modifiers()
        kind, inner = pick.randrange(7), depth - 1
        if kind == 0:
            return f"({self.valid(inner)}) {pick.choice(('+', '-', '/', '> bool', 'and', 'unless', 'or'))} {self.valid(inner)}"
        if kind == 1:
            return f"rate({self._valid_selector()}[{self._pick(VALID_DURATIONS)}]{self._valid_modifiers()})"
        if kind == 2:
            subquery = f"({self.valid(inner)})[{self._pick(VALID_DURATIONS)}:{self._pick(('', '1m'))}]"
            return f"max_over_time({subquery}{self._valid_modifiers()})"
        if kind == 3:
            return f"sum by (job) ({self.valid(inner)})"
        if kind == 4:
            parameter = self._pick(("3", "0.9", "scalar(x)", "time()", "-(1)"))
            return f"{self._pick(('topk', 'quantile'))}({parameter}, {self.valid(inner)})"
        if kind == 5:
            return f'{self._pick(("abs", "timestamp", "absent", "info"))}({self.valid(inner)}) # a comment "\n'
        return f"-({self.valid(inner)}) > {self._pick(('1', '1e12', '0x1F', 'Inf'))}"

    def _valid_selector(self) -> str:
        count = self._random.randrange(3)
        matchers = [f"{self._pick(VALID_LABELS)}{self._pick(MATCHERS[:4])}{self._pick(VALID_STRINGS)}" for _ in range(count)]
        return f"{self._pick(VALID_NAMES)}{{{','.join(matchers)}}}"

    def _valid_modifiers(self) -> str:
        pick = self._random
        offset = f" offset {pick.choice(('', '-'))}{self._pick(VALID_DURATIONS)}" if pick.random() < 0.2 else ""
        at = f" @ {pick.choice(('1.7e9', '1600000000', 'start()', 'end()', '0'))}" if pick.random() < 0.2 else ""
        return offset + at

    def _expression(self, depth: int) -> str:
        pick = self._random
        if depth <= 0:
            return self._selector() if pick.random() < 0.8 else pick.choice(NUMBERS)
        kind, inner = pick.randrange(8), depth - 1
        if kind == 0:
            return f"{self._expression(inner)} {pick.choice(OPERATORS)} {self._expression(inner)}"
        if kind == 1:
            return f"({self._expression(inner)})"
        if kind == 2:
            return f"-{self._expression(inner)}"
        if kind in (3, 4):
            arguments = [pick.choice((*STRINGS, self._expression(inner), self._range())) for _ in range(pick.randrange(4))]
            return f"{pick.choice(FUNCTIONS)}({', '.join(arguments)})"
        if kind == 5:
            parameter = pick.choice(("", "", "3, ", "time(), ", '"a", ', f"{self._expression(inner)}, "))
            return f"{pick.choice(AGGREGATIONS)} by (a) ({parameter}{self._expression(inner)})"
        if kind == 6:
            return f"{self._expression(inner)}[{self._duration()}:{pick.choice(('', '1m', '30'))}]{self._modifiers()}"
        return f"sum(rate({self._range()}))"

    def _selector(self) -> str:
        matchers = [
            f"{self._pick(LABELS)}{self._pick(MATCHERS[:4])}{self._pick(STRINGS)}" for _ in range(self._random.randrange(4))
        ]
        name = self._pick(NAMES) if self._random.random() < 0.9 else ""
        return name + (f"{{{','.join(matchers)}}}" if matchers or not name else "") + self._modifiers()

    def _range(self) -> str:
        return f"{self._pick(NAMES)}[{self._duration()}]{self._modifiers()}"

    def _modifiers(self) -> str:
        text = ""
        if self._random.random() < 0.2:
            text += f" offset {self._random.choice(('', '', '-', '('))}{self._duration()}"
        if self._random.random() < 0.15:
            text += f" {self._pick(MODIFIERS)}"
        return text

    def _duration(self) -> str:
        return self._pick(ODD_DURATIONS if self._random.random() < 0.1 else DURATIONS)

    def _pick(self, among: tuple[str, ...]) -> str:
        return self._random.choice(among)
