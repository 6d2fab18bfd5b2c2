"""
Puts mpp together for ``twistd``: the composition root, which knows the global reactor (a worker's is `mpp.app.workers.__main__`).

What the operator did wrong ends here, in one line on stderr and an exit status: in `Options` what is written wrong, in
`makeService` what can be known before anything is opened, in `Launch` the sockets themselves, and what only others can tell.
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
from mpp.app.early_interrupt import hand_over
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
    The command line of ``twistd mpp``, in the shape that twistd wants; what it means is known to `mpp.config.loader`.

    :ivar parsed: what the operator configured, once ``parseOptions`` was called.
    :ivar sources: where that was written.
    """

    parsed: ParsedConfig
    sources: ConfigSources

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line, environment and file; print what was asked for, or what is wrong, and exit."""
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
            print(text)
            raise SystemExit(0)


class Launch(MultiService):
    """
    All of mpp, as twistd runs it: what cannot be opened ends the program, and so does what others say can never work; a second
    signal ends its patience at the end.

    :param program: all of mpp.
    :param parsed: what was configured, to blame the word that the operator used.
    :param verify: asks others, once, while the program already serves; fails with `ConfigError`, or is content.
    :param stop_with_error: ends the running program, with `EXIT_STATUS`.
    :param log: takes all events that are logged; None leaves that to twistd.
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
        """Become part of twistd's application, which is where twistd looks for an observer before it makes its own."""
        if self._log is not None:
            parent.setComponent(ILogObserver, self._log)
        MultiService.setServiceParent(self, parent)

    def privilegedStartService(self) -> None:
        """Open the sockets, or end the program: it must not run on without them."""
        try:
            MultiService.privilegedStartService(self)
        except ConfigError as error:
            raise fatal(self._reading.with_option_name(error)) from None

    def startService(self) -> None:
        """Begin to work, and ask others what they think of the configuration as soon as they can be asked."""
        MultiService.startService(self)
        self._reactor.callWhenRunning(hand_over, self._reactor)
        self._reactor.callWhenRunning(self._begin_to_verify)

    def stopService(self) -> Deferred[Any]:
        """
        Stop in order; one more SIGTERM or SIGINT cuts it short.

        :return Deferred(object): fires when all is closed.
        """

        def again(number: int, frame: object) -> None:
            self._reactor.callFromThread(self._program.cut_short)

        # Twisted's own would try to stop the reactor once more, and log a traceback that it cannot.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, again)
        if self._verifying is not None:
            self._verifying.cancel()
        stopped: Deferred[Any] = MultiService.stopService(self)
        return stopped

    def _begin_to_verify(self) -> None:
        if self.running:
            self._verifying = self._verify()
            self._verifying.addErrback(self._refused).addErrback(lambda failure: _log.failure("Bug in verifying", failure))

    def _refused(self, failure: Failure) -> None:
        failure.trap(ConfigError, CancelledError)
        if isinstance(failure.value, ConfigError) and self.running:
            # The log, too: nobody reads the stderr of a daemon.
            _log.error("{refusal}; mpp ends", refusal=str(fatal(self._reading.with_option_name(failure.value))))
            self._end()


def makeService(options: Options) -> IService:
    """Build the program that the options describe, on the global reactor."""
    # Here and not above: it installs a reactor, and all of mpp is not needed to say that an option is wrong.
    from twisted.internet import reactor

    from mpp.admin.effective_config import effective
    from mpp.app.program import Program
    from mpp.app.reload import Reloader, SighupListener
    from mpp.security.secret_files import warning_of

    parsed = options.parsed
    set_global_log_level(_level(parsed.settings))
    twistd = getattr(options, "parent", None) or {}
    log = observer(parsed.settings.log_format, _level(parsed.settings), twistd, reactor, os.environ.get(JOURNAL, ""))
    for warning in parsed.warnings:
        _log.warn("{warning}", warning=warning)
    try:
        check(parsed.settings, reactor)
        _log.debug("at most {limit} open files", limit=raise_file_limit())
        program = Program(parsed.settings, reactor)
        if parsed.settings.workers > 1:
            from mpp.app.workers.parent import employ

            employ(program, parsed.settings, reactor)
    except ConfigError as error:
        raise fatal(parsed.with_option_name(error)) from None
    exposed = warning_of(parsed.settings, None if program.web_config is None else program.web_config.config)
    if exposed:
        _log.warn("{exposed}", exposed=exposed)
    reloader = Reloader(
        program,
        options.sources,
        check=partial(check, reactor=reactor),
        applied=partial(_applied, program, log),
        told=program.config_read,
        note=program.backends.selections.event_log.record,
    )
    program.effective = effective(parsed, time.time())
    program.reload = reloader.reload
    program.addService(SighupListener(reactor, reloader.reload))  # type: ignore[no-untyped-call]
    return Launch(
        program, parsed, reactor=reactor, verify=program.backends.locator.verify, end=partial(stop_with_error, reactor), log=log
    )


def _applied(program: Program, log: LineObserver | None, parsed: ParsedConfig) -> None:
    # Here and not above, as in `makeService`.
    from mpp.admin.effective_config import effective

    settings = parsed.settings
    program.effective = effective(parsed, time.time())
    set_global_log_level(_level(settings))
    if log is not None:
        log.change(settings.log_format, _level(settings))
    for where in program.reload_certificates():
        _log.info("{where} has another certificate for new connections", where=where)


def _level(settings: Settings) -> str:
    return "debug" if settings.verbose else settings.log_level


def _check_config(sources: ConfigSources) -> str:
    from twisted.internet import reactor

    return check_config(sources, reactor)
