"""Compressed data that is put together from pieces."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SynchronousTestCase

from mpp.cache.texts import crc, deflate
from mpp.cache.texts.deflate import Deflated, Piece, compressed, inflated, text_length

texts = st.one_of(
    st.binary(max_size=100),
    st.tuples(st.binary(min_size=1, max_size=9), st.integers(0, 20_000)).map(lambda pair: pair[0] * pair[1]),
)
pieces = st.lists(st.tuples(texts, st.booleans()), max_size=8)


def with_each_codec(check: Callable[[], None]) -> None:
    """Run a check as it is where ``isal`` is there, and as it is where it is missing."""
    check()
    MonkeyPatcher((deflate, "codec", zlib), (deflate, "crc32_combine", crc.combined)).runWithPatches(check)


def put_together(parts: list[tuple[bytes, bool]]) -> tuple[Deflated, bytes]:
    """Return data of texts, some of them compressed, and its text."""
    data = Deflated()
    for text, is_run in parts:
        piece: Piece = compressed(text) if is_run else text
        assert text_length(piece) == len(text)
        data.put(piece)
    return data, b"".join(text for text, _ in parts)


class DeflateTests(SynchronousTestCase):
    """Runs and texts one after the other."""

    @given(pieces)
    def test_gzip_file_has_all_texts(self, parts: list[tuple[bytes, bool]]) -> None:
        """Every reader of gzip files reads it: sums and length are right."""

        def check() -> None:
            data, text = put_together(parts)
            self.assertEqual(gzip.decompress(b"".join(data.gzip())), text)

        with_each_codec(check)

    @given(pieces, pieces)
    def test_data_is_a_run(self, parts: list[tuple[bytes, bool]], others: list[tuple[bytes, bool]]) -> None:
        """It can stand anywhere in other data, again and again, and be inflated."""

        def check() -> None:
            data, text = put_together(parts)
            run = data.run()
            self.assertEqual(inflated(run.data), text)
            whole, before = put_together(others)
            for piece in (run, b"between", run):
                whole.put(piece)
            self.assertEqual(gzip.decompress(b"".join(whole.gzip())), before + text + b"between" + text)

        with_each_codec(check)

    def test_either_codec_reads_the_other_one(self) -> None:
        """The data is of one kind, and the sums are the same."""
        found = []
        with_each_codec(lambda: found.append(compressed(b"some text, some text")))
        self.assertEqual({(run.length, run.crc) for run in found}, {(20, zlib.crc32(b"some text, some text"))})
        for run in found:
            with_each_codec(lambda data=run.data: self.assertEqual(inflated(data), b"some text, some text"))

    def test_large_texts_need_several_blocks(self) -> None:
        """A stored block has at most 65,535 bytes."""
        for length in (65535, 65536, 200_000):
            data = Deflated()
            data.put(b"x" * length)
            self.assertEqual(gzip.decompress(b"".join(data.gzip())), b"x" * length)

    def test_points_are_compressed_well(self) -> None:
        """To less than a half, with the flush that ends a run."""
        text = b",".join(b'[%d,"%.12f"]' % (1764400000 + 15 * number, number / 7) for number in range(120))
        self.assertLess(len(compressed(text).data), len(text) / 2)


class CRCTests(SynchronousTestCase):
    """The CRC-32 of two texts."""

    @given(texts, texts)
    def test_combined(self, first: bytes, second: bytes) -> None:
        """It is that of both texts, one after the other."""
        self.assertEqual(crc.combined(zlib.crc32(first), zlib.crc32(second), len(second)), zlib.crc32(first + second))
