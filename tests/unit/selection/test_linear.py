"""
No scanner takes time that grows faster than its input: of whoever sends it, a server, a client or a file.

Every regular expression of mpp is found in its sources, so that a new one is tested without being named here. Each is attacked
with repetitions of all that it can match, behind a beginning that it does match and before an end that it does not.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser
from typing import Any

from attrs import field, frozen
from twisted.trial.unittest import SynchronousTestCase

import mpp
from mpp.core.model import RequestInfo
from mpp.core.prometheus import query_timeout as timeouts
from mpp.core.prometheus import runtimeinfo as runtime
from mpp.core.text import bounds
from mpp.core.url_pattern import matches
from mpp.discovery import target_groups as targets
from mpp.proxy.decisions import access_fields as access
from mpp.selection.probing.config_hash import ConfigHasher
from mpp.selection.probing.metrics_scanner import MetricsScanner, label

PACKAGE = Path(mpp.__file__).parent

NOT_OURS = {
    # Of the names of header fields, each of which can match behind a line end only; see `OwnFieldsTests`.
    ("core/http/headers.py", "b'(?<=\\\\r\\\\n)(?:%b):[^\\\\r\\\\n]*\\\\r\\\\n' % names"),
    # One character, or one class of characters, for one character of the text.
    ("core/text/linear_pattern.py", "re.escape(text) if plain else text"),
}
"""Patterns that are made while mpp runs: file, and expression. Each says why it may be."""

SIZE = 8 * 1024
SLOW_S = 0.03
"""CPU seconds for `SIZE` bytes that no linear scanner takes: it takes a hundredth of them."""

SCANNING = {"search", "sub", "subn", "findall", "finditer", "split"}
"""What tries a pattern at every place of a text, and not at its beginning only."""


@frozen
class Found:
    """A regular expression in the sources, and how it is used."""

    place: str
    pattern: Any = field(eq=False)
    scans: bool = field(eq=False)


def module_of(path: Path) -> Any:
    """Import the module that a file is."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return importlib.import_module(".".join(parts).removesuffix(".__init__"))


def uses(tree: ast.AST) -> dict[str, set[str]]:
    """Return for each name all attributes of it that are used anywhere in a file."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.setdefault(node.value.id, set()).add(node.attr)
    return found


def expressions() -> Iterator[Found | tuple[str, str]]:
    """Yield every regular expression in mpp's sources, or the place and text of one that is made at run time."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        source = path.read_text(encoding="utf-8")
        if "re." not in source:
            continue
        tree = ast.parse(source)
        used, owners, methods = uses(tree), {}, {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                owners[id(node.value)] = node.targets[0].id
            if isinstance(node, ast.Attribute):
                methods[id(node.value)] = node.attr
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "re") or node.func.attr == "escape":
                continue
            try:
                pattern = eval(ast.unparse(node.args[0]), vars(module_of(path)))
            except NameError:
                yield name, ast.unparse(node.args[0])
                continue
            flags = 0
            for keyword in [*node.args[1:2], *(each.value for each in node.keywords if each.arg == "flags")]:
                if node.func.attr == "compile":
                    flags = eval(ast.unparse(keyword), vars(module_of(path)))
            how = {node.func.attr} if node.func.attr != "compile" else {methods.get(id(node), "")}
            if how == {""}:
                how = used.get(owners.get(id(node), ""), set()) or {"search"}
            yield Found(f"{name}:{node.lineno}", re.compile(pattern, flags), bool(how & SCANNING))


def character(op: Any, value: Any) -> str:
    """Return a character that one item of a character class, or a single character of a pattern, stands for."""
    if op in (sre.LITERAL, sre.NOT_LITERAL):
        return chr(value) if op is sre.LITERAL else chr(value + 1)
    if op is sre.RANGE:
        return chr(value[0])
    if op is sre.CATEGORY:
        named = {sre.CATEGORY_DIGIT: "7", sre.CATEGORY_SPACE: " ", sre.CATEGORY_WORD: "w"}
        return named.get(value, "!" if value is not sre.CATEGORY_NOT_SPACE else "x")
    return "a"


