"""
Runs the programs that give Kubernetes credentials, as child processes. Knows processes and the ExecCredential they print;
when to run one, and for how long its answer is good, is for `mpp.discovery.kubernetes.credentials`.

What a program prints on its standard output is a secret and gets into no message. The last line of its standard error does,
since it is the only one who knows what is wrong, with everything taken out that could be a secret.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from mpp.core.errors import ConfigError, DiscoveryError
from mpp.core.text.child_environ import isolated, without_own
from mpp.discovery.kubernetes.objects import one_line
from mpp.discovery.kubernetes.pem import check_client
from mpp.discovery.kubernetes.user import ExecPlugin, bearer

# A login over the network takes seconds; who has not finished after half a minute waits for a human.
TIMEOUT_S = 30.0
# A token and a certificate with its key take some 10 KB.
_MAX_OUTPUT = 1024 * 1024
_MAX_COMPLAINT = 4096
# Makes a session, and so a process group, of the program's own, whose id is the process' own: all that the program starts can be
# signalled with it, and none of them can stop mpp by asking for a password on its terminal. Twisted's spawnProcess starts
# programs in the group of mpp itself. Python ignores two signals, and programs are not used to that; and it sets LC_CTYPE in its
# own environment where the locale is "C" (PEP 538), so that the value that the program is to have is the first argument.
_LAUNCHER = """
import os, signal, sys
os.setsid()
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
locale, path, *arguments = sys.argv[1:]
if locale:
    os.environ["LC_CTYPE"] = locale
else:
    os.environ.pop("LC_CTYPE", None)
try:
    os.execv(path, arguments)
except OSError as error:
    sys.exit(error.strerror)
