"""Tests of `mpp.discovery.http_api.content`: what a response was packed in, and how much of it is unpacked."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

from twisted.trial.unittest import SynchronousTestCase

from mpp.discovery.http_api.content import decode

LIMIT = 10_000


class DecodeTests(SynchronousTestCase):
    """Bodies and their codings."""

    def test_one_layer_of_gzip_is_unpacked(self) -> None:
        """One layer of gzip is undone; identity is none."""
        for codings in ("gzip", "GZIP", " gzip ", "x-gzip", "identity, gzip", "gzip,"):
            self.assertEqual(decode(gzip.compress(b"content"), codings, LIMIT), b"content", codings)
        for codings in ("", "identity", " , "):
            self.assertEqual(decode(b"content", codings, LIMIT), b"content", codings)
        self.assertEqual(decode(b"", "gzip", LIMIT), b"")

    def test_the_limit_is_exact(self) -> None:
        """Content of the limit is taken, and none that is one byte longer."""
        for pack, codings in ((bytes, ""), (gzip.compress, "gzip")):
            self.assertEqual(decode(pack(b"x" * LIMIT), codings, LIMIT), b"x" * LIMIT)
            self.assertIsNone(decode(pack(b"x" * (LIMIT + 1)), codings, LIMIT))

    def test_other_codings(self) -> None:
        """Two layers, and codings that were not asked for, are refused as they are."""
        packed = gzip.compress(gzip.compress(b"content"))
        for codings in ("gzip, gzip", "gzip,gzip", "x-gzip, gzip", "gzip, identity, gzip", "br", "deflate", "zstd", "gzip;q=1"):
            with self.assertRaisesRegex(ValueError, "is not supported; expected gzip, once, or none"):
                decode(packed, codings, LIMIT)
        with self.assertRaises(ValueError) as caught:
            decode(packed, "\x1b[31m" + "gzip, " * 10_000, LIMIT)
        self.assertLess(len(str(caught.exception)), 150)
        self.assertTrue(str(caught.exception).isprintable())

    def test_damaged_gzip_is_rejected(self) -> None:
        """What is no gzip, is cut off, or goes on behind its end is refused."""
        whole = gzip.compress(b"content" * 100)
        for body in (
            b"content",
            zlib.compress(b"content"),
            whole[:-1],
            whole[:20],
            whole + b"x",
            whole * 2,
            whole[:-8] + bytes(8),
        ):
            self.assertRaises(ValueError, decode, body, "gzip", LIMIT)

    def test_a_bomb_takes_no_memory(self) -> None:
        """A body that stands for 64 MiB costs little more than the limit."""
        bomb = gzip.compress(bytes(64 * 1024 * 1024))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.assertIsNone(decode(bomb, "gzip", LIMIT))
        self.assertRaises(ValueError, decode, gzip.compress(bomb), "gzip, gzip", LIMIT)
        self.assertLess(tracemalloc.get_traced_memory()[1], 1024 * 1024)
