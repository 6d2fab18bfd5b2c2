"""The endpoints file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mpp.core.errors import DiscoveryError
from mpp.core.interfaces import ILocator
from mpp.core.model import Backend
from mpp.discovery.file import MAX_BYTES, FileLocator
from tests.locator_contract import prompt_locator_tests
from tests.logged import logged

A, B = (Backend("http", name, 9090) for name in ("prom-a", "prom-b"))


def _line_and_problem(event: Mapping[str, Any]) -> str:
    return f"{event['path']}:{event['problem']}" if "problem" in event else ""


class FileSource:
    """A file that somebody edits."""

    secrets: Sequence[str] = ()
    watched = False

    def __init__(self, case: SynchronousTestCase) -> None:
        self._path = Path(case.mktemp()).absolute()
        self.locator: ILocator = FileLocator(str(self._path))

    def have(self, *addresses: str) -> None:
        """Write it."""
        self._path.write_text("".join(f"{address}\n" for address in addresses))

    def fail(self) -> None:
        """Take it away."""
        self._path.unlink(missing_ok=True)

    def leftovers(self) -> Sequence[object]:
        """Return an empty sequence: a lookup ends before it returns."""
        return ()

    def settle(self) -> None:
        """Do nothing."""


class FileContractTests(prompt_locator_tests(FileSource)):  # type: ignore[misc]
    """What every locator keeps to."""


class FileLocatorTests(SynchronousTestCase):
    """What a file gives."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        self.locator = FileLocator(self.path)
        self.logged = logged(self, _line_and_problem)

    def write(self, content: bytes) -> None:
        """Replace the file's content."""
        with open(self.path, "wb") as file:
            file.write(content)

    def located(self, content: bytes) -> tuple[Backend, ...]:
        """Return what is located in this content."""
        self.write(content)
        return tuple(located.backend for located in self.successResultOf(self.locator.locate()))

    def refused(self) -> str:
        """Return why the file as it is cannot be used."""
        return str(self.failureResultOf(self.locator.locate(), DiscoveryError).value)

    def test_provides_the_interface(self) -> None:
        """A FileLocator is a locator."""
        self.assertTrue(verifyObject(ILocator, self.locator))
        self.assertIn(self.path, repr(self.locator))

    def test_blanks_comments_and_bom_are_ignored(self) -> None:
        """Blank lines, comments, surrounding space, CRLF and a BOM do not count; the file's order does."""
        content = b"\xef\xbb\xbf# the pair\r\n\r\n  http://prom-b:9090\t# second\r\n\tprom-a:9090 \r\n#prom-c:9090"
        self.assertEqual(self.located(content), (B, A))

    def test_repeated_endpoint_is_one_backend(self) -> None:
        """An endpoint listed twice, in whatever spelling, is one backend, at its first place."""
        self.assertEqual(self.located(b"prom-a:9090\nprom-b:9090\nHTTP://PROM-A:9090/\n"), (A, B))

    def test_read_at_every_look_up(self) -> None:
        """A changed file counts from the next look-up on."""
        self.assertEqual(self.located(b"prom-a:9090\n"), (A,))
        self.assertEqual(self.located(b"prom-b:9090\n"), (B,))

    def test_empty_file(self) -> None:
        """A file that lists nothing gives no backends, which is not an error."""
        self.assertEqual(self.located(b"# nobody yet\n\n"), ())

    def test_file_without_a_byte(self) -> None:
        """A file that is just being written anew does not take all backends away."""
        self.write(b"")
        self.assertIn("empty", self.refused())

    def test_bad_line_is_skipped(self) -> None:
        """A bad line is logged with file and line number, and the rest counts."""
        self.assertEqual(self.located(b"prom-a:9090\nprom-b\n"), (A,))
        self.assertEqual(self.logged, [f"{self.path}:2: no port given: expected host:port, like prom-a:9090, or a URL"])

    def test_bad_line_is_logged_once(self) -> None:
        """A bad line is logged again only after it was mended, or when it moves or changes."""
        self.located(b"prom-a:9090\nprom-b\n")
        self.located(b"prom-a:9090\nprom-b\n")
        self.assertEqual(len(self.logged), 1)
        self.located(b"prom-a:9090\nprom-b:x\n")
        self.assertEqual(len(self.logged), 2)
        self.located(b"prom-a:9090\n")
        self.located(b"prom-a:9090\nprom-b:x\n")
        self.assertEqual(len(self.logged), 3)

    def test_no_line_is_an_endpoint(self) -> None:
        """A file with lines of which none is an endpoint is not taken for an empty list."""
        self.write(b"<html>\n<p>Not found\n")
        self.assertIn("no line is an endpoint; line 1: ", self.refused())

    def test_relative_path(self) -> None:
        """A relative path means the directory that mpp was started in, whatever it changes to later."""
        self.assertEqual(repr(FileLocator("endpoints")), f"<FileLocator {os.path.abspath('endpoints')}>")

    def test_missing_file(self) -> None:
        """A file that is not there is an error that names it."""
        self.assertEqual(self.refused(), f"{self.path}: No such file or directory")

    def test_undecodable_file(self) -> None:
        """A file that is not UTF-8 text is an error."""
        self.write("prom-a:9090".encode("utf-16"))
        self.assertEqual(self.refused(), f"{self.path}: not UTF-8 text (byte 0)")

    def test_large_file(self) -> None:
        """A file that is much too large is an error, and is not read to its end."""
        self.write(b"#" * (MAX_BYTES + 1))
        self.assertIn("larger than 1 MiB", self.refused())

    def test_not_a_file(self) -> None:
        """A directory or a named pipe is an error, and stops nothing."""
        os.mkdir(self.path)
        self.assertIn("Is a directory", self.refused())
        os.rmdir(self.path)
        os.mkfifo(self.path)
        self.assertIn("not a regular file", self.refused())