"""
# Tokens and keys are long words; what is cut of a path or a host name by mistake can be found in the kubeconfig.
_LONG_WORD = re.compile(r"[A-Za-z0-9+/=_.~-]{24,}")


@frozen
class IssuedCredential:
    """
    What a plugin gave.

    :ivar authorization: value of the header, or empty.
    :ivar client: PEM of a certificate and its key, or None.
    :ivar expires: seconds since the epoch, or None when it does not say.
    """

    authorization: str = field(default="", repr=False)
    client: bytes | None = field(default=None, repr=False)
    expires: float | None = None


def run_plugin(plugin: ExecPlugin, reactor: Any, environ: Mapping[str, str]) -> Deferred[IssuedCredential]:
    """
    Run a plugin once.

    :param environ: mpp's own. The program gets it without mpp's own variables, which may be secrets, and with what keeps a
        program in Python from importing modules from the current folder; what the kubeconfig says comes on top.
    :return Deferred(IssuedCredential): fires when the program has ended. Fails with `DiscoveryError` when it cannot be run,
        fails, takes longer than `TIMEOUT_S` (it is killed), or prints no credentials. Cancelling it kills the program. What the
        program has started is killed with it.
    """
    variables = {**isolated(without_own(environ)), **dict(plugin.environ)}
    executable = shutil.which(plugin.command, path=variables.get("PATH"))
    if executable is None:
        hint = f"; {one_line(plugin.install_hint)}" if plugin.install_hint else ""
        return fail(DiscoveryError(f"{plugin.where}: {plugin.command}: no such program{hint}"))
    run = _PluginRun(plugin)
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, variables.get("LC_CTYPE", "")]
    try:
        reactor.spawnProcess(run, sys.executable, [*launcher, executable, plugin.command, *plugin.arguments], env=variables)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it cannot be run"
        return fail(DiscoveryError(f"{plugin.where}: {plugin.command}: {why}"))
    ended: Deferred[bytes] = run.ended.addTimeout(TIMEOUT_S, reactor, onTimeoutCancel=run.late)
    return ended.addCallback(read_credential, plugin)


class _PluginRun(ProcessProtocol):
    """
    One run.

    :ivar ended: fires with what was printed.
    """

    def __init__(self, plugin: ExecPlugin) -> None:
        self._plugin = plugin
        self._output = bytearray()
        self._complaint = bytearray()
        self._group: int | None = None
        self.ended: Deferred[bytes] = Deferred(self._kill)

    def connectionMade(self) -> None:
        """Say that there is no input."""
        transport: Any = self.transport
        self._group = transport.pid
        transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        """Keep what is printed."""
        self._output += data
        if len(self._output) > _MAX_OUTPUT:
            self._fail("prints too much")
            self._kill(None)

    def errReceived(self, data: bytes) -> None:
        """Keep the end of the complaints."""
        self._complaint = (self._complaint + data)[-_MAX_COMPLAINT:]

    def processEnded(self, reason: Failure) -> None:
        """Give the result; the pipes are closed."""
        self._group = None
        status = getattr(reason.value, "exitCode", None)
        if status == 0:
            if not self.ended.called:
                self.ended.callback(bytes(self._output))
            return
        how = f"exit status {status}" if status is not None else f"ended by signal {getattr(reason.value, 'signal', '?')}"
        self._fail(": ".join(filter(None, (how, complaint(bytes(self._complaint), self._plugin)))))

    def late(self, outcome: Any, seconds: float) -> Any:
        """Tell what a run that was cut off after some time ends with."""
        if isinstance(outcome, Failure) and outcome.check(CancelledError):
            raise DiscoveryError(f"{self._plugin.where}: {self._plugin.command}: not finished after {seconds:g} s")
        return outcome

    def _fail(self, problem: str) -> None:
        if not self.ended.called:
            self.ended.errback(DiscoveryError(f"{self._plugin.where}: {self._plugin.command}: {problem}"))

    def _kill(self, _: object) -> None:
        """Kill the program and all that it has started, and close the pipes."""
        transport: Any = self.transport
        if transport is None or self._group is None:
            return
        # Before the launcher has made the group there is no process in it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._group, signal.SIGKILL)
        with contextlib.suppress(ProcessExitedAlready):
            transport.signalProcess("KILL")
        # What has left the group may hold the pipes for ever.
        transport.loseConnection()


def complaint(printed: bytes, plugin: ExecPlugin) -> str:
    """Give the last line of a standard error, without what could be a secret."""
    lines = printed.decode("utf-8", "replace").strip().splitlines()
    text = lines[-1] if lines else ""
    secrets = [value for _, value in plugin.environ] + [_argument_value(each) for each in plugin.arguments]
    # Shorter ones would tear holes into ordinary words.
    for secret in sorted((each for each in secrets if len(each) >= 4), key=len, reverse=True):
        text = text.replace(secret, "...")
    return one_line(_LONG_WORD.sub("...", text))


def _argument_value(argument: str) -> str:
    """Give what of an argument may be a secret; the names of options are none."""
    return argument.partition("=")[2] if argument.startswith("-") else argument


def read_credential(output: bytes, plugin: ExecPlugin) -> IssuedCredential:
    """
    Read the ExecCredential that a plugin printed. Pure.

    :raise DiscoveryError: it is none.
    """
    try:
        return _issued(json.loads(output), plugin)
    except ConfigError as error:
        raise DiscoveryError(error.problem) from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        # Without the cause: it holds what was printed.
        raise DiscoveryError(f"{plugin.where}: {plugin.command}: printed no ExecCredential") from None


def _issued(credential: Any, plugin: ExecPlugin) -> IssuedCredential:
    if credential["kind"] != "ExecCredential" or credential["apiVersion"] != plugin.api_version:
        raise DiscoveryError(f"{plugin.where}: {plugin.command}: printed no ExecCredential of {plugin.api_version}")
    status = credential["status"]
    token, certificate, key = (status.get(name) or "" for name in ("token", "clientCertificateData", "clientKeyData"))
    if not token and not (certificate and key):
        raise DiscoveryError(f"{plugin.where}: {plugin.command}: gave neither a token nor a certificate with its key")
    printed = f"{plugin.where}: what {plugin.command} printed"
    client = check_client(certificate.encode("ascii"), key.encode("ascii"), printed) if certificate and key else None
    expires = status.get("expirationTimestamp")
    return IssuedCredential(bearer(token, printed) if token else "", client, None if not expires else _timestamp(expires))


def _timestamp(text: str) -> float:
    """Read a point in time of RFC 3339."""
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
