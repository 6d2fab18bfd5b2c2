"""
The description of one option. The table of all options is `mpp.config.options`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from attrs import Factory, frozen

from mpp.core.settings import Settings
from mpp.core.text.cache_values import parse_cache_memory
from mpp.core.text.secrets import secret_in_text, secret_in_url_or_file, unmasked
from mpp.core.text.values import (
    parse_boolean,
    parse_count,
    parse_delay,
    parse_endpoint,
    parse_idle_timeout,
    parse_interval,
    parse_path,
    parse_paths,
    parse_port,
    parse_positive,
    parse_share,
    parse_size,
    parse_timeout,
    parse_url,
    parse_url_or_file,
    parse_word,
    parse_workers,
)
from mpp.core.text.written import written_boolean, written_duration, written_share, written_size

GENERAL = "General"
DISCOVERY = "Where the servers are"
SELECTION = "Which server gets the requests"
LISTENING = "Clients"
REQUESTS = "Retries, time limits and queues"
CACHE = "Shared and cached responses"
LOGGING = "Logs"
KUBERNETES = "Servers in Kubernetes"
MARATHON = "Servers in Marathon"

GROUPS = (GENERAL, DISCOVERY, LISTENING, SELECTION, REQUESTS, CACHE, LOGGING, KUBERNETES, MARATHON)
"""The groups of options, in the order of the help."""

SAME, SHARE, DROP = "same", "share", "drop"
"""The values of `Option.per_worker`: a worker gets the configured value, an equal share of it (at least 1 unless it is 0), or the
option's default."""

_KINDS: Mapping[Callable[[str], Any], tuple[str, Callable[[Any], str]]] = {
    **dict.fromkeys((parse_path, parse_paths), ("FILE", str)),
    **dict.fromkeys((parse_delay, parse_idle_timeout, parse_interval, parse_timeout), ("DURATION", written_duration)),
    **dict.fromkeys((parse_count, parse_positive, parse_workers), ("NUMBER", str)),
    **dict.fromkeys((parse_url, parse_url_or_file), ("URL", str)),
    **{parse_boolean: ("VALUE", written_boolean), parse_share: ("SHARE", written_share), parse_size: ("SIZE", written_size)},
    **{parse_endpoint: ("ENDPOINT", str), parse_port: ("PORT", str), parse_cache_memory: ("SIZE", written_size)},
}
"""The metavar and the formatter of values, by the parser of an option; ``VALUE`` and `str` for other parsers."""

_DEFAULTS = Settings()


def _field(option: Option) -> str:
    name = option.flag.removeprefix("--").replace("-", "_")
    return name.partition("_")[2] if option.group in (KUBERNETES, MARATHON) else name


def _variables(option: Option) -> tuple[str, ...]:
    return (f"MPP_{option.flag.removeprefix('--').replace('-', '_').upper()}",) if option.field else ()


def no_secret(text: str) -> str:
    """Return an empty text, which means for `Option.secret` that the value contains no secret."""
    return ""


@frozen
class Option:
    """
    An option, with its names and its value.

    :ivar flag: the name on the command line, such as ``--port``.
    :ivar group: the heading in the help, one of `GROUPS`.
    :ivar help: the help text.
    :ivar parse: converts the operator's text to the value; raises ValueError that quotes the text and says what is expected.
    :ivar field: the name of the field of `Settings` that holds the value; empty if the option only makes mpp print something. By
        default it follows from the flag. For a discovery source it is ``kind.field``, of which
        `mpp.discovery.kinds.source_kind.SourceKind` adds the kind.
    :ivar source: for an option of a discovery source, the class of that source's settings; None for a general option.
    :ivar env: the names of environment variables; the first one that is set and not empty is used. By default it is ``MPP_`` and
        the flag in upper case.
    :ivar repeatable: true if it may be given several times; the field is a tuple. In the environment, spaces separate the values.
    :ivar locates: true if it turns its kind of discovery source on; at least one such option has to be given.
    :ivar choices: values that a shell offers, not necessarily all valid ones.
    :ivar metavar: the name of its value in the manual.
    :ivar chapter: the chapter of the manual that explains it.
    :ivar not_ours: the prefix of values that Kubernetes, not the operator, puts into the environment; they are ignored.
    :ivar secret: returns, for a value that contains a secret, why the secret must not stand in a configuration file; otherwise an
        empty text.
    :ivar unseen: for a message: how to give a value with a secret so that it appears neither in the command line nor in the file.
    :ivar mask: returns a value, which is a text, with its secrets masked.
    :ivar restart: why a reload cannot change the option; empty if it can.
    :ivar restart_if: returns whether a change needs a restart, given the active and the new settings, if ``restart`` is set.
    :ivar per_worker: `SAME`, `SHARE` or `DROP`; not used for options of discovery, which takes place in the supervisor only.
    """

    flag: str
    group: str
    help: str
    parse: Callable[[str], Any] = parse_word
    short: str = ""
    field: str = Factory(_field, takes_self=True)
    env: tuple[str, ...] = Factory(_variables, takes_self=True)
    repeatable: bool = False
    locates: bool = False
    not_ours: str = ""
    metavar: str = Factory(lambda option: _KINDS.get(option.parse, ("VALUE", str))[0], takes_self=True)
    chapter: str = ""
    choices: tuple[str, ...] = ()
    secret: Callable[[str], str] = no_secret
    unseen: str = ""
    mask: Callable[[str], str] = unmasked
    restart: str = ""
    restart_if: Callable[[Settings, Settings], bool] = lambda active, new: True
    per_worker: str = SAME
    source: type[Any] | None = None

    @property
    def switch(self) -> bool:
        """True if the value may be left out: ``--verbose``, ``--verbose=true`` and ``--verbose true`` mean the same."""
        return self.parse is parse_boolean

    @property
    def default(self) -> str:
        """The default as the operator would write it; empty for a switch, or without a default."""
        return self.written(self.of(_DEFAULTS)) if self.field and not self.switch else ""

    def written(self, value: Any) -> str:
        """Return a value as it is written in the configuration; empty for None."""
        if value is None:
            return ""
        if isinstance(value, list | tuple):
            return (" " if self.repeatable else ",").join(value)
        return _KINDS.get(self.parse, ("VALUE", str))[1](value)

    def of(self, settings: Settings) -> Any:
        """Return the value of this option's field in the settings."""
        return self.value_in(settings if self.source is None else settings.discovery[self.source])

    def value_in(self, owner: object) -> Any:
        """Return the value of this option's field in the settings of its kind of discovery source, or in the general settings."""
        return getattr(owner, self.field.rpartition(".")[2])

    def anchored(self, value: Any, folder: str) -> Any:
        """Return a value with its relative paths joined to a folder; the value itself if it has no paths, or without a folder."""
        if self.parse is parse_path:
            return os.path.join(folder, value)
        if self.parse is parse_paths:
            return os.pathsep.join(os.path.join(folder, path) for path in value.split(os.pathsep) if path)
        if self.secret in (secret_in_text, secret_in_url_or_file) and value.startswith("@"):
            return "@" + os.path.join(folder, value[1:])
        return value
