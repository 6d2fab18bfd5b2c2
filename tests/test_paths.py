"""What request targets mean."""

from twisted.trial.unittest import SynchronousTestCase

from mpp import paths


class UnsafeTests(SynchronousTestCase):
    """Paths that change one server of a pair."""

    def test_unsafe_paths_are_seen_in_every_spelling(self) -> None:
        """No encoding, prefix, doubled slash, dot segment or letter case hides a path that changes one server."""
        for path in (
            b"/-/reload",
            b"/-/quit",
            b"/-/quit/",
            b"/prometheus/-/reload",
            b"/%2d/reload",
            b"/-/rel%6Fad",
            b"//-//reload",
            b"/x/../-/reload",
            b"/./-/./quit",
            b"/-/Reload",
            b"/api/v1/admin/tsdb/snapshot",
            b"/api/v1/admin",
            b"/api/v1/%61dmin/tsdb/delete_series",
            b"/api/v1/write",
            b"/api/v1/otlp/v1/metrics",
            b"/debug/pprof/",
            b"/debug/pprof/heap",
            b"/api/v1/x/../admin/tsdb/snapshot",
            b"/api/v1/admin/..%2fadmin/x",
        ):
            self.assertTrue(paths.meaning(path).unsafe, path)

    def test_reads_are_not_unsafe(self) -> None:
        """What only reads is passed through, however similar its path."""
        for path in (
            b"/",
            b"/graph",
            b"/-/ready",
            b"/-/healthy",
            b"/api/v1/query",
            b"/api/v1/label/admin/values",
            b"/api/v1/label/write/values",
            b"/api/v1/administer",
            b"/api/v1/write_relabel",
            b"/debug/pprofile",
            b"/-/reloaded",
            b"/metrics",
        ):
            self.assertFalse(paths.meaning(path).unsafe, path)


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
        for path in (b"/api/v1/query", b"/api/v1/query_range", b"/prometheus/api/v1/query", b"/api/v1/query/"):
            self.assertTrue(paths.meaning(path).takes_timeout, path)
        for path in (
            b"/api/v1/query_exemplars",
            b"/api/v1/series",
            b"/federate",
            b"/api/v1/labels",
            b"/graph",
            b"/xapi/v1/query2",
        ):
            self.assertFalse(paths.meaning(path).takes_timeout, path)


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
            ("/prom", b"/graph", b"/prom/graph"),
            ("/prom", b"/prom/graph", b"/prom/graph"),
            ("/prom", b"/prom", b"/prom"),
            ("/prom", b"/prom?x=1", b"/prom?x=1"),
            ("/prom", b"/prometheus", b"/prom/prometheus"),
            ("/prom", b"/?q=%2B+[5m]", b"/prom/?q=%2B+[5m]"),
        ):
            self.assertEqual(paths.with_prefix(prefix, target), expected)


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
