"""
The plugin of mpp for ``twistd``, which builds the program on the global reactor (for a worker: `mpp.app.workers.__main__`).

Errors in the configuration end the program with one line on stderr and an exit status: syntax errors in `Options`, errors that
can be found without opening a socket in `makeService`, and errors of sockets and of discovery sources in `Launch`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import ILogObserver
from twisted.python.usage import Options as TwistedOptions
from txaio.tx import make_logger, set_global_log_level

from mpp.app.checks import check, check_config
from mpp.app.early_interrupt import hand_over, print_or_end, record_hangup
from mpp.app.fatal import fatal, stop_with_error
from mpp.app.file_limit import raise_file_limit
from mpp.app.logs.observer import JOURNAL, LineObserver, observer
from mpp.config.command_line import answer, wants_check
from mpp.config.loader import ConfigSources, ParsedConfig
from mpp.core.errors import ConfigError

if TYPE_CHECKING:
    from twisted.application.service import IService
    from twisted.python.failure import Failure

    from mpp.app.program import Program
    from mpp.core.settings import Settings


_log = make_logger()


class Options(TwistedOptions):
    """
    The command line of ``twistd mpp``, as an options object of twistd; `mpp.config.loader` interprets it.

    :ivar parsed: the parsed configuration, after ``parseOptions`` was called.
    :ivar sources: the sources of the configuration.
    """

    parsed: ParsedConfig
    sources: ConfigSources

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the configuration from all sources; for an option such as ``--help``, or after an error, print and exit."""
        # For ``twistd mpp``; the ``mpp`` command has done it before.
        record_hangup()
        argv = sys.argv[1:] if options is None else options
        self.sources = ConfigSources.of(argv, os.environ)
        try:
            text = answer(argv)
            if text is None and wants_check(argv):
                text = _check_config(self.sources)
            if text is None:
                self.parsed = self.sources.read().checked()
        except ConfigError as error:
            raise fatal(error) from None
        if text is not None:
            print_or_end(text)
            raise SystemExit(0)


class Launch(MultiService):
    """
    The top service that twistd runs. It ends the program when a socket cannot be opened, or when a discovery source rejects its
    configuration; a second signal during shutdown aborts the requests in flight.

    :param program: the program of mpp.
    :param parsed: the parsed configuration, so that errors name the option or key that the operator wrote.
    :param verify: asks the discovery sources whether they accept their configuration; called once, after the start. Its Deferred
        fails with `ConfigError` if one of them rejects it.
    :param end: ends the running program with `mpp.app.fatal.EXIT_STATUS`.
    :param log: the log observer; None leaves the log to twistd.
    """

    def __init__(
        self,
        program: Program,
        parsed: ParsedConfig,
        *,
        reactor: Any,
        verify: Callable[[], Deferred[None]],
        end: Callable[[], None],
        log: ILogObserver | None = None,
    ) -> None:
        MultiService.__init__(self)
        self._program = program
        self._reading = parsed
        self._reactor = reactor
        self._verify = verify
        self._end = end
        self._log = log
        self._verifying: Deferred[None] | None = None
        self.addService(program)  # type: ignore[no-untyped-call]

    def setServiceParent(self, parent: Any) -> None:
        """Add the service to twistd's application, and set the log observer there, where twistd looks for it."""
        if self._log is not None:
            parent.setComponent(ILogObserver, self._log)
        MultiService.setServiceParent(self, parent)

    def privilegedStartService(self) -> None:
        """Open the listening sockets; end the program if that fails."""
        try:
            MultiService.privilegedStartService(self)
        except ConfigError as error:
            raise fatal(self._reading.with_option_name(error)) from None

    def startService(self) -> None:
        """Start the program, and verify the configuration of discovery sources as soon as the reactor runs."""
        MultiService.startService(self)
        self._reactor.callWhenRunning(hand_over, self._reactor)
        self._reactor.callWhenRunning(self._begin_to_verify)

    def stopService(self) -> Deferred[Any]:
        """
        Finish the requests in flight, and stop the program; another SIGTERM or SIGINT aborts these requests.

        :return Deferred(object): fires when all is closed.
        """

        def again(number: int, frame: object) -> None:
            self._reactor.callFromThread(self._program.cut_short)

        # Twisted's handlers would try to stop the reactor again, and log a traceback because that fails.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, again)
        if self._verifying is not None:
            self._verifying.cancel()
        stopped: Deferred[Any] = MultiService.stopService(self)
        return stopped

    def _begin_to_verify(self) -> None:
        if self.running:
            self._verifying = self._verify()
            self._verifying.addErrback(self._refused)
            text = "bug: the discovery sources could not be asked whether they accept their configuration; mpp continues"
            self._verifying.addErrback(lambda failure: _log.failure(text, failure))

    def _refused(self, failure: Failure) -> None:
        failure.trap(ConfigError, CancelledError)
        if isinstance(failure.value, ConfigError) and self.running:
            # Also logged, because the stderr of a daemon is not read.
            _log.error("mpp ends: {refusal}", refusal=str(fatal(self._reading.with_option_name(failure.value))))
            self._end()


