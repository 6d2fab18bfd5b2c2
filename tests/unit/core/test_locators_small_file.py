"""Small files."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.files import UnreadableFile, read_small
from mpp.core.model import MIB


class SmallFileTests(SynchronousTestCase):
    """What is read, and what is not."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def read(self) -> bytes:
        """Read it."""
        return read_small(str(self.path), MIB, "a list")

    def refused(self) -> str:
        """Return why it is not read."""
        return str(self.assertRaises(UnreadableFile, self.read))

    def test_content_is_returned_up_to_the_bound(self) -> None:
        """The content is given as it is, up to the bound."""
        for content in (b"", b"a\r\n\xff", b"x" * MIB):
            self.path.write_bytes(content)
            self.assertEqual(self.read(), content)

    def test_too_large(self) -> None:
        """A larger file is not read to its end."""
        self.path.write_bytes(b"x" * (MIB + 1))
        self.assertEqual(self.refused(), "larger than 1 MiB, not a list")
        error = self.assertRaises(UnreadableFile, read_small, str(self.path), 256 * 1024, "a list")
        self.assertEqual(str(error), "larger than 256 KiB, not a list")

    def test_not_a_file(self) -> None:
        """What is no regular file is not read; a pipe that nobody writes to stops nothing."""
        self.assertEqual(self.refused(), "No such file or directory")
        self.path.mkdir()
        self.assertEqual(self.refused(), "Is a directory")
        self.path.rmdir()
        os.mkfifo(self.path)
        self.assertEqual(self.refused(), "not a regular file")
        self.assertEqual(str(self.assertRaises(UnreadableFile, read_small, "a\0b", 1, "a list")), "not a path")
