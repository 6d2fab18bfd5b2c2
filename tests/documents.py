"""
The literal blocks of README.rst and docs/.

Each is a ``code-block`` with a language. Commands (``sh``: typed as a whole; ``console``: with ``$`` before the commands, and
their output) have a comment before them that says which tests run them, or why no test does::

    .. run: tutorial

    .. not-run: needs a cluster

Tests take the commands that they run from here, by that name, see `blocks`. tests/test_documents.py checks that no block is
forgotten.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parent.parent

COMMANDS = ("sh", "console")

_DIRECTIVE = re.compile(r"( *)\.\. code-block::(?: (\S+))?$")
_MARK = re.compile(r" *\.\. (run|not-run): (.+)$")


@frozen
class Block:
    """
    One literal block.

    :ivar where: file and line.
    :ivar run: the name by which tests find it; empty if none runs it.
    :ivar not_run: why no test runs it; empty if it is run, or is no command.
    """

    where: str
    language: str
    text: str
    run: str = ""
    not_run: str = ""


def documents() -> list[Path]:
    """Return the files."""
    docs = (path for path in (ROOT / "docs").rglob("*.rst") if "_build" not in path.parts)
    return [ROOT / "README.rst", *sorted(docs)]


def blocks_of(path: Path) -> Iterator[Block]:
    """Return the blocks of a file, in order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        found = _DIRECTIVE.match(line)
        if found is None:
            continue
        end = number + 1
        while end < len(lines) and (not lines[end] or lines[end].startswith(found[1] + "   ")):
            end += 1
        inside = [each for each in lines[number + 1 : end] if not re.match(r" +:[a-z]+:", each)]
        mark = _mark(lines[:number])
        where = f"{os.path.relpath(path, ROOT)}:{number + 1}"
        text = textwrap.dedent("\n".join(inside)).strip("\n")
        yield Block(where, found[2] or "", text, mark.get("run", ""), mark.get("not-run", ""))


def _mark(before: list[str]) -> dict[str, str]:
    """Return what the comment says that a block follows, if it follows one."""
    while before and not before[-1]:
        before = before[:-1]
    found = _MARK.match(before[-1]) if before else None
    return {found[1]: found[2]} if found else {}


def all_blocks() -> list[Block]:
    """Return the blocks of all documents."""
    return [block for path in documents() for block in blocks_of(path)]


def blocks(name: str) -> list[str]:
    """
    Return the commands that are marked with this name, in order.

    :raise AssertionError: there are none, or they are in several files.
    """
    found = [block for block in all_blocks() if block.run == name]
    assert found, f"no block is marked with {name}"
    assert len({block.where.partition(":")[0] for block in found}) == 1, [block.where for block in found]
    return [block.text for block in found]


def configuration(name: str) -> str:
    """Return the one block that begins with a comment that has a file's name."""
    (found,) = [block.text for block in all_blocks() if block.text.startswith(f"# {name}\n")]
    return found


def mpp_commands(text: str) -> list[str]:
    """Return mpp's command lines in a block."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines if line.removeprefix("$ ").startswith("mpp ")]
