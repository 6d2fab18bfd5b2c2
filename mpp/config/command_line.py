"""
Splits the command line into options and the texts of their values, and makes the output of ``--help``, ``--version`` and
``--completion``. Of all options, it knows the meaning only of these and of ``--check-config``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

from mpp._version import __version__
from mpp.config.help import help_text
from mpp.config.options import CHECK_CONFIG, COMPLETION, HELP, HELP_WORDS, OPTIONS, VERSION
from mpp.config.shell_completion import completion
from mpp.core.errors import ConfigError
from mpp.core.text.values import is_boolean
from mpp.discovery.kinds.option import Option

Given = dict[Option, tuple[str, list[str]]]
"""The given options, each with its name as the operator wrote it, and the texts of its values."""


def answer(argv: Sequence[str]) -> str | None:
    """
    Return the text to print if the command line asks for help, the version or a completion script; otherwise None.

    :raise ConfigError: an unknown option precedes such an option, or the shell after ``--completion`` is not supported.
    """
    if argv and argv[0] in HELP_WORDS:
        return help_text()
    for option, _, text in _split(argv):
        if option is HELP:
            return help_text()
        if option is VERSION:
            return f"mpp version {__version__}"
        if option is COMPLETION:
            return completion(text)
    return None


def wants_check(argv: Sequence[str]) -> bool:
    """
    Return whether the configuration is only to be checked (``--check-config``).

    :raise ConfigError: an unknown option is on the command line.
    """
    return any(option is CHECK_CONFIG for option, _, _ in _split(argv))


def from_command_line(argv: Sequence[str]) -> Given:
    """
    Return the options on the command line that configure something, with the texts of their values.

    Options that only make mpp print something, such as ``--help``, are left out.

    :raise ConfigError: an option is unknown, or its value is missing.
    """
    given: Given = {}
    for option, word, text in _split(argv):
        if not option.field:
            continue
        earlier = given[option][1] if option in given and option.repeatable else []
        given[option] = (word, [*earlier, text])
    return given


def _split(argv: Sequence[str]) -> Iterator[tuple[Option, str, str]]:
    """Yield each option on the command line, its name as it was written, and the text of its value."""
    names = {name: option for option in OPTIONS for name in (option.flag, option.short) if name}
    rest = list(argv)
    while rest:
        word, equals, text = rest.pop(0).partition("=")
        option = names.get(word)
        if option is None:
            raise _unknown(word, names)
        if not equals and option.switch:
            # The original program required a value for some switches, so old scripts contain "-k true".
            text = rest.pop(0) if rest and is_boolean(rest[0]) else "true"
        elif not equals:
            if not rest or rest[0].partition("=")[0] in names:
                raise ConfigError(word, "needs a value")
            text = rest.pop(0)
        yield option, word, text


def _unknown(word: str, names: Mapping[str, Option]) -> ConfigError:
    if not word.startswith("-"):
        return ConfigError(repr(word), "no such command; options begin with --, 'mpp --help' lists them")
    nearest = difflib.get_close_matches(word, names, n=1)
    return ConfigError(word, f"no such option; did you mean {nearest[0]}?" if nearest else "no such option; see 'mpp --help'")
