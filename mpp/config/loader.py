"""
Reads the configuration: the command line overrides the environment, which overrides the configuration file and the defaults.

The result is `mpp.core.settings.Settings`. The configuration file is the only file that is opened; no host or other file is
looked up. The options are defined in `mpp.config.options`; only ``--config`` and ``--listen`` are treated specially here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from mpp.config.command_line import Given, from_command_line
from mpp.config.options import CONFIG, OPTIONS
from mpp.core.errors import ConfigError, ConfigErrors
from mpp.core.settings import DiscoverySettings, Settings
from mpp.core.text.variables import unknown_names
from mpp.discovery.kinds.all_kinds import KINDS
from mpp.discovery.kinds.option import Option

if TYPE_CHECKING:
    from mpp.config.configured import ConfiguredValue
    from mpp.config.file import ParsedFile
    from mpp.core.http_config import HTTPConfigs


@frozen
class ParsedConfig:
    """
    The parsed configuration and its errors.

    :ivar option_names: by field of the settings, the option, variable or place in the file that its value comes from, as the
        operator wrote it.
    :ivar warnings: the warnings, one line each.
    :ivar errors: the errors; an option with an error has its default in the settings.
    :ivar unknown: an error for each environment variable that begins with ``MPP_`` but belongs to no option; each is among the
        warnings, too.
    :ivar name: the path of the configuration file as the operator wrote it, or ``command line and environment``.
    :ivar sections: the values in the file that belong to no option, as ``/mpp/config`` shows them.
    """

    settings: Settings
    option_names: Mapping[str, str] = field(factory=dict)
    warnings: tuple[str, ...] = ()
    errors: tuple[ConfigError, ...] = ()
    unknown: tuple[ConfigError, ...] = ()
    name: str = ""
    sections: tuple[ConfiguredValue, ...] = ()

    def with_option_name(self, error: ConfigError) -> ConfigError:
        """Return the same error with the name that the operator used, such as ``MPP_PORT`` instead of ``--port``."""
        if len(error.all) > 1:
            return ConfigErrors([self.with_option_name(each) for each in error.all])
        for option in OPTIONS:
            if option.flag == error.option and option.field in self.option_names:
                return ConfigError(self.option_names[option.field], error.problem, needs_restart=error.needs_restart)
        return error

    def checked(self) -> ParsedConfig:
        """
        Return this configuration if it has no errors.

        :raise ConfigError: it has errors.
        """
        if self.errors:
            raise self.errors[0] if len(self.errors) == 1 else ConfigErrors(self.errors)
        return self


@frozen
class ConfigSources:
    """
    The sources of the configuration. A reload reads them again, and sees the changes of the configuration file.

    :ivar argv: the arguments of the command line.
    :ivar folder: the folder at which relative paths on the command line and in the environment start; empty: the current one.
    """

    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    folder: str = ""

    @classmethod
    def of(cls, argv: Sequence[str], environ: Mapping[str, str]) -> ConfigSources:
        """Return a copy of the sources that later changes of the environment and of the current directory do not affect."""
        return cls(tuple(argv), dict(environ), _current_folder())

    def read(self) -> ParsedConfig:
        """
        Read the whole configuration. Its errors are not raised, but are part of the result.

        :raise ConfigError: the command line cannot be split into options; all other errors are in the result.
        """
        # Relative paths stay as the operator wrote them while the current directory is the same.
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
            # A misspelled variable is the most likely cause.
            errors += (_nothing_located(), *unknown)
        if not errors and file and file.http.locators:
            errors += _not_configured(file.http, values)
        name = given[CONFIG][1][-1] if CONFIG in given else "command line and environment"
        shown = file.sections if file else ()
        return ParsedConfig(settings_of(values), words, warnings, tuple(errors), unknown, name, shown)


def read(argv: Sequence[str], environ: Mapping[str, str]) -> ParsedConfig:
    """
    Return the configuration that a command line and an environment give, see `ConfigSources`.

    :raise ConfigError: it has errors.
    """
    return ConfigSources(tuple(argv), environ).read().checked()


def _current_folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        # The current directory was removed.
        return ""


def _read_file(given: tuple[str, list[str]] | None, folder: str) -> ParsedFile | None:
    if given is None:
        return None
    # The import of the YAML parser takes a while, and is needed only for a configuration file.
    from mpp.config.file import read_file

    word, texts = given
    return read_file(texts[-1], word, folder)


def _not_configured(http: HTTPConfigs, values: Mapping[str, Any]) -> list[ConfigError]:
    from mpp.config.file_backends import not_configured

    return list(not_configured(http.locators, values))


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Return the settings with these values, by field (see `Option.field`); all other fields have their defaults."""
    general = {name: value for name, value in values.items() if "." not in name}
    own: dict[str, dict[str, Any]] = {kind.name: {} for kind in KINDS}
    for path in values.keys() - general.keys():
        kind, _, name = path.partition(".")
        own[kind][name] = values[path]
    return Settings(discovery=DiscoverySettings(*(kind.settings(**own[kind.name]) for kind in KINDS)), **general)


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
    """Yield an error for each unknown variable that begins with ``MPP_``, without its value, which may be a secret."""
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
    """Yield a warning for each option on the command line whose value is a secret."""
    for option, (word, texts) in typed.items():
        if any(map(option.secret, texts)):
            how = f"give it {option.unseen}, or by the variable {option.env[0]}"
            yield f"{word}: a secret on the command line can be read by every user of this machine (ps); {how}"


def _nothing_located() -> ConfigError:
    locating = [option for option in OPTIONS if option.locates]
    others = ", ".join(option.flag for option in locating[1:])
    why = f"missing; mpp needs a source of Prometheus servers: this option, its variable {locating[0].env[0]}"
    return ConfigError(locating[0].flag, f"{why}, or one of {others}")
