"""Tests of `mpp.core.prometheus.unsafe_paths`: which requests would change one server of a pair."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.prometheus import unsafe_paths
from mpp.core.prometheus.unsafe_paths import FORWARDED_METHODS, LONGEST, MAX_PATH

READS = frozenset((b"GET", b"HEAD", b"OPTIONS"))
CHANGES = frozenset((b"POST", b"PUT", b"PATCH", b"DELETE"))

ALWAYS = (
    b"/-/reload",
    b"/-/quit",
    b"/-/quit/",
    b"/prometheus/-/reload",
    b"/api/v1/admin",
    b"/api/v1/admin/tsdb/snapshot",
    b"/api/v1/write",
    b"/api/v1/otlp/v1/metrics",
    b"/debug/pprof",
    b"/debug/pprof/heap",
)
"""Unsafe with every method."""

CHANGING = (
    b"/api/v1/rules/namespace/group",
    b"/config/v1/rules/namespace",
    b"/prometheus/config/v1/rules/namespace/group",
    b"/api/v1/alerts",
    b"/api/v1/push",
    b"/api/v1/receive",
    b"/api/prom/push",
    b"/otlp/v1/metrics",
    b"/api/v1/import",
    b"/api/v1/import/prometheus",
    b"/api/v1/upload/block/x/start",
    b"/ingester/flush",
    b"/compactor/delete_tenant",
    b"/compactor/delete_tenant_status",
)
"""Unsafe with the methods that change something."""

SPELLINGS = (
    # Behind gateways that take backslashes as slashes (Envoy's normalize_path).
    b"/-\\reload",
    b"/-%5cquit",
    b"/api/v1\\admin/tsdb/clean_tombstones",
    b"/x\\-/reload",
    # That do not merge slashes before they resolve dots (nginx with merge_slashes off), or resolve dots by themselves.
    b"/-//../reload",
    b"/api/v1//x/../../admin/tsdb/snapshot",
    b"/-/./../reload",
    b"/-/x/../reload",
    b"/-/a\\b/../reload",
    b"/-\\a\\b/../reload",
    b"/-/a//..//../reload",
    b"//-//reload",
    b"/./-/./quit",
    b"/-/reload/.",
    b"/-/reload/x/..",
    # That decode once or twice, or all but the slash.
    b"/%2d/reload",
    b"/-/rel%6Fad",
    b"/%252d/reload",
    b"/-/%2572eload",
    b"/-%2freload",
    b"/-%252freload",
    b"/-/%2e%2e/-/reload",
    b"/-/a%2fb/%2e%2e/reload",
    b"/-/a%2Fb%5C%2E%2E%5Creload",
    b"/-/a%252fb/..%2freload",
    # That cut path parameters (servlet containers).
    b"/-;x=1/reload",
    b"/-/reload;x",
    b"/-/reload%3bx",
    b"/-/x/..;/reload",
    b"/-;a%2fb/reload",
    # That send on what they have decoded.
    b"/-/reload%3fx=1",
    b"/-/reload%23x",
    b"/-/reload%00.html",
    b"/-/reload%20HTTP/1.1%0d%0aX:",
    # That decode overlong sequences.
    b"/-%c0%afreload",
    b"/-/%c1%b2eload",
    b"/-/%e0%81%b2eload",
    b"/-/x/%c0%ae%c0%ae/reload",
    # That replace the beginning of a path, also within a segment.
    b"/prom-/reload",
    b"/prom-%2fquit",
    b"/promapi/v1/admin/tsdb/snapshot",
    b"/promdebug/pprof/heap",
    # Letter case.
    b"/-/Reload",
    b"/API/V1/ADMIN/x",
)
"""``/-/reload`` and its like as some gateway understands them."""

SAFE = (
    b"/",
    b"",
    b"/graph",
    b"/metrics",
    b"/federate",
    b"/-/ready",
    b"/-/healthy",
    b"/consoles/x",
    b"/consoles/reload.html",
    b"/api/v1/query",
    b"/api/v1/query_range",
    b"/api/v1/labels",
    b"/api/v1/read",
    b"/api/v1/metadata",
    b"/api/v1/label/a%2Fb/values",
    b"/api/v1/label/U__a_2e_b/values",
    b"/api/v1/label/admin/values",
    b"/api/v1/label/write/values",
    b"/api/v1/label/admin%20of%20%C3%A9t%C3%A9%2Fx/values",
    b"/api/v1/label/series/values",
    b"/api/v1/administer",
    b"/api/v1/write_relabel",
    b"/debug/pprofile",
    b"/-/reloaded",
    b"/my-otlp/api/v1/query",
    b"/team-ingester/api/v1/query",
    b"/api/v1/rules",
    b"/api/v1/status/tsdb",
    b"/%",
    b"/%%admin",
    b"/%2",
)
"""Safe with every method but ``DELETE /api/v1/series``."""


class ListTests(SynchronousTestCase):
    """What is listed."""

    def test_unsafe_with_every_method(self) -> None:
        """What stops, reloads or writes to a server is unsafe however it is asked for."""
        for path in ALWAYS:
            self.assertEqual(unsafe_paths.methods(path), FORWARDED_METHODS, path)

    def test_unsafe_with_methods_that_change(self) -> None:
        """What can be read with GET, and changed with other methods, may be read only."""
        for path in CHANGING:
            self.assertEqual(unsafe_paths.methods(path), CHANGES, path)
        self.assertEqual(unsafe_paths.methods(b"/api/v1/series"), {b"DELETE"})

    def test_no_spelling_hides_a_path(self) -> None:
        """No spelling that some gateway understands hides a path."""
        for path in SPELLINGS:
            self.assertEqual(unsafe_paths.methods(path), FORWARDED_METHODS, path)

    def test_reading_paths_are_not_unsafe(self) -> None:
        """What only reads is not unsafe, however similar its path."""
        for path in SAFE:
            self.assertEqual(unsafe_paths.methods(path), frozenset(), path)

    def test_reads_of_what_can_be_changed(self) -> None:
        """GET, HEAD and OPTIONS of rules, alerts and series are safe."""
        for path in (*CHANGING, b"/api/v1/series", b"/api/v1/rules"):
            self.assertEqual(unsafe_paths.methods(path) & READS, frozenset(), path)

    def test_too_many_readings(self) -> None:
        """A path with a word and more detours than anybody needs is unsafe; without a word it is not."""
        self.assertEqual(unsafe_paths.methods(b"/administer" + b"/." * 70), FORWARDED_METHODS)
        self.assertEqual(unsafe_paths.methods(b"/minister" + b"/." * 70), frozenset())
        self.assertEqual(unsafe_paths.methods(b"/api/v1/rules" + b"//" * 70), CHANGES)

    def test_too_long(self) -> None:
        """A long path with a word is unsafe; without a word it is not, whatever else it is made of."""
        self.assertEqual(unsafe_paths.methods(b"/" + b"x" * LONGEST + b"admin"), FORWARDED_METHODS)
        for part in (b"x", b"%61", b"%2e%2e/", b"%E3%81%82", b"\\", b";", b"/", b"%2525"):
            self.assertEqual(unsafe_paths.methods(b"/" + part * LONGEST), frozenset(), part)


# What is put into listed paths at random: some of what comes out is one still, and most of it almost.
PIECES = (
    *rb"/ \ // /. /.. /x/.. //.. ; ;x % %2 %25 %2f %5c %2e %3b %252f %00 %0d %0a = %3d %c0%af %c1%a1 %C0 %3f %23 - a".split(),
    *rb"reload rel oad %72eload %2572eload %25%37%32eload RELOAD quit api v1 admin ad min %61dmin otlp debug pprof".split(),
    b"\xc3\xa9",
    b"=\n",
)

LISTED = re.compile(
    rb"(?:^|/)(?:-/(?:reload|quit)/?$|api/v1/(?:admin|otlp)(?:/|$)|api/v1/write/?$|debug/pprof(?:/|$))", re.IGNORECASE
)

STEPS: tuple[Callable[[bytes], bytes], ...] = (
    lambda path: path.replace(b"\\", b"/"),
    lambda path: re.sub(rb";[^/]*", b"", path),
    lambda path: re.sub(rb"/+", b"/", path),
    lambda path: re.sub(rb"(?:/\.)+(?=/|$)", b"", path),
    lambda path: re.sub(rb"/(?!\.\./)[^/]*/\.\.(?=/|$)", b"", path, count=1),
)
"""The steps of gateways, each for a whole path."""


def readings(path: bytes) -> set[tuple[bytes, int]]:
    """Return all that a path may become, by brute force, with the number of decodings that each took."""
    found = {(path, 0)}
    queue = [(path, 0)]
    for reading, decoded in queue:
        results = [(step(reading), decoded) for step in STEPS]
        if decoded < 2:
            results.append((unquote_to_bytes(reading), decoded + 1))
        for result in results:
            if result not in found:
                found.add(result)
                queue.append(result)
    return found


def spelled_once_more(draw: st.DrawFn, path: bytes) -> bytes:
    """Return a path that becomes the given one by one step of a gateway."""
    place = draw(st.sampled_from([at for at in range(len(path)) if path[at : at + 1] in b"/\\"] or [0]))
    before, behind = path[:place], path[place:]
    kind = draw(st.sampled_from(("slash", "dot", "parent", "backslash", "parameter", "prefix", "case")))
    if kind == "slash":
        return before + b"/" + behind
    if kind == "dot":
        return before + b"/." + behind
    if kind == "parent":
        return before + b"/" + draw(st.sampled_from((b"", b".", b"x", b"admin", b"a;b", b"a%2fb", b"..x"))) + b"/.." + behind
    if kind == "backslash" and place:
        return before + b"\\" + behind[1:]
    if kind == "parameter" and place:
        return before + draw(st.sampled_from((b";", b";x=1", b";a%2fb"))) + behind
    if kind == "case":
        return path.swapcase()
    return draw(st.sampled_from((b"/prometheus", b"/a/b"))) + path


def encoded(draw: st.DrawFn, path: bytes) -> bytes:
    """Return a path with some of it percent-encoded, so that decoding gives back the path."""
    chosen = draw(st.sets(st.integers(1, max(1, len(path) - 1))))
    form = draw(st.sampled_from((b"%%%02x", b"%%%02X")))
    codes = enumerate(path)
    return b"".join(form % code if at and (at in chosen or code == ord("%")) else bytes((code,)) for at, code in codes)


@st.composite
def spellings(draw: st.DrawFn) -> bytes:
    """Draw a spelling of a listed path: what gateways do, in any order and undone."""
    path = draw(st.sampled_from(ALWAYS))
    levels = 0
    for _ in range(draw(st.integers(1, 5))):
        if levels < 2 and draw(st.booleans()):
            levels += 1
            path = encoded(draw, path)
        else:
            path = spelled_once_more(draw, path)
    return path


@st.composite
def almost(draw: st.DrawFn) -> bytes:
    """Draw what is almost a listed path: one with a few pieces in it, some of it encoded before or after."""
    path = draw(st.sampled_from(ALWAYS))
    for _ in range(draw(st.integers(0, 2))):
        if draw(st.booleans()):
            path = encoded(draw, path)
        for _ in range(draw(st.integers(0, 3))):
            place = draw(st.integers(1, len(path)))
            path = path[:place] + draw(st.sampled_from(PIECES)) + path[place:]
    return path


class PropertyTests(SynchronousTestCase):
    """What holds for every path."""

    @settings(max_examples=300, deadline=None)
    @given(spellings())
    def test_no_spelling_of_a_listed_path_is_safe(self, path: bytes) -> None:
        """However often and in whatever order a path was disguised, it is unsafe."""
        self.assertEqual(unsafe_paths.methods(path), FORWARDED_METHODS)

    @settings(max_examples=400, deadline=None)
    @given(almost())
    def test_nothing_that_becomes_a_listed_path_is_safe(self, path: bytes) -> None:
        """Looking for the words first hides nothing: whatever brute force makes a listed path of is unsafe."""
        if any(LISTED.search(reading) for reading, _ in readings(path)):
            self.assertEqual(unsafe_paths.methods(path), FORWARDED_METHODS)

    @settings(max_examples=400, deadline=None)
    @given(
        st.one_of(almost(), st.text("%25c0af/;\\x.=3d", max_size=60).map(str.encode), st.binary(max_size=60)),
        st.integers(0, 2 * LONGEST),
    )
    def test_a_path_without_the_words_is_safe(self, path: bytes, length: int) -> None:
        """A path is never unsafe without one of the words once it is decoded twice, however it is made and however long it is."""
        path = path + b"/" + (path * (1 + length // (len(path) + 1)))[:length]
        plain = OVERLONG.sub(decoded, path)
        for _ in range(2):
            plain = OVERLONG.sub(decoded, unquote_to_bytes(plain))
        words = [word for listed in unsafe_paths._LISTED for word in listed.words]
        if not any(word in plain.lower() for word in words):
            self.assertEqual(unsafe_paths.methods(path), frozenset())

    def test_a_malformed_path_without_the_words_is_safe(self) -> None:
        """Doubled percent signs and overlong sequences alone make no path unsafe, be it long or with many readings."""
        for path in (
            b"/%%" + b"a" * 1100,
            b"/%c0%af" + b"a" * 1100,
            b"/x%%" + b"\\a" * 20,
            b"/%c0%af" + b";a" * 30,
            b"/%" * 1000,
        ):
            self.assertEqual(unsafe_paths.methods(path), frozenset(), path[:40])
        for path in (
            b"/%%2d/reload" + b"/" * 1100,
            b"/-/%%72eload" + b"a" * 1100,
            b"/-/%c1%b2eload/" + b"a" * 1100,
            b"/-/\xc0\xa52572eload" + b"a" * 1100,
        ):
            self.assertEqual(unsafe_paths.methods(path), FORWARDED_METHODS, path[:40])


OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80\x81][\x80-\xbf]|\xf0\x80[\x80\x81][\x80-\xbf]")


def decoded(overlong: re.Match[bytes]) -> bytes:
    """Return what a lenient decoder of UTF-8 makes of an overlong sequence."""
    value = 0
    for byte in overlong[0][1:]:
        value = value << 6 | byte & 0x3F
    return bytes((value | (overlong[0][0] & 1) << 6 if len(overlong[0]) == 2 else value,))


class TimeTests(SynchronousTestCase):
    """What judging a path costs."""

    def test_longest_path_is_checked_within_20_ms(self) -> None:
        """The longest path that is forwarded, or the longest that is searched, takes at most 20 ms more than letters."""

        def took(path: bytes) -> float:
            times = []
            for _ in range(5):
                began = time.process_time()
                unsafe_paths.methods(path)
                times.append(time.process_time() - began)
            return min(times)

        letters = took(b"/" + b"a" * (MAX_PATH - 1))
        for part in (
            b"%2e%2e/",
            b"%61",
            b"%",
            b"%25",
            b"%2561",
            b";",
            b"\\",
            b"/",
            b"/.",
            b"/..",
            b"//..",
            b"x/../",
            b"%%",
            b"%c0%af",
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"%00",
        ):
            for start in (b"/", b"/x-admin"):
                self.assertLess(took(start + part * (MAX_PATH // len(part) - 2)) - letters, 0.02, (start, part))
                self.assertLess(took((start + part * LONGEST)[:LONGEST]), 0.02, (start, part))