def samples(pattern: Any) -> tuple[list[str], list[str]]:
    """
    Return what a parsed pattern can match.

    :return: beginnings, each as far as some part of the pattern; and pieces that can be repeated.
    """
    beginnings, pieces = [""], set()

    def walk(parsed: Any, before: str) -> str:
        here = ""
        for op, value in parsed:
            one = ""
            if op in (sre.LITERAL, sre.NOT_LITERAL, sre.ANY):
                one = character(op, value)
            elif op is sre.IN:
                chars = {character(*item) for item in value if item[0] is not sre.NEGATE}
                if value[0][0] is sre.NEGATE:
                    chars = {next(c for c in "a7 ~\x00" if c not in chars)}
                pieces.update(chars)
                one = sorted(chars)[0]
            elif op is sre.BRANCH:
                one = [walk(branch, before + here) for branch in value[1]][-1]
            elif op is sre.SUBPATTERN:
                one = walk(value[3], before + here)
            elif op is sre.ATOMIC_GROUP:
                one = walk(value, before + here)
            elif op in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
                least, _, inside = value
                once = walk(inside, before + here)
                pieces.add(once)
                one = once * max(1, least)
            here += one
            pieces.add(one)
            beginnings.append(before + here)
        pieces.add(here)
        return here

    walk(pattern, "")
    return list(dict.fromkeys(beginnings)), sorted(piece for piece in pieces if piece)


