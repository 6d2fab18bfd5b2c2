"""The completion scripts; that shells understand them is tested with shells, in tests/integration."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from mpp.config.command_line import answer
from mpp.config.options import COMPLETION, OPTIONS
from mpp.config.shell_completion import completion
from mpp.core.errors import ConfigError


class CompletionTests(SynchronousTestCase):
    """What ``mpp --completion`` prints."""

    def test_every_option_in_every_script(self) -> None:
        """No option is forgotten."""
        for shell in COMPLETION.choices:
            script = completion(shell)
            for option in OPTIONS:
                written = rf"-l {option.flag[2:]}\b" if shell == "fish" else rf"{option.flag}(?![\w-])"
                self.assertTrue(re.search(written, script), (shell, option.flag))

    def test_options_of_a_few_words_offer_these(self) -> None:
        """Options that take one of a few words offer these."""
        for flag, values in (
            ("--log-level", ("debug", "info", "warn", "error")),
            ("--log-format", ("logfmt", "json")),
            ("--routing-strategy", ("single-most-data", "random")),
        ):
            for shell in COMPLETION.choices:
                with self.subTest(flag=flag, shell=shell):
                    line = next(line for line in completion(shell).splitlines() if re.search(rf"(?:--|-l ){flag[2:]}\b.*", line))
                    self.assertEqual([value for value in values if value not in line], [])

    def test_completion_is_printed_instead_of_anything_else(self) -> None:
        """It is printed instead of anything else."""
        self.assertEqual(answer(["--completion", "fish"]), completion("fish"))
        self.assertEqual(answer(["--completion=zsh", "--verbose"]), completion("zsh"))

    def test_unknown_shell(self) -> None:
        """A shell that there is no script for is refused, with those there are."""
        error = self.assertRaises(ConfigError, answer, ["--completion", "tcsh"])
        self.assertEqual(str(error), "--completion: 'tcsh' is not a supported shell; expected one of bash, zsh, fish")
        self.assertEqual(str(self.assertRaises(ConfigError, answer, ["--completion"])), "--completion: needs a value")
