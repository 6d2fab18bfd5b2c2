"""Tests of `mpp.wire.downstream.request_rules`: which requests are served."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import BadRequest
from mpp.core.model import Headers
from mpp.wire.downstream.request_rules import MAX_LIST, AnnouncedBody, check_head, check_lists, origin_form

HOST: Headers = ((b"Host", b"a:9090"),)


def chunked(value: bytes = b"chunked") -> Headers:
    return (*HOST, (b"Transfer-Encoding", value))


def at_most(size: int) -> Callable[[bytes], int]:
    return lambda target: size


ACCEPTED: list[tuple[str, bytes, bytes, Headers, AnnouncedBody]] = [
    ("a plain request", b"/", b"1.1", HOST, AnnouncedBody(False, False)),
    ("a query", b"/api/v1/query?query=up%7Bjob%3D%22a%22%7D", b"1.1", HOST, AnnouncedBody(False, False)),
    ("braces as they are", b'/q?query={a="b"}|^`', b"1.1", HOST, AnnouncedBody(False, False)),
    ("an empty Host", b"/", b"1.1", ((b"host", b""),), AnnouncedBody(False, False)),
    ("an IPv6 Host", b"/", b"1.1", ((b"Host", b"[::1]:9090"),), AnnouncedBody(False, False)),
    ("HTTP/1.0 without a Host", b"/", b"1.0", (), AnnouncedBody(False, False)),
    ("a length", b"/", b"1.1", (*HOST, (b"Content-Length", b"5")), AnnouncedBody(True, False, 100)),
    ("a length of zero", b"/", b"1.1", (*HOST, (b"Content-Length", b"0")), AnnouncedBody(False, False)),
    ("the largest length", b"/", b"1.1", (*HOST, (b"content-length", b"100")), AnnouncedBody(True, False, 100)),
    ("chunks", b"/", b"1.1", chunked(b"Chunked "), AnnouncedBody(True, False, 100)),
    ("100-continue", b"/", b"1.1", (*chunked(), (b"Expect", b"100-Continue")), AnnouncedBody(True, True, 100)),
    ("100-continue without a body", b"/", b"1.1", (*HOST, (b"Expect", b"100-continue")), AnnouncedBody(False, False)),
    ("an expectation of HTTP/1.0", b"/", b"1.0", (*HOST, (b"Expect", b"what")), AnnouncedBody(False, False)),
]

REFUSED: list[tuple[str, bytes, bytes, Headers, int]] = [
    ("HTTP/0.9", b"/", b"0.9", (), 400),
    ("HTTP/2.0", b"/", b"2.0", HOST, 505),
    ("another scheme", b"ftp://a/", b"1.1", HOST, 400),
    ("an authority", b"a:80", b"1.1", HOST, 400),
    ("a userinfo trick", b"@a/", b"1.1", HOST, 400),
    ("an asterisk", b"*", b"1.1", HOST, 400),
    ("an empty target", b"", b"1.1", HOST, 400),
    ("a fragment", b"/a#b", b"1.1", HOST, 400),
    ("a control byte", b"/a\x7f", b"1.1", HOST, 400),
    ("a line feed at the end", b"/a\n", b"1.1", HOST, 400),
    ("a space", b"/a b", b"1.1", HOST, 400),
    ("a byte above ASCII", b"/\xc3\xa9", b"1.1", HOST, 400),
    ("no Host", b"/", b"1.1", (), 400),
    ("two Hosts", b"/", b"1.1", HOST + HOST, 400),
    ("two Hosts in HTTP/1.0", b"/", b"1.0", HOST + HOST, 400),
    ("a Host with a path", b"/", b"1.1", ((b"Host", b"a/b"),), 400),
    ("a Host with userinfo", b"/", b"1.1", ((b"Host", b"x@a"),), 400),
    ("two Hosts in one", b"/", b"1.1", ((b"Host", b"a b"),), 400),
    ("an unknown coding", b"/", b"1.1", chunked(b"gzip, chunked"), 501),
    ("identity", b"/", b"1.1", chunked(b"identity"), 501),
    ("codings in two fields", b"/", b"1.1", (*chunked(b"gzip"), (b"transfer-encoding", b"chunked")), 501),
    ("codings in two fields, chunked first", b"/", b"1.1", (*chunked(), (b"Transfer-Encoding", b"gzip")), 501),
    ("chunked in two fields", b"/", b"1.1", (*chunked(), (b"Transfer-Encoding", b"chunked")), 501),
    ("an empty coding before chunked", b"/", b"1.1", (*chunked(b""), (b"Transfer-Encoding", b"chunked")), 501),
    ("expectations in two fields", b"/", b"1.1", (*chunked(), (b"Expect", b"200-ok"), (b"Expect", b"100-continue")), 417),
    ("chunks in HTTP/1.0", b"/", b"1.0", chunked(), 400),
    ("chunks and a length", b"/", b"1.1", (*chunked(), (b"Content-Length", b"5")), 400),
    ("a body too large", b"/", b"1.1", (*HOST, (b"Content-Length", b"101")), 413),
    ("a body too large, expected", b"/", b"1.1", (*HOST, (b"Content-Length", b"101"), (b"Expect", b"100-continue")), 413),
    ("an unknown expectation", b"/", b"1.1", (*HOST, (b"Expect", b"200-ok")), 417),
]


def check(target: bytes, version: bytes, headers: Headers) -> AnnouncedBody:
    """Check a head as the reader does."""
    if target[:1] != b"/":
        target, headers = origin_form(target, headers)
    return check_head(target, version, headers, at_most(100))


class CheckHeadTests(SynchronousTestCase):
    """Which heads are accepted."""

    def test_unambiguous_requests_are_accepted(self) -> None:
        """Unambiguous requests for a path are served."""
        for title, target, version, headers, expected in ACCEPTED:
            with self.subTest(title):
                self.assertEqual(check_head(target, version, headers, at_most(100)), expected)

    def test_ambiguous_requests_are_rejected(self) -> None:
        """Whatever two programs could read in two ways is refused, with the status that says what is wrong."""
        for title, target, version, headers, status in REFUSED:
            with self.subTest(title):
                refusal = self.assertRaises(BadRequest, check, target, version, headers)
                self.assertEqual(refusal.status, status)

    def test_no_body(self) -> None:
        """Where nothing takes a body, a request that announces one is refused by its head; an empty one passes."""
        for headers in ((*HOST, (b"Content-Length", b"1")), chunked(), (*chunked(), (b"Expect", b"100-continue"))):
            refusal = self.assertRaises(BadRequest, check_head, b"/", b"1.1", headers, at_most(0))
            self.assertEqual(refusal.status, 413)
        empty = (*HOST, (b"Content-Length", b"0"))
        self.assertEqual(check_head(b"/", b"1.1", empty, at_most(0)), AnnouncedBody(False, False))

    def test_rule_by_target(self) -> None:
        """How large a body may be depends on the target."""
        asked: list[bytes] = []

        def most(target: bytes) -> int:
            asked.append(target)
            return 5

        check_head(b"/a", b"1.1", HOST, most)
        check_head(b"/b", b"1.1", (*HOST, (b"Content-Length", b"5")), most)
        self.assertRaises(BadRequest, check_head, b"/c", b"1.1", (*HOST, (b"Content-Length", b"6")), most)
        self.assertEqual(asked, [b"/b", b"/c"])


class CheckListsTests(SynchronousTestCase):
    """Fields that are taken apart."""

    def test_lists_of_a_head_are_bounded_together(self) -> None:
        """They may have so many bytes together and no more; the operator is told which one has."""
        half = b"," * (MAX_LIST // 2)
        check_lists(((b"Cookie", half), (b"cookie", half), (b"Connection", half), (b"X", half * 100)))
        refusal = self.assertRaises(BadRequest, check_lists, ((b"Cookie", half), (b"X", half), (b"COOKIE", half + b";")))
        self.assertEqual((refusal.status, "COOKIE" in refusal.detail), (431, True))


class OriginFormTests(SynchronousTestCase):
    """Requests in absolute-form, which a proxy or an HTTP/1.1 client may send (RFC 9112 section 3.2.2)."""

    def test_absolute_form(self) -> None:
        """The path and query remain, and the authority replaces the Host field."""
        for target, authority, path in (
            (b"http://b:9090/api/v1/query?query=up", b"b:9090", b"/api/v1/query?query=up"),
            (b"HTTPS://b/graph", b"b", b"/graph"),
            (b"http://[::1]:9090", b"[::1]:9090", b"/"),
            (b"http://b?x=/y", b"b", b"/?x=/y"),
            (b"http://b//x", b"b", b"//x"),
            (b"http://b/x?y=http://c/", b"b", b"/x?y=http://c/"),
        ):
            with self.subTest(target):
                self.assertEqual(origin_form(target, ((b"X", b"y"), *HOST)), (path, ((b"X", b"y"), (b"Host", authority))))
                self.assertEqual(origin_form(target, ()), (path, ()))

    def test_other_forms_of_targets_are_rejected(self) -> None:
        """Other forms and schemes, user information and a missing host fail."""
        for target in (
            b"a:80",
            b"*",
            b"@a/",
            b"ftp://a/",
            b"http:/a",
            b"http://x@a/",
            b"http://x:y@a/",
            b"http:///a",
            b"http://",
            b"",
        ):
            with self.subTest(target):
                with self.assertRaises(BadRequest) as caught:
                    check(target, b"1.1", HOST)
                self.assertEqual(caught.exception.status, 400)

    def test_host_is_still_needed(self) -> None:
        """Two Host fields are refused, whatever the target."""
        with self.assertRaises(BadRequest):
            check(b"http://a/", b"1.1", HOST + HOST)
