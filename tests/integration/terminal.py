"""
A session at a terminal, as the README shows it: its commands in one shell, in order, and what they print.

A literal block whose first line begins with ``$`` shows commands with their output, in which ``...`` stands for anything
within a line; any other one is typed as a whole, and no command in it may fail.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from attrs import frozen

from tests.integration.processes import CHECKOUT, wait_until

PATIENCE = 300.0
"""Seconds for one step: requirements may have to be downloaded."""


@frozen
class Step:
    """
    What is typed at once.

    :ivar output: what it prints, as the README says it; None where it does not say.
    """

    typed: str
    output: str | None = None


def section(title: str) -> str:
    """Give the text of a section of the README, with its subsections."""
    text = (CHECKOUT / "README.rst").read_text(encoding="utf-8")
    # It ends with the next heading that is underlined in the same way.
    found = re.search(rf"^{re.escape(title)}\n(=|-)\1+\n(.*?)(?=^[^\n]+\n\1{{4,}}\n|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"the README has no section {title}"
    return found[2]


def blocks(text: str) -> list[str]:
    """Give the literal blocks of a text."""
    return [textwrap.dedent(block).strip("\n") for block in re.findall(r"::\n\n((?:    [^\n]*\n|\n)+)", text)]


def steps(text: str) -> list[Step]:
    """Give what a text says to type, in order."""
    found = []
    for block in blocks(text):
        if not block.startswith("$ "):
            found.append(Step(block))
            continue
        for shown in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            typed, _, output = shown.partition("\n")
            found.append(Step(typed, output.strip()))
    return found


def is_as_shown(output: str, shown: str) -> bool:
    """Tell whether a command printed what it was to print."""
    pattern = ".*".join(re.escape(part) for part in shown.split("..."))
    return re.fullmatch(pattern, output.replace("\r", "").strip()) is not None


class Terminal:
    """A shell in a folder; what it started goes with it, at the latest when this process ends."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder, self._count = folder, 0
        self._shell = subprocess.Popen(
            ["bash", "-e"], cwd=folder, env=environ, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        # When nobody types any more.
        self._type("trap 'kill -KILL 0' EXIT")

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._shell.stdin is not None
        return self._shell.stdin

    def _type(self, text: str) -> None:
        self._stdin.write(text.encode() + b"\n")
        self._stdin.flush()

    def type(self, text: str) -> str:
        """
        Type commands, and wait for them; give what they printed on stdout.

        :raise AssertionError: one of them failed; the message has what it printed.
        """
        self._count += 1
        out, err, done = (self._folder.parent / f"{self._count}.{name}" for name in ("out", "err", "done"))
        self._type(f"{{\n{text}\n}} > {out} 2> {err}\n: > {done}")
        wait_until(lambda: done.exists() or self._shell.poll() is not None, text, PATIENCE)
        printed = out.read_text(errors="replace")
        assert done.exists(), f"{text}\n{printed}{err.read_text(errors='replace')}"
        return printed

    def close(self) -> None:
        """End it, and what was started in it."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()
