"""
The locator of Prometheus servers in Kubernetes: the endpoints of a service, or pods by label.

It processes lists of objects; the other modules of this package, from the bottom: `objects` parses objects; `kubeconfig`, `pem`,
`user` and `cluster_access` read credentials, `exec_plugin` runs a program that issues them, `credentials` keeps them current;
`client` sends requests, `collections` lists, `watch` watches for changes, line by line from `stream`; `changes` reports a change
again if the look-up after it failed.

# Note [Listing and watching]

A look-up always lists. The watch keeps no copy of the objects: it only triggers a look-up at once instead of at the next
interval. So nothing depends on a stream: if it is cut, late or forbidden, the look-ups at intervals go on as before. A list of
one service's slices costs an API server less than one client of kubectl.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from txaio.tx import make_logger
from zope.interface import implementer

from mpp.core.errors import ConfigError, DiscoveryError
from mpp.core.interfaces import IVerifiedLocator
from mpp.core.model import DiscoveredBackend
from mpp.discovery.http_api.look_ups import PendingLookups
from mpp.discovery.kubernetes.changes import ReportedChanges
from mpp.discovery.kubernetes.client import KubeClient, RequestRejected, connecting
from mpp.discovery.kubernetes.cluster_access import SERVICE_ACCOUNT, read_access
from mpp.discovery.kubernetes.collections import Collection, Collections, list_all, list_version
from mpp.discovery.kubernetes.credentials import ClusterCredentials
from mpp.discovery.kubernetes.exec_plugin import run_plugin
from mpp.discovery.kubernetes.objects import discovered, one_line
from mpp.discovery.kubernetes.settings import KubeSettings
from mpp.discovery.kubernetes.watch import ResourceWatch

_log = make_logger()

SELECTOR = "--kube-pod-label-selector"
_BAD_REQUEST = 400

# RFC 1123 label: the syntax of a namespace, and a superset of the syntax of a service name.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9-]{1,63}")


def check(kube: KubeSettings, environ: Mapping[str, str], *, insecure: bool = False, account: str = SERVICE_ACCOUNT) -> None:
    """
    Reject settings that can never work; reads the files, but sends no request.

    :param environ: mpp's environment.
    :raise ConfigError: an option has an invalid value, or the kubeconfig or the service account cannot be used.
    """
    if kube.service_name and not _LABEL.fullmatch(kube.service_name):
        raise ConfigError("--kube-service-name", f"{kube.service_name!r} is not the name of a service, such as prometheus")
    if kube.namespace and not _LABEL.fullmatch(kube.namespace):
        raise ConfigError("--kube-namespace", f"{kube.namespace!r} is not the name of a namespace, such as monitoring")
    if not _is_port(kube.port):
        raise ConfigError("--kube-port", f"{kube.port!r} is neither a port number (1 to 65535) nor the name of a port")
    read_access(kube, environ, insecure=insecure, account=account)


def _is_port(text: str) -> bool:
    if re.fullmatch(r"[0-9]{1,5}", text):
        return 1 <= int(text) <= 65535
    return not text or _PORT_NAME.fullmatch(text) is not None


def build(
    kube: KubeSettings, reactor: Any, environ: Mapping[str, str], *, insecure: bool = False, account: str = SERVICE_ACCOUNT
) -> KubeLocator:
    """
    Return the locator for the program. Opens and reads nothing yet.

    :param environ: mpp's environment: in a pod it holds the API server's address, and credential plugins get it.
    """
    # Resolve the paths now: twistd may change the current directory before they are read.
    kubeconfig = os.pathsep.join(os.path.abspath(path) for path in kube.kubeconfig.split(os.pathsep) if path)
    kube = evolve(kube, kubeconfig=kubeconfig)
    credentials = ClusterCredentials(
        lambda: read_access(kube, environ, insecure=insecure, account=account),
        lambda plugin: run_plugin(plugin, reactor, environ),
        clock=reactor,
        wall=time.time,
    )
    client = KubeClient(credentials, lambda access: connecting(reactor, access))
    return KubeLocator(kube, client, clock=reactor, rng=random.Random())


@implementer(IVerifiedLocator)
class KubeLocator:
    """
    A locator of backends in Kubernetes, listed at every look-up, see Note [Listing and watching].

    :param kube: the settings, which `check` has accepted.
    :param client: sends requests to the API server.
    """

    def __init__(
        self, kube: KubeSettings, client: KubeClient, *, clock: IReactorTime, rng: random.Random, name: str = "kubernetes"
    ) -> None:
        self.name = name
        self.sought, self.explicit = "", False
        self._kube = kube
        self._client = client
        self._sources = Collections(client, kube, clock)
        self._resource_watch = ResourceWatch(client, self._sources, port=kube.port, clock=clock, rng=rng)
        self._changes = ReportedChanges(clock, rng)
        self._looking = PendingLookups()
        self._known_problems: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        if self._kube.service_name:
            return f"<KubeLocator service {self._kube.service_name!r}>"
        return f"<KubeLocator pods {self._kube.pod_label_selector!r}>"

    def locate(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
        """
        List the backends, in the order of the pods' names.

        :return Deferred(tuple): fails with `DiscoveryError` when the API server does not respond or rejects the request, and when
            it lists objects of which none is usable, because then probably an option is wrong.
        """
        return self._looking.add(Deferred.fromCoroutine(self._locate()))

    async def _locate(self) -> tuple[DiscoveredBackend, ...]:
        count, listed = self._changes.count, False
        try:
            found = await self._list()
            listed = True
        finally:
            self._changes.looked(count, listed=listed)
        return found

    async def _list(self) -> tuple[DiscoveredBackend, ...]:
        try:
            collection, listing = await self._sources.first(list_all)
        except RequestRejected as error:
            raise self._refused(error) from None
        readings = [collection.read(item, self._kube.port) for item in listing.items]
        problems = tuple(problem for parsed in readings for problem in parsed.problems)
        self._log_problems(problems)
        found = discovered((each for parsed in readings for each in parsed.candidates), self._kube)
        if not found:
            self._sources.doubt()
        if problems and not found:
            raise DiscoveryError(f"{collection.query.what}: {problems[0]}")
        self.sought = self._described(collection)
        return found

    def _described(self, collection: Collection) -> str:
        kube = self._kube
        wanted = f"of the service {kube.service_name!r}" if kube.service_name else f"with the labels {kube.pod_label_selector!r}"
        return f"{collection.query.what} {wanted}" + (f", port {kube.port!r}" if kube.port else "")

    def verify(self) -> Deferred[None]:
        """
        Ask the API server whether it accepts the label selector for pods, because only the server can parse it.

        :return Deferred(None): see `IVerifiedLocator`.
        """
        return self._looking.add(Deferred.fromCoroutine(self._verify()))

    async def _verify(self) -> None:
        if self._kube.service_name:
            # A service's name becomes a selector that every server understands, see `check`.
            return
        try:
            await self._sources.first(list_version)
        except RequestRejected as error:
            if self._is_about_selector(error):
                raise ConfigError(SELECTOR, self._selector_problem(error)) from None
        except DiscoveryError:
            return

    def _refused(self, error: RequestRejected) -> DiscoveryError:
        return DiscoveryError(f"{SELECTOR}: {self._selector_problem(error)}") if self._is_about_selector(error) else error

    def _is_about_selector(self, error: RequestRejected) -> bool:
        return error.status == _BAD_REQUEST and error.by_kubernetes and not self._kube.service_name

    def _selector_problem(self, error: RequestRejected) -> str:
        words = f": {error.error_text}" if error.error_text else ""
        return f"the API server rejects {one_line(self._kube.pod_label_selector)!r}{words}"

    def start(self, changed: Callable[[], None]) -> None:
        """Start to watch for changes of the objects, see `ILocator.start`."""
        self._changes.start(changed)
        self._resource_watch.start(self._changes.report)

    def stop(self) -> None:
        """Stop watching, cancel the look-ups in progress, and close all connections."""
        self._resource_watch.stop()
        self._changes.stop()
        self._looking.cancel()
        self._client.stop()

    def _log_problems(self, problems: tuple[str, ...]) -> None:
        for problem in dict.fromkeys(problems):
            if problem not in self._known_problems:
                _log.warn("object of Kubernetes skipped: {problem}", problem=problem)
        self._known_problems = frozenset(problems)
