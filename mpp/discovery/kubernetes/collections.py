"""
The collections of Kubernetes objects in which Prometheus servers are searched: which ones are tried, and how all pages of one are
listed. Knows URLs; `mpp.discovery.kubernetes.objects` parses the objects.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from attrs import evolve, field, frozen
from twisted.internet.interfaces import IReactorTime

from mpp.core.errors import DiscoveryError
from mpp.discovery.kubernetes.client import APIQuery, KubeClient, RequestRejected
from mpp.discovery.kubernetes.objects import Read, read_endpoints, read_pod, read_slice
from mpp.discovery.kubernetes.settings import KubeSettings

# A slice of the usual 100 endpoints has 50 KB, a pod has 15 KB: some MB at most for a page, and one page is usual.
PAGE = 100
# Continue tokens live five minutes: normally none expires twice within a look-up.
_RESTARTS = 2
# Seconds until a rejected collection is tried again: roles may be corrected while mpp runs, but not every 10 s.
_REFUSED_S = 300.0

_NOT_SERVED = 404
_FORBIDDEN = 403
_GONE = 410

T = TypeVar("T")

# Note [Refused slices]
#
# Endpoints are the substitute for EndpointSlices where the cluster does not serve slices, or mpp may not read them. But slices
# that are written by hand have no Endpoints, nor has any slice of a cluster whose Endpoints controller is off: there, an empty
# list of Endpoints would drop all servers after a single 403 or 404, such as an API server may send while it starts or while a
# role is replaced. So a collection that has been listed before is not replaced by another one: the look-up fails, and the last
# list stays in use. If it has never been listed, the refusal is forgotten while the substitute lists nothing, see
# `Collections.doubt`.


@frozen
class Collection:
    """
    A collection of the objects of one kind in one namespace.

    :ivar query: the request for all of these objects.
    :ivar read: parses one object.
    """

    query: APIQuery
    read: Read = field(eq=False)


@frozen
class Listing:
    """The objects of a collection, and the version of the collection at that moment, from which it can be watched."""

    items: tuple[Mapping[str, Any], ...]
    version: str


def collections(kube: KubeSettings, namespace: str) -> tuple[Collection, ...]:
    """Return the collections to try, the best first: pods for a label selector; EndpointSlices, then Endpoints for a service."""
    where = f"namespaces/{quote(namespace, safe='')}"
    if not kube.service_name:
        selected = {"labelSelector": kube.pod_label_selector}
        return (Collection(APIQuery(f"/api/v1/{where}/pods", selected, f"pods in namespace {namespace!r}"), read_pod),)
    of_service = {"labelSelector": f"kubernetes.io/service-name={kube.service_name}"}
    of_name = {"fieldSelector": f"metadata.name={kube.service_name}"}
    slices = f"/apis/discovery.k8s.io/v1/{where}/endpointslices"
    return (
        Collection(APIQuery(slices, of_service, f"EndpointSlices in namespace {namespace!r}"), read_slice),
        # A list of one, so that it can be watched like the others.
        Collection(APIQuery(f"/api/v1/{where}/endpoints", of_name, f"Endpoints in namespace {namespace!r}"), read_endpoints),
    )


async def list_all(client: KubeClient, collection: Collection) -> Listing:
    """
    Return all objects of a collection, from all of its pages.

    :raise DiscoveryError: the collection cannot be listed, see `KubeClient.get`.
    """
    for _ in range(_RESTARTS + 1):
        try:
            return await _pages(client, collection.query)
        except RequestRejected as error:
            if error.status != _GONE:
                raise
            gone = error
    raise gone


async def _pages(client: KubeClient, query: APIQuery) -> Listing:
    items: list[Mapping[str, Any]] = []
    following = ""
    while True:
        found, metadata = await _page(client, query, PAGE, following)
        items += found
        following = metadata.get("continue") or ""
        if not following:
            return Listing(tuple(items), str(metadata.get("resourceVersion") or ""))


async def list_version(client: KubeClient, collection: Collection) -> str:
    """Return the current version of a collection. Listing one object suffices: the version is that of the whole list."""
    _, metadata = await _page(client, collection.query, 1, "")
    version = metadata.get("resourceVersion")
    if not isinstance(version, str) or not version:
        raise DiscoveryError(f"{collection.query.what}: the list has no resourceVersion")
    return version


async def _page(
    client: KubeClient, query: APIQuery, limit: int, following: str
) -> tuple[list[Mapping[str, Any]], Mapping[str, Any]]:
    """Return the items of one page, and the list's metadata."""
    parameters = {**query.parameters, "limit": str(limit), **({"continue": following} if following else {})}
    page = await client.get(evolve(query, parameters=parameters))
    items, metadata = page.get("items"), page.get("metadata")
    # Go sometimes writes an empty list as null.
    if not isinstance(items, list | None) or not isinstance(metadata, dict):
        raise DiscoveryError(f"{query.what}: the response is no list of objects")
    return [item for item in items or [] if isinstance(item, dict)], metadata


class Collections:
    """
    The collections that a locator may list, with a memory of the ones that the API server does not have or does not let mpp read.
    """

    def __init__(self, client: KubeClient, kube: KubeSettings, clock: IReactorTime) -> None:
        self._client = client
        self._kube = kube
        self._clock = clock
        self._refused: dict[str, float] = {}
        self._listed: set[str] = set()

    async def first(self, ask: Callable[[KubeClient, Collection], Coroutine[Any, Any, T]]) -> tuple[Collection, T]:
        """
        Return the best collection that the API server has and lets mpp read, and the result of ``ask`` for it.

        :param ask: sends a request for a collection, such as `list_all`.
        :raise RequestRejected: the API server lets mpp read none of the collections (the error is about the best one that is
            forbidden, if any is), or it no longer lets mpp read one that it has listed before, see Note [Refused slices].
        :raise DiscoveryError: as raised by ``ask``.
        """
        candidates = collections(self._kube, self._kube.namespace or await self._client.namespace())
        refusals = []
        for collection in self._worth_asking(candidates):
            path = collection.query.path
            try:
                found = await ask(self._client, collection)
            except RequestRejected as error:
                if error.status not in (_NOT_SERVED, _FORBIDDEN) or len(candidates) == 1:
                    raise
                if path in self._listed:
                    self._refused.clear()
                    raise
                refusals.append(error)
                self._refused[path] = self._clock.seconds()
            else:
                self._listed.add(path)
                return collection, found
        # If no collection is available, none is remembered: a correction must take effect at once.
        self._refused.clear()
        raise next((error for error in refusals if error.status == _FORBIDDEN), refusals[-1])

    def doubt(self) -> None:
        """Forget which collections were refused, because the one that was asked instead lists nothing."""
        self._refused.clear()

    def _worth_asking(self, candidates: tuple[Collection, ...]) -> list[Collection]:
        now = self._clock.seconds()
        known = {path for path, at in self._refused.items() if now - at < _REFUSED_S}
        return [each for each in candidates if each.query.path not in known] or list(candidates)
