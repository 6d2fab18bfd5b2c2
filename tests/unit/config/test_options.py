"""The table of options, and the help made from it."""

from __future__ import annotations

import re
from typing import Any

from attrs import fields
from twisted.trial.unittest import SynchronousTestCase

from mpp.config.command_line import from_command_line
from mpp.config.help import EXAMPLES, help_text
from mpp.config.options import OPTIONS
from mpp.core.settings import Settings
from mpp.discovery.kinds.all_kinds import KINDS
from mpp.discovery.kinds.option import GROUPS


def defaults() -> dict[str, Any]:
    """Return the default of each setting, ``kind.field`` for those of discovery sources."""
    own = {f"{kind.name}.{field.name}": field.default for kind in KINDS for field in fields(kind.settings)}
    return own | {field.name: field.default for field in fields(Settings) if field.name != "discovery"}


class OptionsTests(SynchronousTestCase):
    """The table agrees with itself, and with Settings."""

    def test_every_setting_has_one_option(self) -> None:
        """There is no setting that cannot be set, and none that two options set."""
        settings = [name for name in defaults() if name != "http"]  # in the configuration file only
        self.assertEqual(sorted(option.field for option in OPTIONS if option.field), sorted(settings))

    def test_names_are_unique(self) -> None:
        """No two options share a flag, a letter or a variable."""
        names = [name for option in OPTIONS for name in (option.flag, option.short, *option.env) if name]
        self.assertEqual(len(names), len(set(names)))

    def test_variables_follow_flags(self) -> None:
        """The variable of ``--some-option`` is ``MPP_SOME_OPTION``, but for the one that the original called otherwise."""
        for option in OPTIONS:
            if option.field and option.env != ("MPP_INSECURE_CERTS",):
                self.assertEqual(option.env[0], "MPP_" + option.flag.removeprefix("--").upper().replace("-", "_"))

    def test_defaults_are_what_settings_has(self) -> None:
        """What the help says of a default is the default."""
        known = defaults()
        for option in OPTIONS:
            if option.default:
                with self.subTest(option=option.flag):
                    self.assertEqual(option.parse(option.default), known[option.field])

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

    def test_help_is_grouped(self) -> None:
        """Each option is under the heading of its group, once; the port comes before what only some need."""
        parts = re.split(r"(?m)^OPTIONS: (.*)$", help_text())[1:]
        listed = {title: re.findall(r"(?m)^   (--[a-z-]+)", text) for title, text in zip(parts[::2], parts[1::2], strict=True)}
        self.assertEqual(tuple(listed), GROUPS)
        self.assertEqual(listed, {group: [each.flag for each in OPTIONS if each.group == group] for group in GROUPS})
        self.assertLess(help_text().index("--port value"), help_text().index("--marathon-url value"))

    def test_examples_of_the_help_are_valid(self) -> None:
        """The examples of the help are understood."""
        for example in EXAMPLES:
            with self.subTest(example=example):
                command, *argv = example.split()
                given = from_command_line(argv)
                self.assertEqual(command, "mpp")
                for option, (_, texts) in given.items():
                    for text in texts:
                        option.parse(text)
                self.assertIn(example, help_text())

    def test_help_fits(self) -> None:
        """The help is no wider than a terminal usually is."""
        self.assertLessEqual(max(len(line) for line in help_text().splitlines()), 110)
