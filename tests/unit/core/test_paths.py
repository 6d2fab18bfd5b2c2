"""What request targets mean."""

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.prometheus import paths


class UnsafeTests(SynchronousTestCase):
    """Requests that change one server of a pair; which paths these are is tested in `tests.unit.core.test_unsafe_paths`."""

    def test_by_method(self) -> None:
        """What changes a server is refused, what reads the same path is not."""
        for method, path, unsafe in (
            (b"GET", b"/-/reload", True),
            (b"POST", b"/-\\reload", True),
            (b"GET", b"/api/v1/rules/a", False),
            (b"POST", b"/api/v1/rules/a", True),
            (b"POST", b"/api/v1/series", False),
            (b"DELETE", b"/api/v1/series", True),
            (b"GET", b"/graph", False),
        ):
            self.assertEqual(paths.is_unsafe_behind(method, path, ("",)), unsafe, (method, path))

    def test_path_made_unsafe_by_a_prefix_is_rejected(self) -> None:
        """A path that only a server's prefix makes unsafe is refused, in every spelling, and with its methods only."""
        prefixes = ("", "/api/v1")
        self.assertTrue(paths.is_unsafe_behind(b"GET", b"/admin/tsdb/snapshot", prefixes))
        self.assertTrue(paths.is_unsafe_behind(b"GET", b"/x/..\\%61dmin", prefixes))
        self.assertTrue(paths.is_unsafe_behind(b"DELETE", b"/rules/a", prefixes))
        self.assertFalse(paths.is_unsafe_behind(b"GET", b"/rules/a", prefixes))
        self.assertFalse(paths.is_unsafe_behind(b"GET", b"/admin/tsdb/snapshot", ("", "/prom")))

    def test_replaced_prefixes(self) -> None:
        """A path is unsafe if it is as it came, or with its prefix replaced by the prefix of any other server."""
        for path, prefixes in (
            (b"/-/reload", ("/-", "")),
            (b"/prom/v1/admin/tsdb", ("/prom", "/api")),
            (b"/prom/%61dmin/tsdb", ("/gate/api/v1", "/prom")),
            (b"/a/b/reload", ("/x/-", "/a/b", "/a")),
        ):
            self.assertTrue(paths.is_unsafe_behind(b"POST", path, prefixes), path)
            self.assertEqual(paths.rejection_behind(b"POST", path, prefixes).status, 403)
        self.assertFalse(paths.is_unsafe_behind(b"POST", b"/prom/v1/admin/tsdb", ("/prom", "")))
        self.assertEqual(paths.rejection_behind(b"GET", b"/a/b/reload", ("/x/-", "/a/b")).allow, (b"POST", b"PUT"))

    def test_long_path(self) -> None:
        """A path longer than any query's costs no normalizing: it is no query."""
        path = b"/" + b"x/../" * 12_000 + b"api/v1/query"
        self.assertEqual(paths.meaning(path), (frozenset(), False, False, False))


class ReadTests(SynchronousTestCase):
    """What may be sent twice."""

    def test_gets_and_form_posts_of_the_query_api_are_reads(self) -> None:
        """A GET, or a POST that only carries a long query, may be repeated on another server."""
        for method, path in (
            (b"GET", b"/api/v1/query"),
            (b"HEAD", b"/-/ready"),
            (b"OPTIONS", b"/api/v1/query"),
            (b"GET", b"/anything"),
            (b"POST", b"/api/v1/query"),
            (b"POST", b"/api/v1/query_range"),
            (b"POST", b"/prefix/api/v1/query_exemplars"),
            (b"POST", b"/api/v1/labels"),
            (b"POST", b"/api/v1/series"),
            (b"POST", b"/api/v1/format_query"),
            (b"POST", b"/api/v1/parse_query"),
            (b"POST", b"/api/v1/read"),
            (b"POST", b"/api/v1/search/label_values"),
        ):
            self.assertTrue(paths.meaning(path).is_read(method), (method, path))

    def test_everything_else_is_a_write(self) -> None:
        """What may change something is never sent twice."""
        for method, path in (
            (b"POST", b"/api/v1/unknown"),
            (b"PUT", b"/api/v1/query"),
            (b"DELETE", b"/api/v1/series"),
            (b"POST", b"/api/v1/admin/tsdb/snapshot"),
            (b"POST", b"/-/reload"),
            (b"GET", b"/-/reload"),
            (b"PATCH", b"/"),
        ):
            self.assertFalse(paths.meaning(path).is_read(method), (method, path))


class TakesTimeoutTests(SynchronousTestCase):
    """Which paths have a ``timeout`` parameter."""

    def test_queries_do_and_nothing_else_does(self) -> None:
        """Only the two query endpoints, with or without a prefix, are told when to stop."""
        for path in (b"/api/v1/query", b"/api/v1/query_range", b"/a/prometheus/api/v1/query", b"/.a/..b/api/v1/query"):
            self.assertTrue(paths.meaning(path).takes_timeout, path)
        for path in (
            b"/api/v1/query_exemplars",
            b"/api/v1/series",
            b"/federate",
            b"/api/v1/labels",
            b"/graph",
            b"/xapi/v1/query2",
            # These are redirected, with the parameters that they have.
            b"/api/v1/query/",
            b"//api/v1/query",
            b"/prometheus//api/v1/query_range",
            b"/./api/v1/query",
            b"/x/../api/v1/query",
        ):
            self.assertFalse(paths.meaning(path).takes_timeout, path)


