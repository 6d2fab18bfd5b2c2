"""The table of options, and the help made from it."""

from __future__ import annotations

import re
from typing import Any

from attrs import fields
from twisted.trial.unittest import SynchronousTestCase

from mpp.model import Settings
from mpp.options import OPTIONS, help_text


class OptionsTests(SynchronousTestCase):
    """The table agrees with itself, and with Settings."""

    def test_every_setting_has_one_option(self) -> None:
        """There is no setting that cannot be set, and none that two options set."""
        settings = sorted(field.name for field in fields(Settings))
        self.assertEqual(sorted(option.field for option in OPTIONS if option.field), settings)

    def test_names_are_unique(self) -> None:
        """No two options share a flag, a letter or a variable."""
        names = [name for option in OPTIONS for name in (option.flag, option.short, *option.env) if name]
        self.assertEqual(len(names), len(set(names)))

    def test_variables_follow_flags(self) -> None:
        """The variable of ``--some-option`` is ``MPP_SOME_OPTION``."""
        for option in OPTIONS:
            if option.field:
                self.assertEqual(option.env[0], "MPP_" + option.flag.removeprefix("--").upper().replace("-", "_"))

    def test_defaults_are_what_settings_has(self) -> None:
        """What the help says of a default is the default."""
        defaults: dict[str, Any] = {field.name: field.default for field in fields(Settings)}
        for option in OPTIONS:
            if option.default and option.flag != "--trusted-proxies":
                with self.subTest(option=option.flag):
                    self.assertEqual(option.parse(option.default), defaults[option.field])

    def test_help_has_everything(self) -> None:
        """The help names each option with its letter, its default and its variable."""
        text = re.sub(r"\s+", " ", help_text())
        for option in OPTIONS:
            with self.subTest(option=option.flag):
                self.assertIn(option.flag, text)
                self.assertIn(option.help, text)
                self.assertIn(f"(default: {option.default})" if option.default else "", text)
                for name in option.env:
                    self.assertIn(f"[${name}]", text)

    def test_help_fits(self) -> None:
        """The help is no wider than a terminal usually is."""
        self.assertLessEqual(max(len(line) for line in help_text().splitlines()), 110)
