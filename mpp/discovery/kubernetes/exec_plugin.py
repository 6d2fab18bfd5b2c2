"""
The runner of the programs that issue Kubernetes credentials, as child processes. Knows processes and the ExecCredential that they
print; `mpp.discovery.kubernetes.credentials` decides when to run one, and how long its credentials are valid.

The standard output of a program is secret and is never part of a message. The last line of its standard error is, because only
the program knows the cause of a failure; everything that could be a secret is removed from it.
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

# A login over the network takes seconds; a program that takes longer than half a minute waits for user input.
TIMEOUT_S = 30.0
# A token and a certificate with its key take some 10 KB.
_MAX_OUTPUT = 1024 * 1024
_MAX_COMPLAINT = 4096
# Creates a session, and so a process group, for the program, whose id is the process id: a signal to it reaches all processes
# that the program starts, and none of them can stop mpp by asking for a password on its terminal. Twisted's spawnProcess starts
# programs in the group of mpp itself. Python ignores two signals, which other programs do not expect; and it sets LC_CTYPE in
# its own environment if the locale is "C" (PEP 538), so the value for the program is the first argument.
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
# Tokens and keys are long words. If a path or a host name is removed by mistake, it can be found in the kubeconfig.
_LONG_WORD = re.compile(r"[A-Za-z0-9+/=_.~-]{24,}")


@frozen
class IssuedCredential:
    """
    The credentials that a plugin issued.

    :ivar authorization: the value of the ``Authorization`` header, or empty.
    :ivar client: PEM of a certificate and its key, or None.
    :ivar expires: seconds since the epoch, or None when the plugin does not say.
    """

    authorization: str = field(default="", repr=False)
    client: bytes | None = field(default=None, repr=False)
    expires: float | None = None


def run_plugin(plugin: ExecPlugin, reactor: Any, environ: Mapping[str, str]) -> Deferred[IssuedCredential]:
    """
    Run a plugin once, and return its credentials.

    :param environ: mpp's environment. The program gets it without the variables for mpp, which may be secrets, and with settings
        that keep a Python program from importing modules from the current folder; variables of the kubeconfig are added.
    :return Deferred(IssuedCredential): fires when the program has ended. Fails with `DiscoveryError` when it cannot be run,
        fails, takes longer than `TIMEOUT_S` (it is killed), or prints no credentials. Cancelling it kills the program, and all
        processes that the program has started.
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
    One run of a plugin.

    :ivar ended: fires with the standard output.
    """

    def __init__(self, plugin: ExecPlugin) -> None:
        self._plugin = plugin
        self._output = bytearray()
        self._complaint = bytearray()
        self._group: int | None = None
        self.ended: Deferred[bytes] = Deferred(self._kill)

    def connectionMade(self) -> None:
        """Close the program's standard input."""
        transport: Any = self.transport
        self._group = transport.pid
        transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        """Collect the standard output."""
        self._output += data
        if len(self._output) > _MAX_OUTPUT:
            self._fail("prints too much")
            self._kill(None)

    def errReceived(self, data: bytes) -> None:
        """Keep the end of the standard error."""
        self._complaint = (self._complaint + data)[-_MAX_COMPLAINT:]

    def processEnded(self, reason: Failure) -> None:
        """Fire with the result, now that the pipes are closed."""
        self._group = None
        status = getattr(reason.value, "exitCode", None)
        if status == 0:
            if not self.ended.called:
                self.ended.callback(bytes(self._output))
            return
        how = f"exit status {status}" if status is not None else f"ended by signal {getattr(reason.value, 'signal', '?')}"
        self._fail(": ".join(filter(None, (how, complaint(bytes(self._complaint), self._plugin)))))

    def late(self, outcome: Any, seconds: float) -> Any:
        """Replace the failure of a run that has timed out by a readable error."""
        if isinstance(outcome, Failure) and outcome.check(CancelledError):
            raise DiscoveryError(f"{self._plugin.where}: {self._plugin.command}: not finished after {seconds:g} s")
        return outcome

    def _fail(self, problem: str) -> None:
        if not self.ended.called:
            self.ended.errback(DiscoveryError(f"{self._plugin.where}: {self._plugin.command}: {problem}"))

    def _kill(self, _: object) -> None:
        """Kill the program and all processes that it has started, and close the pipes."""
        transport: Any = self.transport
        if transport is None or self._group is None:
            return
        # Until the launcher has created the group, it has no process.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._group, signal.SIGKILL)
        with contextlib.suppress(ProcessExitedAlready):
            transport.signalProcess("KILL")
        # A process that has left the group may keep the pipes open indefinitely.
        transport.loseConnection()


def complaint(printed: bytes, plugin: ExecPlugin) -> str:
    """Return the last line that a plugin printed to its standard error, without anything that could be a secret."""
    lines = printed.decode("utf-8", "replace").strip().splitlines()
    text = lines[-1] if lines else ""
    secrets = [value for _, value in plugin.environ] + [_argument_value(each) for each in plugin.arguments]
    # Replacing shorter values would damage ordinary words.
    for secret in sorted((each for each in secrets if len(each) >= 4), key=len, reverse=True):
        text = text.replace(secret, "...")
    return one_line(_LONG_WORD.sub("...", text))


def _argument_value(argument: str) -> str:
    """Return the part of an argument that may be a secret; the name of an option is none."""
    return argument.partition("=")[2] if argument.startswith("-") else argument


def read_credential(output: bytes, plugin: ExecPlugin) -> IssuedCredential:
    """
    Parse the ExecCredential (a JSON object) that a plugin printed. Pure.

    :raise DiscoveryError: the output is not valid, or has no credentials.
    """
    try:
        return _issued(json.loads(output), plugin)
    except ConfigError as error:
        raise DiscoveryError(error.problem) from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        # Without the cause: it contains the output.
        raise DiscoveryError(f"{plugin.where}: {plugin.command}: printed no ExecCredential") from None


def _issued(credential: Any, plugin: ExecPlugin) -> IssuedCredential:
    if credential["kind"] != "ExecCredential" or credential["apiVersion"] != plugin.api_version:
        raise DiscoveryError(f"{plugin.where}: {plugin.command}: printed no ExecCredential of {plugin.api_version}")
    status = credential["status"]
    token, certificate, key = (status.get(name) or "" for name in ("token", "clientCertificateData", "clientKeyData"))
    if not token and not (certificate and key):
        raise DiscoveryError(f"{plugin.where}: {plugin.command}: printed neither a token nor a certificate with its key")
    printed = f"{plugin.where}: output of {plugin.command}"
    client = check_client(certificate.encode("ascii"), key.encode("ascii"), printed) if certificate and key else None
    expires = status.get("expirationTimestamp")
    return IssuedCredential(bearer(token, printed) if token else "", client, None if not expires else _timestamp(expires))


def _timestamp(text: str) -> float:
    """Return a time of RFC 3339 in seconds since the epoch."""
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
