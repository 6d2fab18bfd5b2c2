"""
The web configuration file and the files that it names. They are watched, read when one of them changes, and activated unless the
new configuration protects less. The active configuration is in `mpp.security.web_config.active_config`.

# Note [Change]

A look at the files costs one `stat` per file and is done once a second. A change shows in the modification time, inode number or
size of a file; Kubernetes' swapped symbolic links and an editor's renaming change the inode number. When a certificate and its
key are replaced one after the other, they do not match for a moment: this is reported, the former pair stays in use, and the next
look finds the new pair.

# Note [Loosening]

A file that was emptied, or is read while it is written, may be a valid one without any protection. So a change that protects less
(`mpp.security.web_config.loosening`) is not activated automatically but reported; only an explicit reload by the operator
(SIGHUP, ``POST /mpp/reload``) activates it. A file without any key is invalid and never activated. To wait until a file has not
changed for some time would not help: a writer may pause, and an emptied file does not change again.
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
"""Seconds between two looks at the files."""

_RELOAD = "not activated without an explicit reload (SIGHUP or POST /mpp/reload)"


class NeedsRestart(WebConfigError):
    """The error for a valid web configuration that only a restart can apply."""


@frozen
class LoadedConfig:
    """
    A web configuration that was read from its files.

    :ivar config: the configuration with the contents of all files that it names.
    :ivar context: the OpenSSL context that was built from it; None without TLS.
    :ivar seen: for each path, the stamp of the file (time of change, inode number, size) just before it was read.
    """

    config: WebConfig
    context: SSL.Context | None
    seen: Mapping[str, Stamp]


class WebConfigFile:
    """
    The web configuration file, which is read and activated when this object is created.

    :param current: the holder of the active configuration, which adopts each new one.
    :param add: registers a metric; called with the gauge that says whether the content of the files is active.
    :ivar problem: the reason why the content of the files is not active, in one line without secrets; empty if it is.
    :raise ConfigError: the file, or one that it names, is invalid.
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
            "1 if the web configuration in its files is active, 0 if the files are invalid or would protect less.",
            registry=None,
        )
        add(self._good)
        self._good.set(1)

    def refresh(self) -> bool:
        """
        Read the files if one of them has changed, and activate the configuration unless it protects less than the active one.

        :return: whether the active configuration has changed.
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
        Read the files for a reload by an operator, without activating them; they may protect less than the active ones.

        :raise ConfigError: they are invalid, have no YAML key at all, or switch TLS on or off.
        """
        before = self._seen
        try:
            loaded = self._read()
        except WebConfigError as error:
            self._refused(error)
            raise ConfigError(OPTION, f"{self.path}: {error}", needs_restart=isinstance(error, NeedsRestart)) from None
        # If the caller does not activate it, the next look has to find the change again.
        self._seen = before
        return loaded

    def take_over(self, loaded: LoadedConfig) -> bool:
        """Activate a configuration that `read` has returned; return whether it differs from the former one."""
        changed = loaded.config != self._current.config
        if changed:
            self._adopt(loaded)
        if changed or self.problem:
            _log.info("web configuration {path} is active: {what}", path=self.path, what=self._current.summary())
        self._seen = loaded.seen
        self.problem = ""
        self._good.set(1)
        return changed

    def _refused(self, error: WebConfigError) -> None:
        self.problem = str(error)
        self._good.set(0)
        # Each one is logged, because the operator waits for it; there is one per change, and at most one a second.
        text = "web configuration {path} not reloaded, the former one stays active: {error}"
        _log.error(text, path=self.path, error=self.problem, log_each=True)

    def _adopt(self, loaded: LoadedConfig) -> None:
        for note in loaded.config.notes:
            if note not in self._current.config.notes:
                _log.warn("web configuration {path}: {note}", path=self.path, note=note)
        self._current.adopt(loaded.config, loaded.context)

    def _read(self) -> LoadedConfig:
        loaded = self._load()
        if (loaded.config.tls is None) is not (self._current.config.tls is None):
            raise NeedsRestart("tls_server_config: TLS can be switched on or off by a restart only")
        return loaded

    def _load(self) -> LoadedConfig:
        """Read the web configuration and all files that it names, and watch these files, even if they are invalid."""
        # The stamp of each file is taken before it is read, so that the next look finds a change in between.
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
