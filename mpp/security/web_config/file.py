"""
The web configuration file and the files that it names: watched, read when one of them changes, and taken over unless that would
let in clients who were kept out before. Knows nothing of connections and requests; what is in force is
`mpp.security.web_config.active_config`.

# Note [Change]

Looking costs a `stat` for each file, so it is done once a second, beside the traffic. A change shows in a file's time, number and
size; Kubernetes' swapped symbolic links and an editor's renaming change the number. When a certificate and its key are
replaced one after the other, they do not belong together for a moment: that is reported, the last good pair stays, and the next
look finds them whole.

# Note [Loosening]

A file that is emptied, or read while it is written, may well be a valid one that asks clients for nothing. Such a change
(`mpp.security.web_config.loosening`) is therefore not taken over by itself but reported, and comes into force by an explicit
reload only (SIGHUP, ``POST /mpp/reload``), which an operator asks for. A file without any key is none at all, and never comes
into force. Waiting until a file has not changed for a while would not do: a writer may pause, and an emptied file does not
change any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from attrs import evolve, frozen
from OpenSSL import SSL
from prometheus_client import Gauge
from prometheus_client.registry import Collector
from txaio.tx import make_logger

from mpp.core.errors import ConfigError
from mpp.core.files import Stamp, UnreadableFile, read_small, stamp
from mpp.core.model import MIB
from mpp.security.web_config.active_config import ActiveConfig, context_of
from mpp.security.web_config.loosening import loosened
from mpp.security.web_config.parser import read_web_config
from mpp.security.web_config.sections import WebConfigError
from mpp.security.web_config.tls_context import with_contents
from mpp.security.web_config.values import WebConfig

_log = make_logger()

OPTION = "--web-config"
LOOK_S = 1.0
"""Seconds from one look at the files to the next."""

_RELOAD = "not taken over without an explicit reload (SIGHUP or POST /mpp/reload)"


class NeedsRestart(WebConfigError):
    """Nothing is wrong with a web configuration, but only a restart can apply it."""


@frozen
class LoadedConfig:
    """
    A web configuration as it was read.

    :ivar config: with the contents of all files that it names.
    :ivar context: the OpenSSL context made of it; None without TLS.
    :ivar seen: what the files looked like just before they were read.
    """

    config: WebConfig
    context: SSL.Context | None
    seen: Mapping[str, Stamp]


class WebConfigFile:
    """
    A web configuration file, in force from the start.

    :param current: adopts what was read.
    :param add: called with a gauge of whether what is in force is what the files say.
    :ivar problem: why what the files say is not in force, in one line without secrets; empty if it is.
    :raise ConfigError: the file, or one that it names, is no good.
    """

    def __init__(self, path: str, current: ActiveConfig, add: Callable[[Collector], None]) -> None:
        self.path = path
        self.problem = ""
        self._current = current
        self._seen: Mapping[str, Stamp] = {}
        try:
            self._adopt(self._load())
        except WebConfigError as error:
            raise ConfigError(OPTION, f"{path}: {error}") from None
        self._good = Gauge(
            "mpp_web_config_last_reload_successful",
            "1 if the web configuration is in force as it is in its files, 0 if they are broken or would protect less.",
            registry=None,
        )
        add(self._good)
        self._good.set(1)

    def refresh(self) -> bool:
        """
        Read the files if one of them has changed, and take them over unless they protect less.

        :return: whether what is in force has changed.
        """
        seen = {path: stamp(path) for path in self._seen}
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            loaded = self._read()
            looser = loosened(self._current.config, loaded.config)
            if looser:
                raise WebConfigError(f"{'; '.join(looser)}; {_RELOAD}")
        except WebConfigError as error:
            self._refused(error)
            return False
        return self.take_over(loaded)

    def read(self) -> LoadedConfig:
        """
        Read the files for an explicit reload, whatever they loosen, and put nothing in force yet.

        :raise ConfigError: they are no good, have no key at all, or switch TLS on or off.
        """
        before = self._seen
        try:
            loaded = self._read()
        except WebConfigError as error:
            self._refused(error)
            raise ConfigError(OPTION, f"{self.path}: {error}", needs_restart=isinstance(error, NeedsRestart)) from None
        # If it is not taken over after all, the next look has to find the change.
        self._seen = before
        return loaded

    def take_over(self, loaded: LoadedConfig) -> bool:
        """Put what was read in force; return whether it differs from what was in force before."""
        changed = loaded.config != self._current.config
        if changed:
            self._adopt(loaded)
        if changed or self.problem:
            _log.info("{path} is in force: {what}", path=self.path, what=self._current.summary())
        self._seen = loaded.seen
        self.problem = ""
        self._good.set(1)
        return changed

    def _refused(self, error: WebConfigError) -> None:
        self.problem = str(error)
        self._good.set(0)
        # An operator who has changed the file again waits for it; there is one for each change, at most one a second.
        _log.error("{path}: {error}; what was in force stays", path=self.path, error=self.problem, log_each=True)

    def _adopt(self, loaded: LoadedConfig) -> None:
        for note in loaded.config.notes:
            if note not in self._current.config.notes:
                _log.warn("{path}: {note}", path=self.path, note=note)
        self._current.adopt(loaded.config, loaded.context)

    def _read(self) -> LoadedConfig:
        loaded = self._load()
        if (loaded.config.tls is None) is not (self._current.config.tls is None):
            raise NeedsRestart("tls_server_config: TLS can be switched on or off by a restart only")
        return loaded

    def _load(self) -> LoadedConfig:
        """Read all files anew; from now on those are watched that the web configuration names, be they any good or not."""
        # Each is looked at before it is read: what changes in between is seen the next time.
        seen = {**self._seen, self.path: stamp(self.path)}
        self._seen = seen
        config = _parse(self.path)
        self._seen = seen = {path: seen[path] if path == self.path else stamp(path) for path in (self.path, *config.paths)}
        if config.tls is not None:
            config = evolve(config, tls=with_contents(config.tls))
        return LoadedConfig(config, context_of(config), seen)


def _parse(path: str) -> WebConfig:
    try:
        text = read_small(path, MIB, "a web configuration").decode()
    except UnreadableFile as error:
        raise WebConfigError(f"cannot be read ({error})") from None
    except UnicodeDecodeError:
        raise WebConfigError("not text in UTF-8") from None
    return read_web_config(text, os.path.dirname(path))
