"""The token by which mpp recognizes its own requests."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.http.instance import Instance


class InstanceTests(SynchronousTestCase):
    """What is sent, and what is recognized."""

    def test_each_instance_has_its_own_token(self) -> None:
        """Each mpp has a token of its own."""
        tokens = {Instance.random().token for _ in range(100)}
        self.assertEqual(len(tokens), 100)
        for token in tokens:
            self.assertRegex(token, "^[0-9a-f]{16}$")

    def test_token_is_appended_to_those_there(self) -> None:
        """The token stands behind those that are there."""
        own = Instance("own")
        self.assertEqual(own.line, b"MPP-Instance: own\r\n")
        self.assertEqual(own.line_after((b"a, b", b"c")), b"MPP-Instance: a, b, c, own\r\n")

    def test_own_token_is_recognized_among_others(self) -> None:
        """The own token is recognized among others, and others are not."""
        own, other = Instance.random(), Instance.random()
        self.assertTrue(own.is_in((b"a", b"b, " + own.token.encode() + b", c")))
        self.assertFalse(own.is_in((b"a", other.token.encode())))
        self.assertFalse(own.is_in(()))
