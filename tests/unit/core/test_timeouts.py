"""The ``timeout`` of queries: what clients asked for, and what servers are told."""

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Headers, RequestInfo
from mpp.core.prometheus import query_timeout as timeouts

FORM: Headers = ((b"Content-Type", b"application/x-www-form-urlencoded; charset=utf-8"),)


def get(query: bytes) -> RequestInfo:
    return RequestInfo(b"GET", b"/api/v1/query" + query, ())


def post(body: bytes, headers: Headers = FORM, query: bytes = b"") -> RequestInfo:
    return RequestInfo(b"POST", b"/api/v1/query" + query, headers, body)


def asked(facts: RequestInfo) -> float | None:
    found = timeouts.find(facts)
    return None if found is None else found.seconds


def limited(facts: RequestInfo, seconds: float) -> tuple[bytes, bytes]:
    return timeouts.limited(facts, timeouts.find(facts), seconds)


class AskedTests(SynchronousTestCase):
    """What a client asked for."""

    def test_seconds_and_durations_are_read(self) -> None:
        """Numbers of seconds and Prometheus durations are read, nonsense is nothing."""
        for text, seconds in (
            (b"5", 5.0),
            (b"0.25", 0.25),
            (b"30s", 30.0),
            (b"1m30s", 90.0),
            (b"500ms", 0.5),
            (b"1%6d", 60.0),
            (b"", None),
            (b"soon", None),
            (b"-1s", None),
            (b"9223372036", 9223372036.0),
            (b"9223372037", None),
            (b"999999999999", None),
            (b"106751d", 106751 * 86400.0),
            (b"293y", None),
            (b"1s 2", None),
            (b"%31%6d" * 16, 16 * 60.0),
            (b"1m" * 51, None),
            (b"%31" * 10**5, None),
        ):
            self.assertEqual(asked(get(b"?query=up&timeout=" + text)), seconds, text)

    def test_where_it_stands(self) -> None:
        """The body's wins over the target's, the first over the second, and look-alikes do not count."""
        for facts, seconds in (
            (get(b""), None),
            (get(b"?timeout=1&query=up"), 1.0),
            (get(b"?xtimeout=1&query=timeout=2"), None),
            (get(b"?timeout=1&timeout=2"), 1.0),
            (post(b"query=up&timeout=3", query=b"?timeout=9"), 3.0),
            (post(b"query=up", query=b"?timeout=9"), 9.0),
            (post(b"query=up&timeout=3", headers=()), None),
            (post(b"query=up&timeout=3", headers=(*FORM, (b"Content-Encoding", b"gzip"))), None),
        ):
            self.assertEqual(asked(facts), seconds, facts)


class FormTests(SynchronousTestCase):
    """What is a form, for every server."""

    FORM = b"application/x-www-form-urlencoded"

    def test_type_that_go_accepts_is_a_form(self) -> None:
        """The type in any case is one, with blanks around it, and with a character set."""
        for kind in (
            self.FORM,
            self.FORM.upper(),
            b" \t" + self.FORM + b" ",
            self.FORM + b";charset=UTF-8",
            self.FORM + b" ;\tCharset=utf-8 ",
        ):
            self.assertTrue(timeouts.is_form(post(b"query=up", ((b"content-TYPE", kind),))), kind)

    def test_type_that_a_server_may_reject_is_no_form(self) -> None:
        """A type that Go rejects is none, nor one that only some servers accept."""
        for kind in (
            self.FORM + b"; a=1; a=2",
            self.FORM + b"; charset=a; charset=b",
            self.FORM + b"; charset=utf-8; a=1",
            self.FORM + b"; charset=",
            self.FORM + b"; charset",
            self.FORM + b"; charset*=utf-8''a",
            self.FORM + b'; charset="utf-8"',
            self.FORM + b"; a=1",
            self.FORM + b";",
            self.FORM + b"\x0b",
            self.FORM + b"\n",
            self.FORM + b", text/plain",
            b"multipart/form-data; boundary=a",
            self.FORM + b" " * 10**6 + b"x",
            b"",
        ):
            self.assertFalse(timeouts.is_form(post(b"query=up", ((b"Content-Type", kind),))), kind[:80])

    def test_request_that_reaches_a_server_without_its_type_is_no_form(self) -> None:
        """A type that the client nominates for the connection is not passed on, and of two types one server takes the first."""
        for field in (
            (b"Connection", b"keep-alive, Content-Type"),
            (b"connection", b"CONTENT-TYPE"),
            (b"Content-Type", b"text/plain"),
        ):
            self.assertFalse(timeouts.is_form(post(b"query=up", (*FORM, field))), field)
        self.assertTrue(timeouts.is_form(post(b"query=up", (*FORM, (b"Connection", b"keep-alive"), (b"User-Agent", b"a")))))

    def test_form_too_long_for_a_server_is_none(self) -> None:
        """Go's servers ignore the parameters of a form of more than 10 MiB, also when mpp has added a timeout."""
        largest = 10 * 2**20
        self.assertFalse(timeouts.is_form(post(b"a" * (largest + 1))))
        self.assertTrue(timeouts.is_form(post(b"a" * (largest - 1000))))
        for size in range(largest - 200, largest + 1):
            self.assertLessEqual(len(limited(post(b"a" * size), 3600.0)[1]), largest)


