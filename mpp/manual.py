"""
The manual's table of options, made from the table of options itself; ``python -m mpp.manual`` puts it into ``README.rst``.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from mpp.options import OPTIONS, Option

BEGIN = ".. Made by python -m mpp.manual from mpp/options.py.\n\n"
END = "\n.. Here it ends.\n"

_HEAD = """\
.. list-table::
   :header-rows: 1
   :widths: 22 24 14 40

   * - Option
     - Environment variable
     - Default
     - What it does
"""
_WIDTH = 140


def options_table() -> str:
    """Give the table, in reStructuredText."""
    return _HEAD + "".join(_row(option) for option in OPTIONS)


def with_table(manual: str) -> str:
    """
    Give the manual with the table as it is now.

    :raise ValueError: it has no place for one.
    """
    before, begin, rest = manual.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("the manual has no place for the table of options")
    return before + BEGIN + options_table() + END + after


def _row(option: Option) -> str:
    flag = option.flag if option.switch else f"{option.flag} {option.metavar}"
    names = f"``{flag}``" + (f", ``{option.short}``" if option.short else "")
    variables = ", ".join(f"``{name}``" for name in option.env)
    default = option.default if " " in option.default else option.default and f"``{option.default}``"
    if option.switch and option.field:
        default = "off"
    what = option.help[0].upper() + option.help[1:] + "." + (f" See `{option.chapter}`_." if option.chapter else "")
    wrapped = textwrap.wrap(_escaped(what), _WIDTH, break_on_hyphens=False, break_long_words=False)
    cells = [names, variables, default, "\n       ".join(wrapped)]
    return "".join(f"   {'*' if not number else ' '} - {cell}".rstrip() + "\n" for number, cell in enumerate(cells))


def _escaped(text: str) -> str:
    """Keep what reStructuredText would read as markup."""
    return text.replace("*", "\\*").replace("|", "\\|")


if __name__ == "__main__":
    path = Path(__file__).resolve().parent.parent / "README.rst"
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{path}: {len(OPTIONS)} options", file=sys.stderr)
