"""
Reads the configuration again while the program runs, and has it applied: whole, or not at all.

Knows the order of the steps, who is told what came of them, and the signal; what is made of the settings is
`mpp.app.components`, and what becomes of what runs is `mpp.app.program`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.app.components import Components
from mpp.config.diff import changes
from mpp.config.loader import ConfigSources, ParsedConfig
from mpp.core.errors import ConfigError
from mpp.core.model import Reloaded
from mpp.core.settings import Settings
from mpp.core.text.humanize import listing
from mpp.security.web_config.file import LoadedConfig
from mpp.selection.verdict.verdict import ConfigProblem

_log = make_logger()

WEB_CONFIG = "web-config"
"""How a changed web configuration is named among what has changed."""


class Reloadable(Protocol):
    """What is reloaded: `mpp.app.program.Program`."""

    @property
    def settings(self) -> Settings:
        """Those in force."""

    def prepare(self, settings: Settings) -> Components:
        """Make what is new; raises `ConfigError` if it cannot work."""

    def verify(self, components: Components) -> Deferred[None]:
        """Ask others; fails with `ConfigError`."""

    def apply(self, components: Components) -> None:
        """Put it in force; raises `ConfigError`, and then nothing has changed."""

    def read_web_config(self) -> LoadedConfig | None:
        """Read the web configuration and put nothing in force, None if there is none; raises `ConfigError` if it is no good."""

    def apply_web_config(self, loaded: LoadedConfig | None) -> bool:
        """Put it in force, also where it protects less; return whether it differs from what was in force."""

    def in_step(self) -> Deferred[None]:
        """Wait until it is in force everywhere; fires soon, and never fails."""


class Reloader:
    """
    Reloads the program.

    :param sources: where everything that is configured is written.
    :param check: looks for what can never work; raises `ConfigError`.
    :param applied: called with the reading whose settings have come into force.
    :param report: called with what came of each reload: why the configuration is not the active one, None if it is.
    :param note: called with the kind and the text of an event, for the list on the status page.
    """

    def __init__(
        self,
        program: Reloadable,
        sources: ConfigSources,
        *,
        check: Callable[[Settings], None],
        applied: Callable[[ParsedConfig], None],
        told: Callable[[ConfigProblem | None], None],
        note: Callable[[str, str], None],
    ) -> None:
        self._program = program
        self._sources = sources
        self._check = check
        self._applied = applied
        self._report = told
        self._note = note
        self._lock = DeferredLock()

    def reload(self) -> Deferred[Reloaded]:
        """
        Read everything again, and apply it; one reload after the other.

        :return Deferred(Reloaded): never fails.
        """
        reloading: Deferred[Reloaded] = self._lock.run(lambda: Deferred.fromCoroutine(self._reload()))
        return reloading.addErrback(self._broken)

    async def _reload(self) -> Reloaded:
        parsed = None
        try:
            parsed = self._sources.read()
            changed = await self._activate(parsed)
        except ConfigError as error:
            return self._rejected(parsed.with_option_name(error) if parsed else error)
        self._report(None)
        self._applied(parsed)
        what = f"changed: {', '.join(changed)}" if changed else "nothing has changed"
        self._note("reload", f"the configuration was read again, {what}")
        await self._program.in_step()
        for warning in parsed.warnings:
            _log.warn("{warning}", warning=warning, log_each=True)
        _log.info("Configuration read again ({name}), {what}", name=parsed.name, what=what)
        return Reloaded(changed)

    async def _activate(self, parsed: ParsedConfig) -> tuple[str, ...]:
        settings = parsed.checked().settings
        changed = changes(self._program.settings, settings)
        self._check(settings)
        components = self._program.prepare(settings)
        try:
            await self._program.verify(components)
            # Only now: while others were asked it may have changed, and been taken over.
            web_config = self._program.read_web_config()
            if changed:
                self._program.apply(components)
        except BaseException:
            components.discard()
            raise
        # Under the key that names it in the file: its path is the same, or it would have been refused.
        return (*changed, WEB_CONFIG) if self._program.apply_web_config(web_config) else changed

    def _rejected(self, error: ConfigError) -> Reloaded:
        self._report(problem_of(error))
        errors = tuple(str(each) for each in error.all)
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        self._note("refused", f"the configuration was read again and not applied: {errors[0]}{more}")
        for each in errors:
            _log.error("Configuration not applied: {error}", error=each, log_each=True)
        return Reloaded(errors=errors)

    def _broken(self, failure: Failure) -> Reloaded:
        _log.failure("Bug: the configuration could not be applied", failure)
        self._report(ConfigProblem("an internal error of mpp"))
        self._note("refused", "the configuration was read again and not applied: internal error of mpp, see its log")
        return Reloaded(errors=("internal error of mpp, see its log",))


def problem_of(error: ConfigError) -> ConfigProblem:
    """Return what a refused reload leaves to be told until the next one. It names options and keys, and no values."""
    where = listing(tuple(dict.fromkeys(each.option for each in error.all)))
    return ConfigProblem(where, all(each.needs_restart for each in error.all))


class SighupListener(Service):
    """
    Calls something at each SIGHUP, for as long as the program runs; then the signal means nothing any more.

    :param call: in the reactor's thread.
    """

    def __init__(self, reactor: Any, call: Callable[[], object]) -> None:
        self._reactor = reactor
        self._call = call

    def startService(self) -> None:
        """Listen to the signal. Without that, it would end the process."""
        Service.startService(self)
        signal.signal(signal.SIGHUP, lambda number, frame: self._reactor.callFromThread(self._call))

    def stopService(self) -> None:
        """Do not end because of it while requests are finished."""
        Service.stopService(self)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
