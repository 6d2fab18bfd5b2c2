"""What a request for an own page may send."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.proxy.site.page_limits import MAX_BODY, MAX_EXPLAINED, MAX_PARAMETERS, MAX_TARGET, arguments, max_body, max_target


class PageLimitsTests(SynchronousTestCase):
    """Bounds, by path."""

    def test_explain_allows_longer_targets(self) -> None:
        """What is to be explained has a longer target inside."""
        self.assertEqual((max_target(b"/mpp/health"), max_target(b"/mpp/explain")), (MAX_TARGET, MAX_EXPLAINED))

    def test_own_pages_reject_bodies(self) -> None:
        """Own pages have no body, but for those that take POST; all else has what the operator allows."""
        for target, most in (
            (b"/mpp/health", 0),
            (b"/mpp/health?/mpp/reload", 0),
            (b"/mpp", 0),
            (b"/mpp/", 0),
            (b"/mpp/reload", MAX_BODY),
            (b"/mpp/reload?x=1", MAX_BODY),
            (b"/mpp/reload/x", 0),
            (b"/mpp/cache/flush", MAX_BODY),
            (b"/mpp/cache/flush/", 0),
            (b"/mppx", 1000),
            (b"/api/v1/query", 1000),
            (b"/api/v1/query?/mpp/", 1000),
        ):
            self.assertEqual(max_body(target, 1000), most, target)

    def test_first_parameters_are_decoded_in_order(self) -> None:
        """The first parameters are read, decoded, in their order; what has no value is none."""
        self.assertEqual(arguments(b""), {})
        self.assertEqual(
            arguments(b"format=json&a=1&a=%32+x&b&c=&=d&%66=%3D"),
            {b"format": [b"json"], b"a": [b"1", b"2 x"], b"c": [b""], b"": [b"d"], b"f": [b"="]},
        )
        self.assertEqual(arguments(b"&" * MAX_PARAMETERS + b"format=json"), {})
        self.assertEqual(arguments(b"&" * (MAX_PARAMETERS - 1) + b"format=json&" + b"x=y&" * 10**5), {b"format": [b"json"]})
