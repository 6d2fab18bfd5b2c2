"""README.rst and docs/: no command is there that no test runs, unless it says why."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from mpp.config.options import OPTIONS
from tests.documents import COMMANDS, ROOT, all_blocks, blocks_of, documents, mpp_commands

LANGUAGES = {*COMMANDS, "yaml", "ini", "json", "text", "python", "nginx", "promql"}

PROGRAMS = (
    r"mpp|twistd|pip|python3?|script/\S+|curl|prometheus|promtool|docker|kubectl|systemctl|openssl|sphinx-build|sysctl|sudo"
)
LOOKS_LIKE_A_COMMAND = re.compile(rf"(?m)^(\$ |({PROGRAMS}) (?!=|:|is |serves ))")

PRIVATE_WORDS = re.compile(
    r"(?i)\b(nobody|somebody|anybody|everybody|whoever|whom|anew|in force|any more|take note|is told|are told|told by|is well"
    r"|setbacks|crew)\b"
)

IN_A_TEST = re.compile(r"\bblocks\(\s*\"([a-z-]+)\"|^    document = \"([a-z-]+)\"", re.MULTILINE)


def in_tests() -> set[str]:
    """Return the names of the blocks that tests take."""
    files = [path for path in (ROOT / "tests").rglob("*.py") if path.name != "documents.py"]
    return {a or b for path in files for a, b in IN_A_TEST.findall(path.read_text(encoding="utf-8"))}


class BlocksTests(SynchronousTestCase):
    """The literal blocks."""

    def test_each_block_has_a_language(self) -> None:
        """Every literal block is a code-block that says what it is; there is no "::" that would not be looked at."""
        for path in documents():
            text = path.read_text(encoding="utf-8")
            bare = [line for line in text.splitlines() if line.endswith("::") and not re.match(r" *\.\. [a-z-]+::$", line)]
            self.assertEqual(bare, [], path)
            self.assertNotIn("parsed-literal", text, path)
        for block in all_blocks():
            self.assertIn(block.language, LANGUAGES, block.where)
            self.assertTrue(block.text, block.where)

    def test_each_command_is_run_or_says_why_not(self) -> None:
        """Commands are marked with the name by which a test finds them, or with a reason; nothing else is marked."""
        commands = [block for block in all_blocks() if block.language in COMMANDS]
        self.assertGreater(len(commands), 20)
        for block in commands:
            self.assertTrue(bool(block.run) != bool(block.not_run), f"{block.where}: run, or not-run")
            self.assertTrue(block.run or len(block.not_run.split()) >= 3, f"{block.where}: no reason: {block.not_run}")

    def test_no_command_is_called_something_else(self) -> None:
        """A block in another language holds no command."""
        for block in all_blocks():
            if block.language not in COMMANDS:
                self.assertNotRegex(block.text, LOOKS_LIKE_A_COMMAND, block.where)

    def test_tests_run_what_is_marked(self) -> None:
        """Every name is asked for by a test, and every name that a test asks for exists."""
        self.assertEqual({block.run for block in all_blocks() if block.run}, in_tests())

    def test_options_exist(self) -> None:
        """All options in mpp's command lines are mpp's, also where they are not run."""
        known = {option.flag for option in OPTIONS}
        lines = [line for block in all_blocks() for line in mpp_commands(block.text)]
        self.assertGreater(len(lines), 5)
        for line in lines:
            self.assertLessEqual(set(re.findall(r"(?<!\S)--[a-z-]+", line)), known, line)

    def test_data_is_well_formed(self) -> None:
        """Blocks of YAML and JSON can be read."""
        for block in all_blocks():
            if block.language in ("yaml", "json"):
                self.assertIsNotNone(yaml.safe_load(block.text), block.where)

    def test_plain_words(self) -> None:
        """Programs are no persons, and words that must be learned first are explained in the glossary or are not used."""
        # The table of moved modules has the former names of modules.
        for path in (path for path in documents() if path.name != "moved.rst"):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                self.assertNotRegex(line, PRIVATE_WORDS, f"{path.relative_to(ROOT)}:{number}")

    def test_chapters_exist(self) -> None:
        """The reference of options sends its readers to sections that exist."""
        text = "\n".join(path.read_text(encoding="utf-8") for path in documents())
        for option in OPTIONS:
            if option.chapter:
                label = re.sub(r"\W+", "-", option.chapter.lower()).strip("-")
                self.assertIn(f"\n.. _{label}:\n", f"\n{text}", option.flag)

    def test_a_mark_belongs_to_the_next_block(self) -> None:
        """A mark counts only directly before a block."""
        path = Path(self.mktemp())
        path.write_text(".. run: one\n\n.. code-block:: sh\n\n   a\n\nText.\n\n.. code-block:: sh\n   :name: b\n\n   b\n\n   c\n")
        self.assertEqual([(each.run, each.text) for each in blocks_of(path)], [("one", "a"), ("", "b\n\nc")])


class ReadmeTests(SynchronousTestCase):
    """README.rst, which stands alone: on a package index, and on pages that show a repository."""

    def setUp(self) -> None:
        """Read it."""
        self.text = (ROOT / "README.rst").read_text(encoding="utf-8")

    def test_readme_is_short(self) -> None:
        """It is read in minutes, and its picture is loaded at once."""
        self.assertLessEqual(len(self.text.splitlines()), 250)
        (picture,) = re.findall(r"(?m)^\.\. image:: (\S+)$", self.text)
        self.assertLess((ROOT / picture).stat().st_size, 200_000)

    def test_links_lead_somewhere(self) -> None:
        """Files that it links to, or names as a proof, exist."""
        linked = re.findall(r"(?m)^\.\. _[^:]+: (\S+)$", self.text)
        named = re.findall(r"``((?:bench|tests|contrib|docs|script)/\S+)``", self.text)
        self.assertGreater(len(linked), 5)
        self.assertGreater(len(named), 5)
        for path in (*linked, *named):
            # What is built is not there before it is built.
            self.assertTrue((ROOT / path).exists() or path.startswith("docs/_build/"), path)

    def test_no_role_of_sphinx(self) -> None:
        """It has no markup that only Sphinx understands."""
        self.assertNotRegex(self.text, r":[a-z]+:`")
