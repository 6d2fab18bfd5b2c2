"""
Reads what the operator configured: command line over environment over configuration file over default.

Text in, `mpp.core.settings.Settings` out; the one file that is opened is the configuration file, and nothing is looked up or
checked against the world. Which options there are is known to `mpp.config.options`, and nothing here depends on any single one of
them but ``--config`` and ``--listen``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from mpp.config.command_line import Given, from_command_line
from mpp.config.options import CONFIG, OPTIONS, Option
from mpp.core.errors import ConfigError, ConfigErrors
from mpp.core.settings import Settings
from mpp.core.text.variables import unknown_names

if TYPE_CHECKING:
    from mpp.config.configured import ConfiguredValue
    from mpp.config.file import ParsedFile
    from mpp.core.http_config import HTTPConfigs


@frozen
class ParsedConfig:
    """
    What the operator wrote, understood.

    :ivar option_names: for each field that was given, the option, the variable or the place in the file as the operator knows it.
    :ivar warnings: one line each.
    :ivar errors: what is wrong; where something is, the settings have the default.
    :ivar unknown: the variables that look like mpp's and that nothing reads; each is among the warnings, too.
    :ivar name: of the file, as the operator wrote it; or else what there was to be read.
    :ivar sections: what the file says beyond the options, as single values for people.
    """

    settings: Settings
    option_names: Mapping[str, str] = field(factory=dict)
    warnings: tuple[str, ...] = ()
    errors: tuple[ConfigError, ...] = ()
    unknown: tuple[ConfigError, ...] = ()
    name: str = ""
    sections: tuple[ConfiguredValue, ...] = ()

    def with_option_name(self, error: ConfigError) -> ConfigError:
        """Give the same error with the word the operator used: someone who set MPP_PORT knows nothing of a ``--port``."""
        if len(error.all) > 1:
            return ConfigErrors([self.with_option_name(each) for each in error.all])
        for option in OPTIONS:
            if option.flag == error.option and option.field in self.option_names:
                return ConfigError(self.option_names[option.field], error.problem, needs_restart=error.needs_restart)
        return error

    def checked(self) -> ParsedConfig:
        """
        Give itself.

        :raise ConfigError: something is wrong with it.
        """
        if self.errors:
            raise self.errors[0] if len(self.errors) == 1 else ConfigErrors(self.errors)
        return self


@frozen
class ConfigSources:
    """
    Where everything that is configured is written. Read it again, and what has changed in the file has changed.

    :ivar argv: the arguments of the command line.
    :ivar folder: where relative paths on the command line and in the environment begin; empty: where they are used.
    """

    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    folder: str = ""

    @classmethod
    def of(cls, argv: Sequence[str], environ: Mapping[str, str]) -> ConfigSources:
        """Give what is there now, so that it means the same later, whatever becomes of environment and current directory."""
        return cls(tuple(argv), dict(environ), _current_folder())

    def read(self) -> ParsedConfig:
        """
        Read everything, and find all that is wrong.

        :raise ConfigError: there is something wrong with the command line, so that the rest cannot be known.
        """
        # As the operator wrote them, as long as that means the same.
        folder = "" if self.folder == _current_folder() else self.folder
        variables, warnings = _from_environment(self.environ)
        typed = from_command_line(self.argv)
        unknown = tuple(_unknown_variables(self.environ))
        warnings += (*map(str, unknown), *_seen_by_all(typed))
        given = {**variables, **typed}
        file = _read_file(given.get(CONFIG), folder)
        values = {option.field: value for option, value in file.given.items()} if file else {}
        words = {option.field: word for option, word in file.option_names.items()} if file else {}
        if file:
            values["http"] = file.http
        errors = list(file.errors) if file else []
        for option, (word, texts) in given.items():
            words[option.field] = word
            values.pop(option.field, None)
            try:
                values[option.field] = _value(option, word, texts, folder)
            except ConfigError as error:
                errors.append(error)
        if "listen" in words and "port" not in words:
            values["port"] = None
        if not errors and not any(option.locates and option.field in words for option in OPTIONS):
            # A name that is spelled wrongly is most likely why.
            errors += (_nothing_located(), *unknown)
        if not errors and file and file.http.locators:
            errors += _not_configured(file.http, values)
        name = given[CONFIG][1][-1] if CONFIG in given else "command line and environment"
        shown = file.sections if file else ()
        return ParsedConfig(_settings(values), words, warnings, tuple(errors), unknown, name, shown)


def read(argv: Sequence[str], environ: Mapping[str, str]) -> ParsedConfig:
    """
    Read the configuration: command line over environment over configuration file over default.

    :raise ConfigError: something is wrong.
    """
    return ConfigSources(tuple(argv), environ).read().checked()


def _current_folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        # It was removed while we are in it.
        return ""


def _read_file(given: tuple[str, list[str]] | None, folder: str) -> ParsedFile | None:
    if given is None:
        return None
    # What it imports takes a while, and most programs have no such file.
    from mpp.config.file import read_file

    word, texts = given
    return read_file(texts[-1], word, folder)


def _not_configured(http: HTTPConfigs, values: Mapping[str, Any]) -> list[ConfigError]:
    # As above.
    from mpp.config.file_backends import not_configured

    return list(not_configured(http.locators, values))


def _settings(values: Mapping[str, Any]) -> Settings:
    """Put the values of ``group.field`` into their groups."""
    flat: dict[str, Any] = {name: value for name, value in values.items() if "." not in name}
    for group in {name.partition(".")[0] for name in values if "." in name}:
        fields = {name.partition(".")[2]: value for name, value in values.items() if name.startswith(f"{group}.")}
        flat[group] = evolve(getattr(Settings(), group), **fields)
    return Settings(**flat)


def _from_environment(environ: Mapping[str, str]) -> tuple[Given, tuple[str, ...]]:
    given: Given = {}
    warnings = []
    for option in OPTIONS:
        name = next((name for name in option.env if environ.get(name)), None)
        if name is None:
            continue
        text = environ[name]
        if option.not_ours and text.startswith(option.not_ours):
            warnings.append(f"{name}: {text!r} is ignored: set by Kubernetes for a Service of that name, not by an operator")
        else:
            given[option] = (name, text.split() if option.repeatable else [text])
    return given, tuple(warnings)


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[ConfigError]:
    """Return an error for each variable that looks like mpp's and that nothing reads, without its value: that may be a secret."""
    for name, nearest in unknown_names(environ, (name for option in OPTIONS for name in option.env)):
        hint = f"did you mean {nearest}?" if nearest else "see 'mpp --help'"
        yield ConfigError(name, f"no such variable; {hint}")


def _value(option: Option, word: str, texts: list[str], folder: str) -> Any:
    try:
        values = tuple(option.anchored(option.parse(text), folder) for text in texts)
    except ValueError as error:
        raise ConfigError(word, str(error)) from None
    return values if option.repeatable else values[-1]


def _seen_by_all(typed: Given) -> Iterator[str]:
    """Return a warning for each option whose value on the command line is a secret."""
    for option, (word, texts) in typed.items():
        if any(map(option.secret, texts)):
            how = f"give it {option.unseen}, or by the variable {option.env[0]}"
            yield f"{word}: a secret on the command line can be read by everybody on this machine (ps); {how}"


def _nothing_located() -> ConfigError:
    locating = [option for option in OPTIONS if option.locates]
    others = ", ".join(option.flag for option in locating[1:])
    why = f"missing; mpp has to be told where to find Prometheus servers, by this option, its variable {locating[0].env[0]}"
    return ConfigError(locating[0].flag, f"{why}, or one of {others}")
