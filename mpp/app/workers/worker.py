"""
A worker process: the program that serves clients on inherited sockets, with the Selection that the parent publishes.

A worker ends when its parent ends. It ignores signals, because a terminal or a service manager sends them to all processes, and
the parent already handles them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from typing import Any

from twisted.internet import tcp
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogBeginner
from txaio.tx import make_logger, set_global_log_level
from zope.interface import implementer

from mpp.admin.base_page import PageResponse
from mpp.app.client_side import ParentLink, Role
from mpp.app.file_limit import raise_file_limit
from mpp.app.logs import format as logs
from mpp.app.program import Program
from mpp.app.workers.accept_rotation import AcceptRotation, ConnectionCounts
from mpp.app.workers.codec import familiar_in, familiar_out, unpacked
from mpp.app.workers.ipc import IPCChannel, NotificationHandlers
from mpp.app.workers.metrics_sum import Families, added_up, families
from mpp.app.workers.process import COUNTS_DESCRIPTOR, FIRST_SOCKET, LINE_DESCRIPTOR
from mpp.app.workers.remote_selections import RemoteSelections
from mpp.app.workers.shared_sockets import SocketAdopter
from mpp.cache.store import Flushed
from mpp.core.errors import ConfigError
from mpp.core.http.instance import Instance
from mpp.core.settings import Reloaded, Settings
from mpp.security.web_config.service import Handover

_log = make_logger()

# From Linux' ``sys/prctl.h``.
_PR_SET_PDEATHSIG = 1
# Seconds to wait for a page from the parent, which itself waits a second for the other workers.
_PAGE_S = 5.0


@implementer(ILogObserver)
class Worker:
    """
    The program of one worker process, controlled by messages from the parent.

    :param number: the index of the worker.
    :param sockets: the number of inherited listening sockets.
    """

    def __init__(self, reactor: Any, number: int, sockets: int) -> None:
        self._reactor = reactor
        self._number = number
        self._remote = RemoteSelections(reactor.seconds)
        self._program: Program | None = None
        self._stopping = False
        self._adopter = SocketAdopter(reactor, list(range(FIRST_SOCKET, FIRST_SOCKET + sockets)))
        self._guarded: list[Any] = []
        self._rotation: AcceptRotation | None = None
        words: NotificationHandlers = {
            "boot": self._boot,
            "settings": self._reconfigure,
            "renew": self._refresh_credentials,
            "certificates": self._reload_certificates,
            "web_config": self._secure,
            "familiar": self._familiar,
            "known": self._remote.known.learn,
            "selection": self._remote.published,
            "heard": self._remote.heard,
            "coverage": self._remote.covered,
            "rules": self._remote.ruled,
            "suspect": self._remote.suspects.add,
            "drain": self._drain,
            "cut": self._cut,
        }
        self.channel = IPCChannel(
            words, {"samples": self._samples, "flush": self._flush_cache}, reactor, _exit, self._adopter.descriptors.append
        )
        self._remote.channel = self.channel

    def begin(self) -> None:
        """Open the IPC channel to the parent, from which the settings and the Selections arrive."""
        self._reactor.adoptStreamConnection(LINE_DESCRIPTOR, socket.AF_UNIX, Factory.forProtocol(lambda: self.channel))
        os.close(LINE_DESCRIPTOR)

    def __call__(self, event: LogEvent) -> None:
        """Send a log event to the parent, which logs it."""
        level = event.get("log_level", LogLevel.info)
        if level is LogLevel.debug and not str(event.get("log_namespace", "")).startswith("mpp"):
            return
        record = {**logs.fields(event), "worker": self._number}
        self.channel.notify("log", level.name, str(event.get("log_namespace", "mpp")), record)

    # Notifications from the parent

    def _boot(self, settings: str, token: str, handover: str) -> None:
        try:
            self._start(_decoded(settings), Instance(token), unpacked(handover))
        except ConfigError as error:
            _log.error("worker {number} cannot start, and is replaced: {error}", number=self._number, error=str(error))
            self.channel.close()

    def _start(self, settings: Settings, instance: Instance, handover: Handover | None) -> None:
        raise_file_limit()
        parent = ParentLink(self._remote.bound_to, self._remote.addresses, self._fetch, self._request_flush, handover)
        role: Role[Program] = Role(instance, self._adopter, reload=lambda _: self._request_reload, parent=parent)
        program = self._program = Program(settings, self._reactor, role)
        if program.web_config is not None:
            program.web_config.passwords.share = lambda familiar: self.channel.notify("familiar", *familiar_out(familiar))
        program.sites.kube_probes.report = lambda path: self.channel.notify("kube_probe", path)
        program.privilegedStartService()
        self._join_rotation(program, settings.workers)
        program.startService()
        self.channel.notify("started")

    def _reconfigure(self, text: str) -> None:
        program = self._program
        if program is None or self._stopping:
            return
        try:
            program.apply(program.prepare(_decoded(text)))
        except ConfigError as error:
            # The parent has applied the same settings. If that fails here, this worker ends and is replaced.
            text = "worker {number} could not apply new settings, and is replaced: {error}"
            _log.error(text, number=self._number, error=str(error))
            self._drain()
        else:
            self._guard()

    def _refresh_credentials(self) -> None:
        if self._program is not None:
            self._program.backends.credentials.refresh()

    def _reload_certificates(self) -> None:
        if self._program is not None:
            self._program.reload_certificates()

    def _secure(self, text: str) -> None:
        if self._program is None or self._program.web_config is None or self._stopping:
            return
        try:
            self._program.web_config.adopt(unpacked(text))
        except ConfigError as error:
            # The worker must not continue with the former web configuration: a user may have been removed.
            text = "worker {number} could not apply a new web configuration, and is replaced: {error}"
            _log.error(text, number=self._number, error=str(error))
            self._drain()

    def _familiar(self, *credentials: str) -> None:
        if self._program is not None and self._program.web_config is not None:
            self._program.web_config.passwords.learn(familiar_in(credentials))

    def _join_rotation(self, program: Program, workers: int) -> None:
        channels = program.channels
        counts = ConnectionCounts(COUNTS_DESCRIPTOR, workers)
        turns = AcceptRotation(counts, self._number, lambda: len(channels), self._reactor)
        self._rotation = turns
        self._guard()
        channels.left.append(turns.update)
        turns.update()

    def _guard(self) -> None:
        assert self._program is not None and self._rotation is not None
        ports = [each.port for each in self._program.listeners.open]
        for port in ports:
            if isinstance(port, tcp.Port) and port not in self._guarded:
                self._rotation.guard(port)
        self._guarded = ports

    def _drain(self) -> None:
        if not self._stopping and self._program is not None:
            self._stopping = True
            stopped = self._program.stopService()
            # After the sockets were closed, for which the last waiting connections are accepted.
            if self._rotation is not None:
                self._rotation.leave()
            stopped.addBoth(lambda _: self._reactor.stop())

    def _cut(self) -> None:
        if self._program is None:
            self._reactor.stop()
            return
        self._drain()
        self._program.cut_short()

    # Requests from and to the parent

    def _samples(self) -> Deferred[Families]:
        return succeed([] if self._program is None else added_up(families(self._program.metrics.registry.collect())))

    def _flush_cache(self) -> Deferred[int]:
        cache = None if self._program is None else self._program.backends.cache
        return succeed(0 if cache is None else cache.flush())

    def _fetch(self, page: str, *how: object) -> Deferred[PageResponse]:
        return self.channel.request(page, *how, timeout=_PAGE_S).addCallback(_page)

    def _request_reload(self) -> Deferred[Reloaded]:
        asked = self.channel.request("reload")
        asked.addErrback(lambda _: [(), ("the process that reads the configuration does not respond",)])
        return asked.addCallback(lambda result: Reloaded(*map(tuple, result)))

    def _request_flush(self) -> Deferred[Flushed]:
        asked = self.channel.request("flush")
        asked.addErrback(lambda _: [0, "the process that supervises the workers does not respond"])
        return asked.addCallback(lambda result: Flushed(*result))


def _page(response: list[Any]) -> PageResponse:
    code, content_type, body = response
    return int(code), content_type.encode(), body.encode()


def _decoded(text: str) -> Settings:
    # The text comes from the parent, which `unpacked` requires.
    settings: Settings = unpacked(text)
    set_global_log_level("debug" if settings.verbose else settings.log_level)
    return settings


def _exit() -> None:
    """End the process at once, because the parent has ended."""
    sys.stderr.flush()
    os._exit(0)


def bind_to(parent: int) -> None:
    """Let the kernel end this process when the parent ends (Linux only; elsewhere the closed IPC channel has this effect)."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def run(reactor: Any, number: int, parent: int, sockets: int) -> None:
    """
    Run this process as a worker until it is stopped.

    :param number: the index of the worker.
    :param parent: the process id of the parent.
    :param sockets: the number of inherited listening sockets.
    """
    bind_to(parent)
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    worker = Worker(reactor, number, sockets)
    globalLogBeginner.beginLoggingTo([worker], redirectStandardIO=False)
    worker.begin()
    reactor.run(installSignalHandlers=False)
