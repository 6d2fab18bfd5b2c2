"""The recorded contract: the file beside this package, a section for each of its modules."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.contract import http, logs, metrics, options, package, pages

FILE = Path(__file__).parent.parent / "contract.txt"

SECTIONS: Mapping[str, Callable[[], set[str]]] = {
    "metrics": metrics.lines,
    "pages": pages.lines,
    "log": logs.lines,
    "options": options.lines,
    "http": http.lines,
    "package": package.lines,
}

_HEAD = """\
# What users of mpp can hold on to; see tests/contract/__init__.py. Written by python -m tests.contract.
# A change of this file belongs into a news fragment. A star stands for what the operator or discovery gives.
"""


@functools.cache
def current(section: str) -> frozenset[str]:
    """Return the lines of a section that are true of the code."""
    return frozenset(SECTIONS[section]())


def text() -> str:
    """Return the file's text as it is true of the code."""
    return _HEAD + "".join(f"\n[{name}]\n" + "".join(f"{line}\n" for line in sorted(current(name))) for name in SECTIONS)


def recorded(section: str) -> set[str]:
    """Return the recorded lines of a section."""
    _, _, rest = FILE.read_text(encoding="utf-8").partition(f"\n[{section}]\n")
    return set(rest.partition("\n[")[0].splitlines()) - {""}