class LimitedTests(SynchronousTestCase):
    """What a server is told."""

    def test_timeout_in_a_target_is_added_or_lowered(self) -> None:
        """A timeout is put in, or made smaller, and nothing else changes."""
        for before, after in (
            (b"?query=up%7B%7D", b"?query=up%7B%7D&timeout=1500ms"),
            (b"", b"?timeout=1500ms"),
            (b"?", b"?timeout=1500ms"),
            (b"?query=up&", b"?query=up&timeout=1500ms"),
            (b"?query=up?", b"?query=up?&timeout=1500ms"),
            (b"?timeout=60s&query=up[5m]", b"?timeout=1500ms&query=up[5m]"),
            (b"?query=up&timeout=1m", b"?query=up&timeout=1500ms"),
            (b"?query=up&timeout=1", b"?query=up&timeout=1"),
            (b"?query=up&timeout=soon", b"?query=up&timeout=soon"),
        ):
            self.assertEqual(limited(get(before), 1.5)[0], b"/api/v1/query" + after, before)

    def test_timeout_in_a_form_is_added_or_lowered(self) -> None:
        """In a form it is the body that says so; any other body is left alone."""
        for facts, body in (
            (post(b"query=up"), b"query=up&timeout=1500ms"),
            (post(b"timeout=1h&query=up"), b"timeout=1500ms&query=up"),
            (post(b"timeout=1s&query=up"), b"timeout=1s&query=up"),
            (post(b"\x1f\x8b", headers=(*FORM, (b"Content-Encoding", b"gzip"))), b"\x1f\x8b"),
            (post(b"query=up", headers=((b"Content-Type", b"multipart/form-data"),)), b"query=up"),
        ):
            self.assertEqual(limited(facts, 1.5), (facts.target, body))

    def test_form_whose_timeout_is_in_the_target(self) -> None:
        """A form that leaves it to the target has it made smaller there."""
        changed = limited(post(b"query=up", query=b"?timeout=60"), 1.5)
        self.assertEqual(changed, (b"/api/v1/query?timeout=1500ms", b"query=up"))

    def test_at_least_a_millisecond(self) -> None:
        """Zero would mean no limit to some versions."""
        self.assertEqual(limited(get(b"?a=b"), 0.0)[0], b"/api/v1/query?a=b&timeout=1ms")


class RedirectTests(SynchronousTestCase):
    """Locations that carry on what was put in."""

    def restored(self, target: bytes, location: bytes, seconds: float = 5.0) -> bytes:
        """Return what becomes of a location; ``SENT`` in it stands for the target that was sent."""
        facts = RequestInfo(b"GET", target, ())
        found = timeouts.find(facts)
        sent, _ = timeouts.limited(facts, found, seconds)
        return timeouts.without_injected(location.replace(b"SENT", sent), target, found, sent)

    def test_taken_out(self) -> None:
        """What was put in is taken out wherever it stands; all else stays byte for byte."""
        for target, location, expected in (
            (b"/q?query=up", b"https://edge:8443SENT", b"https://edge:8443/q?query=up"),
            (b"/q?query=up", b"SENT#a?timeout=5000ms", b"/q?query=up#a?timeout=5000ms"),
            (b"/q", b"SENT", b"/q"),
            (b"/q?query=a%20b", b"/x?timeout=5000ms&query=a%20b", b"/x?query=a%20b"),
            (b"/q?timeout=1m&query=up", b"SENT", b"/q?timeout=1m&query=up"),
            (b"/q?query=up&timeout=90", b"SENT&x=1", b"/q?query=up&timeout=90&x=1"),
        ):
            self.assertEqual(self.restored(target, location), expected, location)

    def test_left_alone(self) -> None:
        """What is not byte for byte what was put in is not touched."""
        for location in (
            b"",
            b"/login",
            b"/q?timeout=4000ms",
            b"/q?xtimeout=5000ms",
            b"/q?timeout=5000ms0",
            b"/login?to=%2Fq%3Ftimeout%3D5000ms",
            b"/timeout=5000ms",
            b"/#?timeout=5000ms",
        ):
            self.assertEqual(self.restored(b"/q?query=up", location), location)
