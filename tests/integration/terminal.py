"""
A session at a terminal, as the documentation shows it: its commands in one shell, in order, and their output.

A block whose first line begins with ``$`` shows commands with their output, in which ``...`` stands for any text within a line.
Every other block is typed as a whole, and none of its commands may fail.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from attrs import frozen

from tests.integration.processes import wait_until

PATIENCE = 300.0
"""Seconds for one step: requirements may have to be downloaded."""


@frozen
class Step:
    """
    What is typed at once.

    :ivar output: what it prints, as the documentation shows it; None where it shows none.
    """

    typed: str
    output: str | None = None


def steps(blocks: Iterable[str]) -> list[Step]:
    """Return what blocks of commands say to type, in order."""
    found = []
    for block in blocks:
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