def attacks(expression: re.Pattern[Any], size: int = SIZE) -> Iterator[str]:
    """Yield texts that a regular expression may take long for."""
    source = expression.pattern if isinstance(expression.pattern, str) else expression.pattern.decode("latin-1")
    beginnings, pieces = samples(sre_parser.parse(source, expression.flags & ~re.UNICODE))
    pairs = ["".join(pair) for pair in itertools.islice(itertools.permutations(pieces[:8], 2), 56)]
    for piece in (*pieces, *pairs):
        repeated = piece * (size // len(piece))
        for beginning in ("", beginnings[-1]) if piece in pairs else beginnings:
            for end in ("\x00", ""):
                yield beginning + repeated + end


def cost(scan: Callable[[Any], object], text: Any) -> float:
    """Return the CPU seconds that something takes."""
    began = time.process_time()
    scan(text)
    return time.process_time() - began


class RegularExpressionsTests(SynchronousTestCase):
    """Those in mpp's sources."""

    def test_no_regular_expression_is_slower_than_linear(self) -> None:
        """Whatever comes of repeating what a regular expression matches, it takes time in proportion to the text."""
        found = [each for each in expressions() if isinstance(each, Found)]
        self.assertGreater(len(found), 60)
        for each in found:
            use: Callable[[Any], object] = (
                (lambda text, e=each: e.pattern.sub("x" if isinstance(text, str) else b"x", text))
                if each.scans
                else each.pattern.fullmatch
            )  # type: ignore[misc]
            for text in attacks(each.pattern):
                given: Any = text if isinstance(each.pattern.pattern, str) else text.encode("latin-1", "replace")
                if cost(use, given) > SLOW_S:
                    # Once more: something else may have had the processor's caches.
                    self.assertLess(cost(use, given), SLOW_S, f"{each.place}: {each.pattern.pattern!r} of {given[:60]!r}...")

    def test_made_at_run_time(self) -> None:
        """No other regular expression is put together while mpp runs."""
        self.assertEqual({each for each in expressions() if not isinstance(each, Found)}, NOT_OURS)

    def test_attacks_find_what_is_slow(self) -> None:
        """The attacks find expressions that are known to be slow: those that mpp had, and the textbook's."""
        slow = {
            r'([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"': True,
            r'([^\s{]+)[ \t]*(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?[ \t]*(\S+)': False,
            r"(\d+)(ms|[smhdwy])": True,
            r"[0-9]{1,4}|[A-Za-z0-9_.-]*[A-Za-z_.-][A-Za-z0-9_.-]*": False,
            r"a*a*b": False,
            r"\s+$": True,
        }
        for source, scans in slow.items():
            expression = re.compile(source)
            use: Callable[[Any], object] = expression.search if scans else expression.fullmatch
            self.assertTrue(any(cost(use, text) > SLOW_S / 4 for text in attacks(expression, SIZE // 2)), source)


def grows(scan: Callable[[Any], object], text: bytes) -> bool:
    """
    Tell whether eight times a text takes much more than eight times as long, the best of three each; not of what is fast.

    With the square of the text it would be 64 times. A busy machine may be three times slower for a moment.
    """
    if cost(scan, text * 8) < SLOW_S:
        return False
    short, long = (min(cost(scan, each) for _ in range(3)) for each in (text, text * 8))
    return long > 24.0 * short


def fed(scanner: Callable[[], Any], piece: int) -> Callable[[bytes], object]:
    """Return a function that scans a page in pieces of some size."""

    def scan(page: bytes) -> None:
        made = scanner()
        for start in range(0, len(page), piece):
            made.feed(page[start : start + piece])
        made.finish()

    return scan


def metrics() -> MetricsScanner:
    """Make what looks for two metrics."""
    return MetricsScanner(["up", "prometheus_build_info"])


def request(target: bytes = b"/", body: bytes = b"") -> RequestInfo:
    """Return a request with a form."""
    fields = ((b"Content-Type", b"application/x-www-form-urlencoded"),)
    return RequestInfo(b"POST" if body else b"GET", target, fields, body)


PIECES = (
    b"a",
    b"1",
    b"{",
    b'"',
    b"\\",
    b"=",
    b" ",
    b",",
    b"\n",
    b"\\n",
    b'a="b",',
    b'a="\\"',
    b"&",
    b"%",
    b"%3d",
    b"timeout=1&",
    b"[",
    b"1.",
    b"\x00",
)

SCANNERS: dict[str, Callable[[bytes], object]] = {
    "metrics": lambda text: fed(metrics, 65536)(b"up{" + text),
    "metrics, labels": lambda text: fed(metrics, 65536)(b"prometheus_build_info{" + text + b"} 1"),
    "metrics, a number": lambda text: fed(metrics, 65536)(b"up " + text),
    "metrics, blanks": lambda text: fed(metrics, 65536)(b"up" + text + b"\x0b1"),
    "metrics, byte by byte": fed(metrics, 1),
    "metrics, pieces": lambda text: fed(metrics, 1000)(b"up{" + text),
    "configuration": fed(ConfigHasher, 65536),
    "configuration, byte by byte": fed(ConfigHasher, 1),
    "a label": lambda text: label(text.decode(), "version"),
    "retention": lambda text: runtime.read_retention(text.decode()),
    "a JSON object": lambda text: runtime.parse_object(b'{"data":' + text),
    "a JSON text": lambda text: runtime.parse_object(b'{"data":"' + text),
    "an error": lambda text: runtime.quote(runtime.ProbeResponse(500, text)),
    "a version": lambda text: bounds.version(text.decode()),
    "runtimeinfo": lambda text: runtime.read_runtime(runtime.ProbeResponse(200, b'{"data":{}}', ((b"Date", text),), 1.0)),
    "a list of targets": lambda text: quietly(targets.parse_json, text.decode()),
    "a query, for the log": lambda text: access.describe(request(b"/?" + text), ""),
    "a form, for the log": lambda text: access.describe(request(body=text), ""),
    "a user, for the log": lambda text: access.user_of(b"Basic " + text),
    "a trace, for the log": lambda text: access.trace_of(b"00-" + text),
    "a timeout": lambda text: timeouts.limited(request(b"/?" + text), timeouts.find(request(b"/?timeout=" + text)), 1.0),
    "a timeout in a form": lambda text: timeouts.find(request(body=b"timeout=" + text)),
    "a rule for a server": lambda text: matches("*a*a*b*c", text.decode()),
}
"""What takes texts of others apart, by its name."""


def quietly(parse: Callable[[str], object], text: str) -> None:
    """Parse what is probably none."""
    try:
        parse(text)
    except ValueError:
        return


class ScannersTests(SynchronousTestCase):
    """What is put together of more than a regular expression."""

    def test_no_scanner_is_slower_than_linear(self) -> None:
        """Eight times the input takes about eight times the time, for every scanner and whatever its input repeats."""
        for name, scan in SCANNERS.items():
            for piece in PIECES:
                text = piece * (SIZE // len(piece))
                self.assertFalse(grows(scan, text), f"{name}: repeated {piece!r}")

    def test_growth_is_noticed(self) -> None:
        """What grows with the square of its input is found, such as the search for a label that mpp had."""
        slow = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"').search
        self.assertTrue(grows(lambda text: slow(text.decode()), b"a" * 512))
