"""
A client of the Kubernetes API with the current credentials. Knows the API's error responses and the handling of a 401; knows
neither the purpose of requests nor the meaning of responses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from attrs import field, frozen
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse
from txaio.tx import make_logger

from mpp.core.errors import DiscoveryError
from mpp.discovery.http_api.json_api import APIResponse, JSONClient
from mpp.discovery.kubernetes.cluster_access import ClusterAccess
from mpp.discovery.kubernetes.credentials import ClusterCredentials

_log = make_logger()

_HINTS = {
    401: " (the credentials of --kubeconfig or of the pod's service account are not accepted)",
    403: " (see contrib/kubernetes/rbac.yaml)",
}


class RequestRejected(DiscoveryError):
    """
    The error for a response of the API server that is not the expected one.

    :param answer: the response.
    :param what: what was requested, at the beginning of the message.
    :ivar by_kubernetes: whether the response comes from an API server, and not from a proxy or a TLS port that got plain HTTP.
    """

    def __init__(self, answer: APIResponse, what: str) -> None:
        hint = _HINTS.get(answer.status, "")
        super().__init__(f"{answer.rejected(what)}{hint}")
        self.status = answer.status
        self.error_text = answer.error_text()
        self.by_kubernetes = _is_status(answer)


@frozen
class APIQuery:
    """
    A request for Kubernetes objects.

    :ivar path: the path below the server's URL, such as ``/api/v1/namespaces/monitoring/pods``.
    :ivar what: the requested objects in words, for messages to the operator.
    """

    path: str
    parameters: Mapping[str, str] = field(factory=dict)
    what: str = ""

    def url(self, server: str) -> str:
        """Return the whole URL of the request."""
        # Not "+" for a blank: both are correct, but not every proxy on the way understands both.
        return f"{server}{self.path}?{urlencode(self.parameters, quote_via=quote, safe='')}"


class KubeClient:
    """
    A client of one API server.

    :param credentials: returns the URL of the API server and the credentials for it, which may change.
    :param connect: returns a `JSONClient` for them; called again when certificates or headers for impersonation have changed.
    """

    def __init__(self, credentials: ClusterCredentials, connect: Callable[[ClusterAccess], JSONClient]) -> None:
        self._credentials = credentials
        self._connect = connect
        self._access: ClusterAccess | None = None
        self._apis: list[JSONClient] = []

    async def namespace(self) -> str:
        """Return the namespace of the current context of the kubeconfig, or else of the pod in which mpp runs."""
        return (await self._credentials.current()).namespace

    async def get(self, query: APIQuery) -> dict[str, Any]:
        """
        Request and return an object.

        :raise RequestRejected: the response's status is not 200.
        :raise DiscoveryError: there is no response, its body is no JSON object, or the credentials cannot be read.
        """
        answer = await self._authorized(query, self._whole)
        if answer.status != 200:
            raise RequestRejected(answer, query.what)
        found = answer.json()
        if not isinstance(found, dict):
            raise DiscoveryError(f"{answer.url}: the response is no object")
        return found

    async def open(self, query: APIQuery) -> IResponse:
        """
        Open a response that is an endless stream; it has no time limit.

        :return: the response, whose body the caller has to read. Fails like `get`.
        """
        opened: IResponse | APIResponse = await self._authorized(query, self._opened)
        if isinstance(opened, APIResponse):
            raise RequestRejected(opened, query.what)
        return opened

    def stop(self) -> None:
        """Close all connections, and kill a credential plugin that is running. The next request opens new connections."""
        self._credentials.stop()
        apis, self._apis, self._access = self._apis, [], None
        for api in apis:
            _close(api)

    async def _authorized(self, query: APIQuery, send: Callable[[JSONClient, str, dict[str, str]], Any]) -> Any:
        """Send a request; send it again once if the credentials were rejected and there are other ones."""
        access = await self._credentials.current()
        answer = await send(self._api(access), query.url(access.server), _headers(access))
        if not (isinstance(answer, APIResponse) and answer.status == 401):
            return answer
        self._credentials.doubt(access)
        renewed = await self._credentials.current()
        if renewed == access:
            return answer
        return await send(self._api(renewed), query.url(renewed.server), _headers(renewed))

    async def _whole(self, api: JSONClient, url: str, headers: dict[str, str]) -> APIResponse:
        return await api.request("GET", url, headers=headers)

    async def _opened(self, api: JSONClient, url: str, headers: dict[str, str]) -> IResponse | APIResponse:
        response = await api.open("GET", url, headers=headers)
        if response.code == 200:
            return response
        return await api.read(url, response, hide=tuple(filter(None, [headers.get("Authorization", "").partition(" ")[2]])))

    def _api(self, access: ClusterAccess) -> JSONClient:
        """Return the client for an API server and credentials; the previous client's requests may still complete."""
        last = self._access
        if last is None or (last.tls, last.impersonation) != (access.tls, access.impersonation):
            self._apis.append(self._connect(access))
            while len(self._apis) > 2:
                _close(self._apis.pop(0))
        self._access = access
        return self._apis[-1]


def connecting(reactor: Any, access: ClusterAccess) -> JSONClient:
    """Return a client that connects to the API server with its TLS policy, and sends the headers for impersonation."""
    return JSONClient.connecting(reactor, access.tls, access.impersonation)


def _headers(access: ClusterAccess) -> dict[str, str]:
    headers = {"Accept": "application/json"}
    if access.authorization:
        headers["Authorization"] = access.authorization
    return headers


def _is_status(answer: APIResponse) -> bool:
    try:
        found = answer.json()
    except DiscoveryError:
        return False
    return isinstance(found, dict) and found.get("kind") == "Status"


def _close(api: JSONClient) -> None:
    api.close().addErrback(_not_closed)


def _not_closed(failure: Failure) -> None:
    _log.failure("closing the connections to the Kubernetes API server failed, some may stay open", failure)
