"""The runner of these tests: what it runs, in which order, and what it says of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.__main__ import longest_first, outcomes_of, summary
from tests.integration.processes import CHECKOUT

PATIENCE = 120.0

CASE = """
import os
from pathlib import Path
from time import monotonic, sleep
from twisted.trial.unittest import SynchronousTestCase
{constant}
class Tests(SynchronousTestCase):
    def test_it(self):
        Path(__file__).with_suffix(".began").write_text(str(monotonic()))
        {body}
        Path(__file__).with_suffix(".ended").write_text(str(monotonic()))
"""


class RunnerTests(SynchronousTestCase):
    """``python -m tests.integration`` with files of one test each."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def write(self, name: str, body: str, constant: str = "") -> str:
        """Write a file with one test; return its path."""
        path = self.folder / f"test_{name}.py"
        path.write_text(CASE.format(body=body, constant=constant))
        return str(path)

    def run_files(self, *files: str, jobs: int = 2) -> tuple[int, list[str]]:
        """Run files; return the exit status and the lines that are printed."""
        command = [sys.executable, "-m", "tests.integration", f"--jobs={jobs}", *files]
        ended = subprocess.run(command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(ended.stderr, "")
        return ended.returncode, ended.stdout.splitlines()

    def moment(self, file: str, what: str) -> float:
        """Return when a test began or ended."""
        return float(Path(file).with_suffix(f".{what}").read_text())

    def test_summary_is_the_sum_of_all_files(self) -> None:
        """The summary is the sum of those of all files, and the status is 0."""
        status, lines = self.run_files(self.write("a", "pass"), self.write("b", "self.skipTest('no such tool')"))
        self.assertEqual((status, lines[-1]), (0, "PASSED (skips=1, successes=1)"))
        self.assertIn("no such tool", lines)

    def test_each_failure_counts_and_names_its_file(self) -> None:
        """A test that fails, a file that cannot be imported and a process that dies each count, and their files are named."""
        failing, broken = self.write("failing", "self.fail('no')"), self.write("broken", "pass", "import nowhere_to_be_found")
        dying = self.write("dying", "os.kill(os.getpid(), 9)")
        status, lines = self.run_files(failing, broken, dying, self.write("fine", "pass"))
        self.assertEqual((status, lines[-1]), (1, "FAILED (failures=1, errors=2, successes=1)"))
        named = {line.removeprefix("failed: ") for line in lines if line.startswith("failed: ")}
        self.assertEqual(named, {failing, broken, dying})

    def test_at_once(self) -> None:
        """Files run at the same time, but none at the same time as one that needs the machine for itself."""
        meet = "while len(list(Path(__file__).parent.glob('*.began'))) < 2: sleep(0.05)"
        alone = self.write("alone", "pass", 'ALONE = "it measures"')
        others = [self.write(name, meet) for name in "ab"]
        self.run_files(alone, *others)
        began, ended = ([self.moment(file, what) for file in others] for what in ("began", "ended"))
        self.assertLess(max(began), min(ended))
        self.assertGreater(self.moment(alone, "began"), max(ended))


class ParserTests(SynchronousTestCase):
    """The decisions of the runner."""

    def test_unrecorded_and_long_files_start_first(self) -> None:
        """A file without a record starts first, then the one that took longest."""
        self.assertEqual(
            longest_first(["x/a.py", "x/b.py", "x/new.py"], {"a.py": 3.0, "b.py": 40.0}), ["x/new.py", "x/b.py", "x/a.py"]
        )

    def test_every_outcome_is_parsed(self) -> None:
        """Every outcome is found, and a process that failed without naming a test is an error."""
        for output, status, expected in (
            ("PASSED (successes=3)\n", 0, "PASSED (successes=3)"),
            ("PASSED (skips=1, expectedFailures=1, successes=2)\n", 0, "PASSED (skips=1, expectedFailures=1, successes=2)"),
            ("FAILED (failures=2, errors=1)\n", 1, "FAILED (failures=2, errors=1)"),
            ("PASSED (successes=3)\n", -6, "FAILED (errors=1, successes=3)"),
            ("PASSED (successes=1)\nFAILED (unexpectedSuccesses=1)\n", 1, "FAILED (unexpectedSuccesses=1)"),
            ("Fatal Python error", -11, "FAILED (errors=1)"),
            ("", 0, "FAILED (errors=1)"),
            ("PASSED\n", 0, "PASSED"),
        ):
            self.assertEqual(summary(outcomes_of(output, status)), expected, output)
