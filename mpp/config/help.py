"""Makes the text of ``mpp --help`` from the table of options."""

from __future__ import annotations

import textwrap

from mpp._version import __version__
from mpp.config.options import HELP_WORDS, OPTIONS
from mpp.discovery.kinds.option import GROUPS, Option

# The widths of the columns: the longest option fits, and the lines fit in a usual terminal.
_LEFT, _RIGHT = 36, 68

EXAMPLES = (
    "mpp --endpoint prom-a:9090 --endpoint prom-b:9090",
    "mpp --dns srv+_prometheus._tcp.example.org --port 9091",
    "mpp --kube-service-name prometheus --kube-namespace monitoring",
    "mpp --config /etc/mpp/mpp.yaml --check-config",
)
"""Example commands; a test parses each of them."""


def help_text() -> str:
    """Return the text that ``mpp --help`` prints."""
    lines = [
        "NAME:",
        "   mpp - Launch a dynamically configured proxy over multiple prometheus endpoints",
        "    which selects endpoints based on configurable criteria.",
        "",
        "USAGE:",
        "   mpp [options]",
        "   twistd [twistd options] mpp [options]",
        "",
        "VERSION:",
        f"   {__version__}",
        "",
        "COMMANDS:",
        f"   {', '.join(HELP_WORDS)}  Shows this list of options",
        "",
        "EXAMPLES:",
        *(f"   {line}" for line in EXAMPLES),
    ]
    for group in GROUPS:
        lines += ["", f"OPTIONS: {group}"]
        for option in OPTIONS:
            if option.group == group:
                lines += _entry(option)
    return "\n".join(lines)


def _entry(option: Option) -> list[str]:
    """Return the lines of one option, in two columns."""
    left = option.flag + ("" if option.switch else " value") + (f", {option.short}" if option.short else "")
    default = f" (default: {option.default})" if option.default else ""
    env = "".join(f" [${name}]" for name in option.env)
    right = textwrap.wrap(option.help + default + env, _RIGHT, break_on_hyphens=False, break_long_words=False)
    return [f"   {left:<{_LEFT}}{right[0]}", *(" " * (_LEFT + 3) + line for line in right[1:])]
