"""How mpp is put together for twistd, and how it refuses to be."""

from __future__ import annotations

import os
import signal
import sys
from io import StringIO
from typing import Any

from twisted.application.service import Application, Service
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver
from twisted.trial.unittest import SynchronousTestCase

from mpp._version import __version__
from mpp.app.fatal import EXIT_STATUS, FatalError
from mpp.app.logs.observer import LineObserver
from mpp.config.help import help_text
from mpp.config.loader import read
from mpp.core.errors import ConfigError
from mpp.tap import Launch, Options
from tests.configured import configured


class DeafService(Service):
    """A service that cannot open its port."""

    def privilegedStartService(self) -> None:
        """Fail."""
        raise ConfigError("--port", "9090 is already in use; expected a free port")


class Captured(SynchronousTestCase):
    """Keeps what is printed, and starts from an empty environment."""

    def setUp(self) -> None:
        """Stand in for the terminal."""
        self.out, self.err = StringIO(), StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "__stderr__", self.err)
        self.patch(os, "environ", {})
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))


class OptionsTests(Captured):
    """The command line of ``twistd mpp``."""

    def test_options_are_kept_for_the_service(self) -> None:
        """What is configured is kept for the service."""
        options = Options()
        options.parseOptions(["--endpoints-file", "f", "--port=80"])
        self.assertEqual(options.parsed.settings, configured(endpoints_file="f", port=80))

    def test_sighup_during_the_start(self) -> None:
        """A SIGHUP between the reading of the configuration and the start of the services does not end ``twistd mpp``."""
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        Options().parseOptions(["--endpoint", "a:9090"])
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(getattr(signal.getsignal(signal.SIGHUP), "received", None), True)

    def test_arguments_of_the_process(self) -> None:
        """Without arguments it reads those of the process."""
        self.patch(sys, "argv", ["mpp", "--endpoints-file", "f"])
        options = Options()
        options.parseOptions()
        self.assertEqual(options.parsed.settings, configured(endpoints_file="f"))

    def test_bad_input_is_one_line_on_stderr(self) -> None:
        """Bad input is one line on stderr, and the end: no usage, which would hide it."""
        refusal = self.assertRaises(SystemExit, Options().parseOptions, ["--port", "abc"])
        self.assertEqual(refusal.code, EXIT_STATUS)
        self.assertEqual(self.err.getvalue(), "mpp: --port: 'abc' is not a port number (1 to 65535)\n")
        self.assertEqual(self.out.getvalue(), "")

    def test_help_and_version_are_printed_alone(self) -> None:
        """Help and version are printed, and that is all."""
        for argv, text in ((["--help"], help_text()), (["-v"], f"mpp version {__version__}")):
            with self.subTest(argv=argv):
                self.patch(sys, "stdout", out := StringIO())
                ended = self.assertRaises(SystemExit, Options().parseOptions, argv)
                self.assertEqual(ended.code, 0)
                self.assertEqual(out.getvalue(), text + "\n")


class LaunchTests(Captured):
    """The service that twistd runs."""

    def setUp(self) -> None:
        """Stand in for everyone around."""
        super().setUp()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.reactor = MemoryReactorClock()
        self.verifying: Deferred[None] = Deferred()
        self.asked: list[str] = []
        self.ended: list[str] = []

    def verify(self) -> Deferred[None]:
        """Take note that somebody asks."""
        self.asked.append("asked")
        return self.verifying

    def launch(self, program: Any, environ: dict[str, str]) -> Launch:
        """Make the service of a program that is configured so."""
        reading = read(["--endpoints-file", "f"], environ)
        return Launch(program, reading, reactor=self.reactor, verify=self.verify, end=lambda: self.ended.append("ended"))

    def running(self, environ: dict[str, str] | None = None) -> Launch:
        """Return a program that runs."""
        launch = self.launch(Service(), environ or {})
        launch.startService()
        self.assertEqual(self.asked, [])
        for call, arguments, keywords in self.reactor.whenRunningHooks:
            call(*arguments, **keywords)
        self.assertEqual(self.asked, ["asked"])
        return launch

    def test_refused_by_others(self) -> None:
        """What others say can never work ends the running program, in one line that blames the word of the operator."""
        self.running({"MPP_KUBE_POD_LABEL_SELECTOR": "a=("})
        self.verifying.errback(ConfigError("--kube-pod-label-selector", "the API server rejects 'a=('"))
        self.assertEqual(self.err.getvalue(), "mpp: MPP_KUBE_POD_LABEL_SELECTOR: the API server rejects 'a=('\n")
        self.assertEqual(self.ended, ["ended"])

    def test_accepted_by_others(self) -> None:
        """What others have nothing against runs on."""
        self.running()
        self.verifying.callback(None)
        self.assertEqual((self.err.getvalue(), self.ended), ("", []))

    def test_stopped_while_others_are_asked(self) -> None:
        """A program that is told to stop asks nobody any more."""
        launch = self.running()
        self.assertFalse(self.verifying.called)
        launch.stopService()
        self.assertTrue(self.verifying.called)
        self.assertEqual((self.err.getvalue(), self.ended), ("", []))

    def test_stopped_before_it_ran(self) -> None:
        """A program that is stopped at once asks nobody."""
        launch = self.launch(Service(), {})
        launch.startService()
        launch.stopService()
        for call, arguments, keywords in self.reactor.whenRunningHooks:
            call(*arguments, **keywords)
        self.assertEqual(self.asked, [])

    def test_program_that_cannot_listen_names_the_option(self) -> None:
        """A program that cannot listen ends, blaming the word that the operator used."""
        launch = self.launch(DeafService(), {"MPP_PORT": "9090"})
        refusal = self.assertRaises(FatalError, launch.privilegedStartService)
        self.assertEqual(refusal.code, EXIT_STATUS)
        self.assertEqual(self.err.getvalue(), "mpp: MPP_PORT: 9090 is already in use; expected a free port\n")

    def test_refusal_is_cleaned_up_after(self) -> None:
        """A refusal ends the interpreter without a traceback, and lets twistd clean up, which it does after Exceptions only."""
        self.assertTrue(issubclass(FatalError, SystemExit))
        self.assertTrue(issubclass(FatalError, Exception))
        # What twistd sends to the parent of a daemon.
        self.assertEqual(str(FatalError(ConfigError("--port", "9090 is taken"))), "mpp: --port: 9090 is taken")


class LogTests(Captured):
    """Where twistd finds how to log."""

    def launch(self, log: Any) -> Any:
        """Return the application that twistd makes of the service."""
        reading = read(["--endpoints-file", "f"], {})
        launch = Launch(Service(), reading, reactor=MemoryReactorClock(), verify=Deferred, end=lambda: None, log=log)  # type: ignore[arg-type]
        application = Application("mpp")
        launch.setServiceParent(application)
        return application

    def test_twistd_uses_the_observer_of_mpp(self) -> None:
        """twistd takes the observer of mpp for its own, from the first line on."""
        self.assertIs(self.launch(log := LineObserver("json", "info")).getComponent(ILogObserver), log)

    def test_twistd_logs_in_its_own_way_when_told_to(self) -> None:
        """twistd logs in its own way where it was told to."""
        self.assertIsNone(self.launch(None).getComponent(ILogObserver, None))
