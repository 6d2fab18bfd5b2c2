"""Prometheus' file_sd."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import ConfigError, DiscoveryError, PartlyDiscovered
from mpp.core.model import Backend
from mpp.discovery import file_sd
from mpp.discovery.file_sd import MAX_BYTES, FileSDLocator
from tests.locator_contract import prompt_locator_tests
from tests.logged import logged

A, B, C = (Backend("http", name, 9090) for name in ("prom-a", "prom-b", "prom-c"))


def groups(*addresses: str) -> str:
    """Return a list of one group."""
    return json.dumps([{"targets": list(addresses)}])


class FileSource:
    """A file that somebody edits."""

    secrets: Sequence[str] = ()
    watched = False

    def __init__(self, case: SynchronousTestCase) -> None:
        folder = Path(case.mktemp())
        folder.mkdir()
        self._path = folder / "targets.json"
        self.locator = FileSDLocator([str(folder / "*.json")])

    def have(self, *addresses: str) -> None:
        """Write it."""
        self._path.write_text(groups(*addresses))

    def fail(self) -> None:
        """Break it."""
        self._path.write_text("[{")

    def leftovers(self) -> Sequence[object]:
        """Return an empty sequence: a lookup ends before it returns."""
        return ()

    def settle(self) -> None:
        """Do nothing."""


class FileSDContractTests(prompt_locator_tests(FileSource)):  # type: ignore[misc]
    """What every locator keeps to."""


class FileSDLocatorTests(SynchronousTestCase):
    """What files give."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.locator = FileSDLocator([str(self.folder / "*.json"), str(self.folder / "*.yml")])
        self.logged = logged(self)

    def write(self, name: str, text: str) -> str:
        """Replace a file; give its path."""
        (self.folder / name).write_text(text, encoding="utf-8")
        return str(self.folder / name)

    def test_each_backend_has_the_patterns_that_list_it(self) -> None:
        """It is told of each backend which of the patterns list it."""
        self.write("a.json", groups("prom-a:9090", "prom-b:9090"))
        self.write("b.json", groups("prom-b:9090"))
        patterns = [str(self.folder / name) for name in ("*.json", "b.json")]
        located = self.successResultOf(FileSDLocator(patterns).locate())
        self.assertEqual([(each.backend, each.sources) for each in located], [(A, (patterns[0],)), (B, tuple(patterns))])

    def located(self) -> tuple[Backend, ...]:
        """Return what is located now."""
        return tuple(each.backend for each in self.successResultOf(self.locator.locate()))

    def partly(self) -> tuple[str, tuple[Backend, ...]]:
        """Return what is wrong now, and what is located nevertheless."""
        error = self.failureResultOf(self.locator.locate(), DiscoveryError).value
        assert isinstance(error, PartlyDiscovered)
        return str(error), tuple(each.backend for each in error.discovered)

    def test_order_follows_patterns_and_file_names(self) -> None:
        """The patterns' order counts, then the names'; a server in several files is one."""
        self.write("z.yml", "- targets: ['prom-a:9090']\n")
        self.write("b.json", groups("prom-c:9090"))
        self.write("a.json", groups("prom-b:9090", "prom-c:9090"))
        self.assertEqual(self.located(), (B, C, A))

    def test_what_does_not_match(self) -> None:
        """Other endings, hidden files and folders below do not count."""
        self.write("a.json", groups("prom-a:9090"))
        for name in (".b.json", "c.json.tmp", "d.txt"):
            self.write(name, groups("prom-b:9090"))
        (self.folder / "below").mkdir()
        self.write("below/e.json", groups("prom-c:9090"))
        self.assertEqual(self.located(), (A,))

    def test_hidden_on_purpose(self) -> None:
        """A pattern that begins with a dot means hidden files."""
        self.write(".b.json", groups("prom-b:9090"))
        self.locator = FileSDLocator([str(self.folder / ".*.json")])
        self.assertEqual(self.located(), (B,))

    def test_overlapping_patterns(self) -> None:
        """A file that two patterns give is read once."""
        path = self.write("a.json", groups("prom-a:9090", "x"))
        self.locator = FileSDLocator([path, str(self.folder / "[ab].json"), path])
        self.write("a.json", groups("prom-a:9090", "x:y"))
        self.assertEqual(self.located(), (A,))
        self.assertEqual(len(self.logged), 1)

    def test_pattern_may_be_relative(self) -> None:
        """A pattern may be relative."""
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        self.write_here()
        self.locator = FileSDLocator(["*.json"])
        self.assertEqual(self.located(), (A,))

    def write_here(self) -> None:
        """Write a file into the current directory."""
        Path("a.json").write_text(groups("prom-a:9090"))

    def test_file_name_extension_selects_the_format(self) -> None:
        """The ending tells the format; a byte order mark does not count."""
        for name, text in (("a.JSON", groups("prom-a:9090")), ("a.yaml", "\ufeff- targets: [prom-a:9090]"), ("a.YML", "# none")):
            self.locator = FileSDLocator([self.write(name, text)])
            self.assertEqual(self.located(), () if "none" in text else (A,))

    def test_bad_patterns(self) -> None:
        """A pattern that Prometheus would refuse is an error at start that names option and value."""
        for pattern in ("targets", "targets.txt", "*/targets.json", "*.json/x*.json", "targets.json.bak", "t*", "a[b]/t.json"):
            error = self.assertRaises(ConfigError, FileSDLocator, ["good.json", pattern])
            self.assertIn(f"--file-sd: {pattern!r}: expected a path that ends in .json, .yml or .yaml", str(error))

    def test_repr_shows_the_patterns(self) -> None:
        """It shows its patterns."""
        self.assertEqual(repr(FileSDLocator(["/a/*.json", "/b.yml"])), "<FileSDLocator /a/*.json /b.yml>")

    def test_added_changed_removed(self) -> None:
        """Files come, change and go with their servers."""
        self.assertEqual(self.located(), ())
        self.write("a.json", groups("prom-a:9090"))
        self.write("b.json", groups("prom-b:9090"))
        self.assertEqual(self.located(), (A, B))
        self.write("a.json", groups("prom-c:9090"))
        self.assertEqual(self.located(), (C, B))
        (self.folder / "a.json").unlink()
        self.assertEqual(self.located(), (B,))
        self.write("b.json", "[]")
        self.assertEqual(self.located(), ())

    def test_one_of_several_breaks(self) -> None:
        """A broken file keeps its own last servers and is told with its name and line, and the others' changes count."""
        self.write("a.json", groups("prom-a:9090"))
        self.write("b.yml", "- targets: ['prom-b:9090']\n")
        self.assertEqual(self.located(), (A, B))
        broken = self.write("b.yml", "- targets: [\n  'prom-x:9090'\n- }\n")
        self.write("a.json", groups("prom-c:9090"))
        for _ in range(2):
            problem, backends = self.partly()
            self.assertEqual(backends, (C, B))
            self.assertTrue(problem.startswith(f"{broken}: line 3: not YAML: "), problem)
        self.write("b.yml", "- targets: ['prom-a:9090']\n")
        self.assertEqual(self.located(), (C, A))

    def test_broken_from_the_start(self) -> None:
        """A file that was never good gives nothing, and does not hide the others."""
        path = self.write("a.json", "[\n{")
        self.write("b.json", groups("prom-b:9090"))
        problem, backends = self.partly()
        self.assertEqual(backends, (B,))
        self.assertEqual(problem, f"{path}: line 2: not JSON: Expecting property name enclosed in double quotes")

    def test_broken_and_restored(self) -> None:
        """The same content as before the accident is good again."""
        self.write("a.json", groups("prom-a:9090"))
        self.located()
        self.write("a.json", "")
        self.partly()
        self.write("a.json", groups("prom-a:9090"))
        self.assertEqual(self.located(), (A,))

    def test_ways_to_be_broken(self) -> None:
        """Whatever is wrong with a file, its last servers stay."""
        path = self.folder / "a.json"
        table: list[tuple[bytes, str]] = [
            (b"", "empty; a list without targets is []"),
            (b"\xff", "not UTF-8 text (byte 0)"),
            (b"null", "expected a list of target groups, like [{targets: [host:port]}], found nothing"),
            (b'[{"targets": [7]}]', "no target is usable; group 1, target 1 (a number): expected host:port"),
            (b" " * (MAX_BYTES + 1), "larger than 1 MiB, not a file of target groups"),
        ]
        for content, expected in table:
            path.write_text(groups("prom-a:9090"))
            self.located()
            path.write_bytes(content)
            self.assertEqual(self.partly(), (f"{path}: {expected}", (A,)))

    def test_not_a_file(self) -> None:
        """A folder or a named pipe is told, and stops nothing."""
        path = self.folder / "a.json"
        path.mkdir()
        self.assertIn("Is a directory", self.partly()[0])
        path.rmdir()
        os.mkfifo(path)
        self.assertIn("not a regular file", self.partly()[0])

    def test_missing_file(self) -> None:
        """A file named in full that is gone is told, and keeps its servers; it is no accident if it comes back."""
        path = self.write("a.json", groups("prom-a:9090"))
        self.locator = FileSDLocator([path])
        self.assertEqual(self.located(), (A,))
        os.unlink(path)
        self.assertEqual(self.partly(), (f"{path}: No such file or directory", (A,)))
        self.write("a.json", groups("prom-a:9090"))
        self.assertEqual(self.located(), (A,))

    def test_missing_folder(self) -> None:
        """When a whole folder is gone, which nobody means, what was found in it stays."""
        self.write("a.json", groups("prom-a:9090"))
        self.locator = FileSDLocator([str(self.folder / "*.json")])
        self.located()
        self.folder.rename(str(self.folder) + ".away")
        self.assertEqual(self.partly()[1], (A,))
        self.assertIn(f"{self.folder}: No such file or directory", self.partly()[0])
        Path(str(self.folder) + ".away").rename(self.folder)
        self.assertEqual(self.located(), (A,))

    def test_bad_entry_is_logged_once(self) -> None:
        """A bad entry is logged with its file when it appears or changes; the others count."""
        path = self.write("a.json", groups("prom-a:9090", "prom:x"))
        for _ in range(2):
            self.assertEqual(self.located(), (A,))
        problem = "group 1, target 2 (prom:x): the port must be a number from 1 to 65535, not 'x'"
        self.assertEqual(self.logged, [f"target group entry of {path} skipped: {problem}"])
        self.write("a.json", groups("prom-b:9090", "prom:x"))
        self.assertEqual(self.located(), (B,))
        self.assertEqual(len(self.logged), 1)
        self.write("a.json", groups("prom-b:9090", "prom:y"))
        self.located()
        self.assertEqual(len(self.logged), 2)

    def test_many_broken_files(self) -> None:
        """The message names the first few broken files and counts the others."""
        for number in range(5):
            self.write(f"{number}.json", "{")
        problem = self.partly()[0]
        self.assertIn("2.json: ", problem)
        self.assertNotIn("3.json: ", problem)
        self.assertTrue(problem.endswith("; and 2 more"), problem)

    def test_too_many_files(self) -> None:
        """So many files that reading them would hold up everything are not all read."""
        self.patch(file_sd, "MAX_FILES", 2)
        for name in ("a", "b", "c"):
            self.write(f"{name}.json", groups(f"prom-{name}:9090"))
        self.assertEqual(self.partly(), ("more than 2 files; the others are not read", (A, B)))
