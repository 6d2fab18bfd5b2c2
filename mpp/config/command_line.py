"""
Takes the command line apart, and answers what it asks to be printed. Knows no option's meaning but those of ``--help``,
``--version``, ``--completion`` and ``--check-config``; values are texts here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

from mpp._version import __version__
from mpp.config.help import help_text
from mpp.config.options import CHECK_CONFIG, COMPLETION, HELP, HELP_WORDS, OPTIONS, VERSION, Option
from mpp.config.shell_completion import completion
from mpp.core.errors import ConfigError
from mpp.core.text.values import is_boolean

Given = dict[Option, tuple[str, list[str]]]
"""For each option that was given: the word that gave it, and the texts of its values."""


def answer(argv: Sequence[str]) -> str | None:
    """
    Give the text that the command line asks to be printed (help, version, completion) instead of anything else, or None.

    :raise ConfigError: something unknown comes before it, or it is itself unknown.
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
    Tell whether the configuration is to be checked, and nothing else done.

    :raise ConfigError: something unknown is on the command line.
    """
    return any(option is CHECK_CONFIG for option, _, _ in _split(argv))


def from_command_line(argv: Sequence[str]) -> Given:
    """
    Give what is given there, of options that configure something.

    :raise ConfigError: something unknown is there, or a value is missing.
    """
    given: Given = {}
    for option, word, text in _split(argv):
        if not option.field:
            continue
        earlier = given[option][1] if option in given and option.repeatable else []
        given[option] = (word, [*earlier, text])
    return given


def _split(argv: Sequence[str]) -> Iterator[tuple[Option, str, str]]:
    """Take the command line apart into options, the words used for them, and the texts of their values."""
    names = {name: option for option in OPTIONS for name in (option.flag, option.short) if name}
    rest = list(argv)
    while rest:
        word, equals, text = rest.pop(0).partition("=")
        option = names.get(word)
        if option is None:
            raise _unknown(word, names)
        if not equals and option.switch:
            # The original wanted a value for some of its switches, so "-k true" is in old scripts.
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