class StickyTests(SynchronousTestCase):
    """Requests that are kept on one server."""

    def test_federation_and_remote_read_are_sticky(self) -> None:
        """Federation and remote read, however they are written and behind any prefix; nothing else."""
        for path in (
            b"/federate",
            b"/x/federate",
            b"/federate/",
            b"//federate",
            b"/f%65derate",
            b"/api/v1/read",
            b"/p/api/v1/read",
        ):
            self.assertTrue(paths.meaning(path).sticky, path)
        for path in (b"/", b"/federated", b"/xfederate", b"/federate/x", b"/api/v1/query", b"/api/v1/write", b"/read"):
            self.assertFalse(paths.meaning(path).sticky, path)


class OwnTests(SynchronousTestCase):
    """mpp's own paths."""

    def test_only_the_first_segment_counts(self) -> None:
        """mpp answers below /mpp and passes everything else on."""
        self.assertEqual(
            [paths.is_own(p) for p in (b"/mpp", b"/mpp/x", b"/mppx", b"/", b"/x/mpp")], [True, True, False, False, False]
        )


class PrefixTests(SynchronousTestCase):
    """Path prefixes of backends."""

    def test_prefix_is_put_in_front_once(self) -> None:
        """A client may ask with or without the server's route prefix."""
        for prefix, target, expected in (
            ("", b"/graph?x=/prom", b"/graph?x=/prom"),
            ("", b"/prom/graph", b"/prom/graph"),
            ("/prom", b"/graph", b"/prom/graph"),
            ("/prom", b"/prom/graph", b"/prom/graph"),
            ("/prom", b"/prom", b"/prom"),
            ("/prom", b"/prom?x=1", b"/prom?x=1"),
            ("/prom", b"/prometheus", b"/prom/prometheus"),
            ("/prom", b"/?q=%2B+[5m]", b"/prom/?q=%2B+[5m]"),
        ):
            self.assertEqual(paths.with_prefix(prefix, target, (prefix,)), expected)

    def test_prefix_of_another_server_is_replaced(self) -> None:
        """What a client got from one server leads to the same page of every other one."""
        known = ("/a/b", "/prom", "/a", "")
        for prefix, target, expected in (
            ("", b"/prom/graph?g0=/prom/x", b"/graph?g0=/prom/x"),
            ("", b"/prom", b"/"),
            ("", b"/prom?x=1", b"/?x=1"),
            ("", b"/prom//graph", b"//graph"),
            ("", b"/prometheus/graph", b"/prometheus/graph"),
            ("", b"/%70rom/graph", b"/%70rom/graph"),
            ("/a", b"/prom/graph", b"/a/graph"),
            ("/a", b"/prom", b"/a"),
            ("/a", b"/prom/prom/graph", b"/a/prom/graph"),
            ("/a", b"/a/graph", b"/a/graph"),
            ("/a", b"/a/b/graph", b"/a/graph"),
            ("/a", b"/a/bc", b"/a/bc"),
            ("/a/b", b"/a/graph", b"/a/b/graph"),
            ("/a/b", b"/graph", b"/a/b/graph"),
            ("/gone", b"/gone/graph", b"/gone/graph"),
            ("/gone", b"/a/graph", b"/gone/graph"),
        ):
            self.assertEqual(paths.with_prefix(prefix, target, known), expected, (prefix, target))
            path = expected.partition(b"?")[0].removeprefix(prefix.encode())
            seen = paths.without_prefix(prefix, target, known)
            self.assertEqual(seen or b"/", path or b"/", (prefix, target))

    def test_own_pages_of_a_server_stay_out_of_reach(self) -> None:
        """No prefix leads to the pages below /mpp of a server that is an mpp itself: clients have no business there."""
        for prefix in ("", "/a", "/prom"):
            for path in (b"/prom/mpp", b"/prom/mpp/metrics"):
                self.assertEqual(paths.with_prefix(prefix, path, ("/prom", "/a", "")), prefix.encode() + path)


class NormalizedTests(SynchronousTestCase):
    """The most lenient reading of a path."""

    def test_dots_slashes_escapes_and_case(self) -> None:
        """Escapes are decoded once, slashes merged, dot segments resolved within the root."""
        for path, expected in (
            (b"/A//b", b"/a/b"),
            (b"/a/./b/../c", b"/a/c"),
            (b"/../../a", b"/a"),
            (b"/a/..", b"/"),
            (b"/a/.", b"/a/"),
            (b"/%2561", b"/%61"),
            (b"/.hidden", b"/.hidden"),
        ):
            self.assertEqual(paths.normalized(path), expected)