def makeService(options: Options) -> IService:
    """Build the program that the options describe, on the global reactor."""
    # Imported here because it installs a reactor, and because most of mpp is not needed to report an invalid option.
    from twisted.internet import reactor

    from mpp.app.reload import SighupListener
    from mpp.security.secret_files import warning_of

    parsed = options.parsed
    set_global_log_level(_level(parsed.settings))
    twistd = getattr(options, "parent", None) or {}
    log = observer(parsed.settings.log_format, _level(parsed.settings), twistd, reactor, os.environ.get(JOURNAL, ""))
    for warning in parsed.warnings:
        _log.warn("{warning}", warning=warning)
    try:
        check(parsed.settings, reactor)
        _log.debug("this process may have {limit} open files and sockets", limit=raise_file_limit())
        program = _program(options, reactor, log)
    except ConfigError as error:
        raise fatal(parsed.with_option_name(error)) from None
    exposed = warning_of(parsed.settings, None if program.web_config is None else program.web_config.config)
    if exposed:
        _log.warn("{exposed}", exposed=exposed)
    program.addService(SighupListener(reactor, program.reload))  # type: ignore[no-untyped-call]
    return Launch(
        program, parsed, reactor=reactor, verify=program.backends.locator.verify, end=partial(stop_with_error, reactor), log=log
    )


def _program(options: Options, reactor: Any, log: LineObserver | None) -> Program:
    """
    Build the program as a single process or as the parent of workers.

    :raise ConfigError: it cannot be built from the settings.
    """
    # Imported here for the reason given in `makeService`.
    from mpp.admin.effective_config import effective
    from mpp.app.client_side import Reload, Role
    from mpp.app.program import Program
    from mpp.app.reload import Reloader

    def reload_of(program: Program) -> Reload:
        return Reloader(
            program,
            options.sources,
            check=partial(check, reactor=reactor),
            applied=partial(_applied, program, log),
            report=program.config_read,
            note=program.backends.event_log.record,
        ).reload

    role, settings = Role(reload=reload_of), options.parsed.settings
    if settings.workers > 1:
        from mpp.app.workers.parent import parent_of_workers

        role = parent_of_workers(role, reactor)
    return Program(settings, reactor, role, effective(options.parsed, time.time()))


def _applied(program: Program, log: LineObserver | None, parsed: ParsedConfig) -> None:
    # Imported here for the reason given in `makeService`.
    from mpp.admin.effective_config import effective

    settings = parsed.settings
    program.effective = effective(parsed, time.time())
    set_global_log_level(_level(settings))
    if log is not None:
        log.change(settings.log_format, _level(settings))
    for where in program.reload_certificates():
        _log.info("endpoint {where} uses a changed certificate for new connections", where=where)


def _level(settings: Settings) -> str:
    return "debug" if settings.verbose else settings.log_level


def _check_config(sources: ConfigSources) -> str:
    from twisted.internet import reactor

    return check_config(sources, reactor)
