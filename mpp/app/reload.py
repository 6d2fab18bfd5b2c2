"""
Reload of the configuration while the program runs. A new configuration is applied as a whole, or not at all.

This module has the order of the steps, the reports of the result, and the signal. `mpp.app.components` builds objects from the
settings, and `mpp.app.program` replaces the running ones.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.app.early_interrupt import HangupRecord
from mpp.app.program import Program
from mpp.config.diff import changes
from mpp.config.loader import ConfigSources, ParsedConfig
from mpp.core.errors import ConfigError
from mpp.core.settings import Reloaded, Settings
from mpp.core.text.humanize import listing
from mpp.selection.verdict.verdict import ConfigProblem

_log = make_logger()

WEB_CONFIG = "web-config"
"""The name of the web configuration in the list of changed options."""


class Reloader:
    """
    The procedure of a reload: read, check, build, verify, apply, report.

    :param sources: reads the configuration from all of its sources.
    :param check: raises `ConfigError` for settings that can never work.
    :param applied: called with the parsed configuration after it was activated.
    :param report: called after each reload with the reason why the new configuration is not active, or None if it is.
    :param note: called with the kind and the text of an event, for the event log on the status page.
    """

    def __init__(
        self,
        program: Program,
        sources: ConfigSources,
        *,
        check: Callable[[Settings], None],
        applied: Callable[[ParsedConfig], None],
        report: Callable[[ConfigProblem | None], None],
        note: Callable[[str, str], None],
    ) -> None:
        self._program = program
        self._sources = sources
        self._check = check
        self._applied = applied
        self._report = report
        self._note = note
        self._lock = DeferredLock()

    def reload(self) -> Deferred[Reloaded]:
        """
        Read the configuration again and apply it; a second call waits until the first reload has ended.

        :return Deferred(Reloaded): fires with the changed options or the errors; never fails.
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
        await self._program.client_side.in_step()
        for warning in parsed.warnings:
            _log.warn("{warning}", warning=warning, log_each=True)
        _log.info("configuration reloaded from {name}, {what}", name=parsed.name, what=what)
        return Reloaded(changed)

    async def _activate(self, parsed: ParsedConfig) -> tuple[str, ...]:
        settings = parsed.checked().settings
        changed = changes(self._program.settings, settings)
        self._check(settings)
        components = self._program.prepare(settings)
        try:
            await self._program.backends.verify(components)
            # Read after the verification, during which a change of the file may have been activated automatically.
            web_config = self._program.web_config
            loaded = None if web_config is None else web_config.read()
            if changed:
                self._program.apply(components)
        except BaseException:
            components.discard()
            raise
        # A change of its content, even if it protects less; `apply` has rejected a change of its path.
        rewritten = web_config is not None and loaded is not None and web_config.take_over(loaded)
        return (*changed, WEB_CONFIG) if rewritten else changed

    def _rejected(self, error: ConfigError) -> Reloaded:
        self._report(problem_of(error))
        errors = tuple(str(each) for each in error.all)
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        self._note("refused", f"the configuration was read again and not applied: {errors[0]}{more}")
        for each in errors:
            _log.error("configuration not applied: {error}", error=each, log_each=True)
        return Reloaded(errors=errors)

    def _broken(self, failure: Failure) -> Reloaded:
        _log.failure("bug: the reload failed, and a part of the new configuration may be active", failure)
        self._report(ConfigProblem("an internal error of mpp"))
        self._note("refused", "the configuration was read again and not applied: internal error of mpp, see its log")
        return Reloaded(errors=("internal error of mpp, see its log",))


def problem_of(error: ConfigError) -> ConfigProblem:
    """Return the problem that is shown after a failed reload until the next one. It names options and keys, but no values."""
    where = listing(tuple(dict.fromkeys(each.option for each in error.all)))
    return ConfigProblem(where, all(each.needs_restart for each in error.all))


class SighupListener(Service):
    """
    The service that calls a function at each SIGHUP while the program runs; afterwards the signal is ignored.

    A SIGHUP that arrived during the start (`mpp.app.early_interrupt`) counts: the configuration may have been read before it.

    :param call: called in the reactor's thread.
    """

    def __init__(self, reactor: Any, call: Callable[[], object]) -> None:
        self._reactor = reactor
        self._call = call

    def startService(self) -> None:
        """Install the signal handler, and call the function if the signal has arrived already."""
        Service.startService(self)
        before = signal.signal(signal.SIGHUP, lambda number, frame: self._reactor.callFromThread(self._call))
        if isinstance(before, HangupRecord) and before.received:
            self._reactor.callWhenRunning(self._call)

    def stopService(self) -> None:
        """Ignore the signal, so that it does not end the process while the requests in flight are finished."""
        Service.stopService(self)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
