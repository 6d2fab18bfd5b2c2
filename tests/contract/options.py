"""The part of the contract that configures mpp: options, variables, and the keys of its files."""

from __future__ import annotations

from collections.abc import Iterator

from mpp.config import file as config_file
from mpp.config.options import HELP_WORDS, OPTIONS
from mpp.discovery.kinds.option import Option
from mpp.security.web_config.ciphers import CIPHERS
from tests.contract import metrics, source


def lines() -> set[str]:
    """Return a line for each option, each of its spellings, and each key of a file."""
    variables = {name for option in OPTIONS for name in option.env if name.startswith("MPP_")}
    return {
        *(line for option in OPTIONS for line in _spellings(option)),
        *(f"command: {word}" for word in HELP_WORDS),
        *(f"variable: {name}" for name in variables | source.constants(r"^(?!TCP_|TASK_|ALERTS_)[A-Z]+(_[A-Z]+)+$")),
        *(f"configuration file: {key}" for key in {*config_file.KEYS, *source.passed("tree.keys", -1)}),
        *(f"configuration file: {key}" for key in source.passed("inner.keys", -1) | source.passed("entry", -1)),
        *(
            f"web configuration file: {key}"
            for key in source.passed("sections.section", -1) | source.passed("WebConfigSection", 2)
        ),
        *(f"web configuration file: {key}" for key in source.passed("http.section", -1)),
        *(f"web configuration file: cipher_suites: {name}" for name in CIPHERS),
        *(f"--routing-strategy {written}" for written in metrics.choices_of_strategy()),
        *(f"--affinity-options {written}" for written in metrics.choices_of_affinity()),
    }


def _spellings(option: Option) -> Iterator[str]:
    traits = {"switch": option.switch, "repeatable": option.repeatable}
    yield " ".join((option.flag, *(trait for trait, has in traits.items() if has)))
    if option.short:
        yield f"{option.flag} = {option.short}"
    if option.default:
        yield f"{option.flag} defaults to {option.default}"
    yield from (f"{option.flag} = {name}" for name in option.env)
    yield from (f"{option.flag} takes {choice}" for choice in option.choices)
