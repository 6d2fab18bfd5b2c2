"""
The current credentials for a Kubernetes API server: decides when the files are read and the credential plugin is run again.
`mpp.discovery.kubernetes.cluster_access` reads the files, `mpp.discovery.kubernetes.exec_plugin` runs plugins.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from mpp.core.errors import ConfigError, DiscoveryError
from mpp.discovery.kubernetes.cluster_access import ClusterAccess
from mpp.discovery.kubernetes.exec_plugin import IssuedCredential
from mpp.discovery.kubernetes.user import ExecPlugin

# Bound tokens live an hour, and are replaced well before; client-go reads them every minute, too.
REREAD_S = 60.0


class ClusterCredentials:
    """
    The holder of the current URL of the API server and the current credentials for it.

    :param read: reads both from the files; raises ConfigError if that fails.
    :param run: runs a credential plugin: a program that issues credentials.
    :param wall: returns the time in seconds since the epoch, by which credentials expire.
    """

    def __init__(
        self,
        read: Callable[[], ClusterAccess],
        run: Callable[[ExecPlugin], Deferred[IssuedCredential]],
        *,
        clock: IReactorTime,
        wall: Callable[[], float],
    ) -> None:
        self._read = read
        self._run = run
        self._clock = clock
        self._wall = wall
        self._access: ClusterAccess | None = None
        self._read_at = 0.0
        self._issued: tuple[ExecPlugin, IssuedCredential] | None = None
        self._running: Deferred[None] | None = None
        self._waiting: list[Deferred[IssuedCredential]] = []

    async def current(self) -> ClusterAccess:
        """
        Return the API server's URL and the credentials for it, including the ones that a plugin has issued.

        :raise DiscoveryError: the files or the plugin cannot be used.
        """
        access = self._files()
        if access.plugin is None:
            return access
        issued = await self._issued_by(access.plugin)
        client = issued.client or access.tls.client
        return evolve(access, authorization=issued.authorization, tls=evolve(access.tls, client=client))

    def doubt(self, used: ClusterAccess) -> None:
        """Discard credentials that the server rejected (401): for the next request they are read or issued again."""
        self._access = None
        if self._issued is not None and self._issued[1].authorization == used.authorization:
            self._issued = None

    def stop(self) -> None:
        """Kill the credential plugin if it is running, and discard all credentials."""
        if self._running is not None:
            self._running.cancel()
        self._access = self._issued = None

    def _files(self) -> ClusterAccess:
        now = self._clock.seconds()
        if self._access is None or now - self._read_at >= REREAD_S:
            try:
                self._access = self._read()
            except ConfigError as error:
                self._access = None
                raise DiscoveryError(str(error)) from None
            self._read_at = now
        return self._access

    def _issued_by(self, plugin: ExecPlugin) -> Deferred[IssuedCredential]:
        """Return the plugin's credentials if they are valid; otherwise run it, once for all concurrent callers."""
        waiter: Deferred[IssuedCredential] = Deferred(self._leave)
        if self._issued is not None and self._issued[0] == plugin and not self._expired(self._issued[1]):
            waiter.callback(self._issued[1])
            return waiter
        self._waiting.append(waiter)
        if self._running is None:
            run = self._run(plugin)
            self._running = run.addCallbacks(self._got, self._failed, callbackArgs=(plugin,))
            if run.called:
                self._running = None
        return waiter

    def _expired(self, issued: IssuedCredential) -> bool:
        return issued.expires is not None and self._wall() >= issued.expires

    def _leave(self, waiter: Deferred[IssuedCredential]) -> None:
        # The program is not killed: the next look-up will need its credentials.
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def _got(self, issued: IssuedCredential, plugin: ExecPlugin) -> None:
        self._running, self._issued = None, (plugin, issued)
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(issued)

    def _failed(self, failure: Failure) -> None:
        self._running = None
        waiting, self._waiting = self._waiting, []
        error = DiscoveryError("stopped") if failure.check(CancelledError) else failure.value
        for waiter in waiting:
            waiter.errback(error)
