"""
A Kubernetes API server in memory: state, and a resource that speaks the real protocol about it.

Served are discovery documents, lists with pages, and watches, of Pods, Endpoints and EndpointSlices; enough for kubectl. What
it asks of its clients, a real one does as well: credentials, well-formed selectors, versions that it still knows.
"""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define, evolve, field, frozen
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from mpp.discovery.http_api.json_api import JSONClient
from mpp.discovery.kubernetes.client import KubeClient
from mpp.discovery.kubernetes.cluster_access import ClusterAccess
from mpp.discovery.kubernetes.credentials import ClusterCredentials
from mpp.discovery.kubernetes.exec_plugin import IssuedCredential
from mpp.discovery.kubernetes.locator import KubeLocator
from mpp.discovery.kubernetes.settings import KubeSettings
from mpp.discovery.kubernetes.user import ExecPlugin
from tests.fake_https import FakeAuthority, name_of

SERVED: Mapping[str, tuple[str, str]] = {
    "pods": ("v1", "Pod"),
    "endpoints": ("v1", "Endpoints"),
    "endpointslices": ("discovery.k8s.io/v1", "EndpointSlice"),
}
"""For each resource its API version and its kind."""

REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 410: "Expired", 503: "ServiceUnavailable"}
_CREATED = "2024-05-01T10:00:00Z"

Object = dict[str, Any]


@frozen
class Seen:
    """
    A request, as it came in.

    :ivar user: who was authenticated, before any impersonation.
    """

    path: str
    query: Mapping[str, str]
    user: str
    fields: Mapping[str, tuple[str, ...]] = field(factory=dict)

    @property
    def verb(self) -> str:
        """What it is called in roles."""
        return "watch" if self.query.get("watch") in ("1", "true") else "list"


class Refusal(Exception):
    """What is answered instead; the message is the server's words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    def object(self) -> Object:
        """Give the Status object."""
        return {
            **{"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": str(self)},
            **{"reason": REASONS.get(self.status, ""), "code": self.status},
        }


# Selectors


@frozen
class Selector:
    """A label selector: what every requirement asks of an object's labels."""

    requirements: tuple[Callable[[Mapping[str, str]], bool], ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether all requirements are met."""
        return all(requirement(labels) for requirement in self.requirements)


_KEY = r"(?:[A-Za-z0-9.-]{1,253}/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"
_EQUALITY = re.compile(rf"({_KEY})\s*(==?|!=)\s*({_VALUE})")
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")


def parse_selector(text: str) -> Selector:
    """Read a label selector; what is none is refused in the server's words."""
    parts = [part.strip() for part in re.split(r",(?![^()]*\))", text)] if text.strip() else []
    return Selector(tuple(map(_requirement, parts)))


def _requirement(part: str) -> Callable[[Mapping[str, str]], bool]:
    if match := _EQUALITY.fullmatch(part):
        key, operator, value = match.groups()
        return (lambda labels: labels.get(key) != value) if operator == "!=" else (lambda labels: labels.get(key) == value)
    if match := _SET.fullmatch(part):
        key, operator = match[1], match[2]
        values = {value.strip() for value in match[3].split(",")}
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if match := _EXISTS.fullmatch(part):
        negated, key = match.groups()
        return lambda labels: (key in labels) is not bool(negated)
    raise Refusal(400, f"unable to parse requirement: found {part!r}, expected: identifier")


# Objects


def endpoint(address: str, name: str, *, conditions: Object | None = None, uid: str | None = None) -> Object:
    """Make an endpoint of a slice; ready, unless the conditions say otherwise."""
    target = {"kind": "Pod", "namespace": "monitoring", "name": name, "uid": uid or f"uid-{name}"}
    return {
        **{"addresses": [address], "nodeName": "node-1", "targetRef": target},
        "conditions": {"ready": True, "serving": True, "terminating": False} if conditions is None else conditions,
    }


def endpoint_slice(
    name: str,
    endpoints: Sequence[Object],
    *,
    service: str = "prometheus",
    ports: Sequence[Object] | None = None,
    family: str = "IPv4",
) -> Object:
    """Make an EndpointSlice."""
    default = [{"name": "http-web", "port": 9090, "protocol": "TCP"}, {"name": "reloader-web", "port": 8080, "protocol": "TCP"}]
    labels = {"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
    return {
        "metadata": {"name": name, "namespace": "monitoring", "labels": labels},
        **{"addressType": family, "endpoints": list(endpoints), "ports": default if ports is None else list(ports)},
    }


def endpoints_object(name: str, subsets: Sequence[Object]) -> Object:
    """Make an Endpoints object."""
    return {"metadata": {"name": name, "namespace": "monitoring", "labels": {}}, "subsets": list(subsets)}


def pod(
    name: str, address: str, *, ready: bool = True, phase: str = "Running", labels: Mapping[str, str] | None = None
) -> Object:
    """Make a Pod of Prometheus."""
    message = {} if ready else {"message": "containers with unready status: [prometheus]", "reason": "ContainersNotReady"}
    return {
        "metadata": {
            "name": name,
            "namespace": "monitoring",
            "uid": f"uid-{name}",
            "labels": dict(labels or {"app": "prometheus"}),
        },
        "spec": {"containers": [{"name": "prometheus", "ports": [{"name": "web", "containerPort": 9090, "protocol": "TCP"}]}]},
        "status": {
            **{"phase": phase, "podIP": address, "podIPs": [{"ip": address}]},
            "conditions": [{"type": "Ready", "status": "True" if ready else "False", **message}],
        },
    }


# The server


@frozen
class Event:
    """A change of one object; ``before`` is None for a new one, ``after`` for one that is gone."""

    version: int
    resource: str
    before: Object | None
    after: Object | None


@define(eq=False)
class Stream:
    """An open watch."""

    request: Request
    resource: str
    namespace: str
    selector: Selector
    fields: Mapping[str, str]
    bookmarks: bool = False
    timeout: Any = None

    def wants(self, item: Object | None) -> bool:
        """Tell whether the watch is about an object."""
        return item is not None and _selected(item, self.namespace, self.selector, self.fields)

    def send(self, kind: str, item: Object) -> None:
        """Send an event."""
        self.request.write(json.dumps({"type": kind, "object": item}).encode() + b"\n")

    def tell(self, event: Event) -> None:
        """Send what a change means to this watch."""
        before, after = self.wants(event.before), self.wants(event.after)
        if after and event.after is not None:
            self.send("MODIFIED" if before else "ADDED", event.after)
        elif before and event.before is not None:
            gone = {**event.before, "metadata": {**event.before["metadata"], "resourceVersion": str(event.version)}}
            self.send("DELETED", gone)


@define
class Faults:
    """
    What is wrong with the server.

    :ivar status: answered to everything, or 0.
    :ivar hanging: nothing is answered.
    :ivar hanging_watches: watches are not answered.
    :ivar forbidden: (verb, resource) that nobody may.
    :ivar not_served: resources that this version of Kubernetes does not know.
    :ivar gone_as_status: a version that is not known any more is a status (else an event), for watches.
    """

    status: int = 0
    hanging: bool = False
    hanging_watches: bool = False
    forbidden: frozenset[tuple[str, str]] = frozenset()
    not_served: frozenset[str] = frozenset()
    gone_as_status: bool = False


class FakeKube(Resource):
    """
    The API server.

    :param clock: for the time limits of watches.
    :ivar tokens: those that are good, and whose they are. Without any tokens, users and names, everybody is welcome.
    :ivar users: good passwords by user name.
    :ivar names: common names of good client certificates; over TLS only.
    :ivar seen: all requests that were authenticated.
    :ivar refused: how many were not.
    :ivar watches: those that are open.
    """

    isLeaf = True

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__()
        self._clock = clock
        self._objects: dict[str, dict[tuple[str, str], Object]] = {resource: {} for resource in SERVED}
        self._events: list[Event] = []
        self._version = 1000
        self._compacted = 0
        self._snapshots: dict[str, list[Object]] = {}
        self._held: list[Request] = []
        self.tokens: dict[str, str] = {}
        self.users: dict[str, str] = {}
        self.names: set[str] = set()
        self.faults = Faults()
        self.seen: list[Seen] = []
        self.refused = 0
        self.watches: list[Stream] = []

    # State

    def put(self, resource: str, item: Object) -> None:
        """Create or replace an object."""
        self._version += 1
        version, kind = SERVED[resource]
        metadata = {
            "creationTimestamp": _CREATED,
            "namespace": "monitoring",
            **item["metadata"],
            "resourceVersion": str(self._version),
        }
        item = {"apiVersion": version, "kind": kind, **item, "metadata": metadata}
        key = (metadata["namespace"], metadata["name"])
        before = self._objects[resource].get(key)
        self._objects[resource][key] = item
        self._tell(Event(self._version, resource, before, item))

    def delete(self, resource: str, name: str, namespace: str = "monitoring") -> None:
        """Delete an object."""
        self._version += 1
        self._tell(Event(self._version, resource, self._objects[resource].pop((namespace, name)), None))

    def names_of(self, resource: str) -> list[str]:
        """Give the names of the objects there are."""
        return [name for _, name in self._objects[resource]]

    def _tell(self, event: Event) -> None:
        self._events.append(event)
        for watch in self.watches:
            if watch.resource == event.resource:
                watch.tell(event)

    def compact(self) -> None:
        """Forget the history: no version but the present one can be watched from or continued."""
        self._compacted = self._version
        self._snapshots.clear()

    def touch(self) -> None:
        """Have something happen that nobody here is interested in."""
        self._version += 1

    # Watches

    def bookmark(self) -> None:
        """Tell all watches that want to know it the present version."""
        for watch in filter(lambda watch: watch.bookmarks, self.watches):
            version, kind = SERVED[watch.resource]
            metadata = {"resourceVersion": str(self._version), "creationTimestamp": None}
            watch.send("BOOKMARK", {"kind": kind, "apiVersion": version, "metadata": metadata})

    def cut(self) -> None:
        """Cut all watches in the middle of a line."""
        for watch in list(self.watches):
            watch.request.write(b'{"type":"ADDED","obj')
            watch.request.channel.loseConnection()

    def end(self) -> None:
        """End all watches in order, as a server does after some time."""
        for watch in list(self.watches):
            watch.request.finish()

    def expire(self) -> None:
        """Forget the history, and tell all watches that they are too far behind."""
        self.compact()
        for watch in list(self.watches):
            watch.send("ERROR", Refusal(410, "too old resource version: 1 (2)").object())
            watch.request.finish()

    def send_raw(self, data: bytes) -> None:
        """Send some bytes to all watches."""
        for watch in self.watches:
            watch.request.write(data)

    def release(self) -> None:
        """Drop all requests that were left without an answer."""
        held, self._held = self._held, []
        for request in held:
            request.channel.loseConnection()

    @property
    def held(self) -> int:
        """How many requests wait for an answer that does not come."""
        return len(self._held)

    # Requests

    def render(self, request: Request) -> Any:
        """Answer a request."""
        try:
            seen = self._authenticated(request)
            self.seen.append(seen)
            if self.faults.hanging or (self.faults.hanging_watches and seen.verb == "watch"):
                self._held.append(request)
                request.notifyFinish().addBoth(self._let_go, request)
                return NOT_DONE_YET
            if self.faults.status:
                raise Refusal(self.faults.status, "the server is currently unable to handle the request")
            return self._answer(seen, request)
        except Refusal as refusal:
            request.setResponseCode(refusal.status)
            return _sent(request, refusal.object())

    def _let_go(self, _: object, request: Request) -> None:
        if request in self._held:
            self._held.remove(request)

    def _authenticated(self, request: Request) -> Seen:
        user = self._user(request)
        if user is None:
            self.refused += 1
            raise Refusal(401, "Unauthorized")
        query = {key.decode(): values[-1].decode() for key, values in (request.args or {}).items()}
        fields = {
            name.decode().lower(): tuple(value.decode() for value in values)
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        return Seen(request.path.decode(), query, user, fields)

    def _user(self, request: Request) -> str | None:
        if not (self.tokens or self.users or self.names):
            return "system:anonymous"
        scheme, _, value = (request.getHeader("Authorization") or "").partition(" ")
        if scheme == "Bearer":
            return self.tokens.get(value)
        if scheme == "Basic":
            name, _, password = base64.b64decode(value).decode().partition(":")
            return name if self.users.get(name) == password else None
        return self._certified(request)

    def _certified(self, request: Request) -> str | None:
        transport = request.channel.transport
        shown = transport.getPeerCertificate() if hasattr(transport, "getPeerCertificate") else None
        name = None if shown is None else name_of(shown)
        return name if name in self.names else None

    def _answer(self, seen: Seen, request: Request) -> Any:
        documents = self._documents()
        if seen.path in documents:
            return _sent(request, documents[seen.path])
        if match := re.fullmatch(r"/api/v1/namespaces/([^/]+)", seen.path):
            # Asked by kubectl when it does not find something in it.
            return _sent(request, {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": match[1]}})
        match = re.fullmatch(r"(/api/v1|/apis/discovery\.k8s\.io/v1)/namespaces/([^/]+)/([^/]+)(?:/([^/]+))?", seen.path)
        if match is None:
            raise Refusal(404, "the server could not find the requested resource")
        base, namespace, resource, name = match.groups()
        served = SERVED.get(resource)
        if served is None or resource in self.faults.not_served or base.split("/", 2)[2] != served[0]:
            raise Refusal(404, "the server could not find the requested resource")
        self._authorize(seen, resource, namespace)
        if name is not None:
            return _sent(request, self._named(resource, namespace, name))
        if seen.verb == "watch":
            return self._watch(seen, request, resource, namespace)
        return _sent(request, self._list(seen, resource, namespace))

    def _authorize(self, seen: Seen, resource: str, namespace: str) -> None:
        if (seen.verb, resource) in self.faults.forbidden:
            group = SERVED[resource][0].rpartition("/")[0]
            words = f'cannot {seen.verb} resource "{resource}" in API group "{group}" in the namespace "{namespace}"'
            raise Refusal(403, f'{resource} is forbidden: User "{seen.user}" {words}')

    def _named(self, resource: str, namespace: str, name: str) -> Object:
        found = self._objects[resource].get((namespace, name))
        if found is None:
            raise Refusal(404, f'{resource} "{name}" not found')
        return found

    def _list(self, seen: Seen, resource: str, namespace: str) -> Object:
        limit = int(seen.query.get("limit") or 0)
        version, begin, items = self._snapshot(seen, resource, namespace)
        end = begin + limit if limit else len(items)
        metadata: Object = {"resourceVersion": version}
        if end < len(items):
            token = f"{version}/{len(self._snapshots)}"
            self._snapshots[token] = items
            metadata["continue"] = base64.b64encode(json.dumps([token, end]).encode()).decode()
            metadata["remainingItemCount"] = len(items) - end
        api, kind = SERVED[resource]
        return {"kind": f"{kind}List", "apiVersion": api, "metadata": metadata, "items": items[begin:end]}

    def _snapshot(self, seen: Seen, resource: str, namespace: str) -> tuple[str, int, list[Object]]:
        """Give version, first index and items: of the present state, or of the one that a list is continued from."""
        if seen.query.get("continue"):
            token, begin = json.loads(base64.b64decode(seen.query["continue"]))
            if token not in self._snapshots:
                raise Refusal(410, "The provided continue parameter is too old to display a consistent list result.")
            return token.partition("/")[0], begin, self._snapshots[token]
        selector, fields = _selection(seen)
        every = (item for _, item in sorted(self._objects[resource].items()))
        return str(self._version), 0, [item for item in every if _selected(item, namespace, selector, fields)]

    def _watch(self, seen: Seen, request: Request, resource: str, namespace: str) -> Any:
        selector, fields = _selection(seen)
        version = int(seen.query.get("resourceVersion") or 0)
        too_old = Refusal(410, f"too old resource version: {version} ({self._compacted})")
        if 0 < version < self._compacted and self.faults.gone_as_status:
            raise too_old
        request.setHeader("Content-Type", "application/json")
        request.write(b"")
        bookmarks = seen.query.get("allowWatchBookmarks") == "true"
        watch = Stream(request, resource, namespace, selector, fields, bookmarks)
        if 0 < version < self._compacted:
            watch.send("ERROR", too_old.object())
            request.finish()
            return NOT_DONE_YET
        self.watches.append(watch)
        request.notifyFinish().addBoth(self._closed, watch)
        if "timeoutSeconds" in seen.query:
            watch.timeout = self._clock.callLater(int(seen.query["timeoutSeconds"]), request.finish)
        for event in self._since(version, resource):
            watch.tell(event)
        return NOT_DONE_YET

    def _since(self, version: int, resource: str) -> Iterator[Event]:
        if not version:
            for _, item in sorted(self._objects[resource].items()):
                yield Event(0, resource, None, item)
        else:
            yield from (event for event in self._events if event.version > version and event.resource == resource)

    def _closed(self, _: object, watch: Stream) -> None:
        self.watches.remove(watch)
        if watch.timeout is not None and watch.timeout.active():
            watch.timeout.cancel()

    def _documents(self) -> Mapping[str, Object]:
        """Give the documents that tell clients what there is."""
        group = {"groupVersion": "discovery.k8s.io/v1", "version": "v1"}
        groups = [{"name": "discovery.k8s.io", "versions": [group], "preferredVersion": group}]
        return {
            "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [] if self._sliceless else groups},
            "/api/v1": _resources("v1"),
            **({} if self._sliceless else {"/apis/discovery.k8s.io/v1": _resources("discovery.k8s.io/v1")}),
            "/version": {"major": "1", "minor": "29", "gitVersion": "v1.29.0-fake", "platform": "linux/amd64"},
        }

    @property
    def _sliceless(self) -> bool:
        return "endpointslices" in self.faults.not_served

    def fault(self, **changes: Any) -> None:
        """Change what is wrong with the server."""
        self.faults = evolve(self.faults, **changes)


def _resources(version: str) -> Object:
    served = [
        {
            **{"name": name, "singularName": kind.lower(), "namespaced": True, "kind": kind},
            "verbs": ["get", "list", "watch"],
        }
        for name, (api, kind) in SERVED.items()
        if api == version
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": served}


def _selection(seen: Seen) -> tuple[Selector, Mapping[str, str]]:
    fields = {}
    for part in filter(None, seen.query.get("fieldSelector", "").split(",")):
        key, equals, value = part.partition("=")
        if not equals or key not in ("metadata.name", "metadata.namespace"):
            raise Refusal(400, f'Unable to find "v1" that match label selector "", field selector {part!r}')
        fields[key] = value
    return parse_selector(seen.query.get("labelSelector", "")), fields


def _selected(item: Object, namespace: str, selector: Selector, fields: Mapping[str, str]) -> bool:
    metadata = item["metadata"]
    return (
        metadata["namespace"] == namespace
        and selector.matches(metadata.get("labels") or {})
        and all(metadata[key.partition(".")[2]] == value for key, value in fields.items())
    )


def _sent(request: Request, item: Object) -> bytes:
    request.setHeader("Content-Type", "application/json")
    return json.dumps(item).encode()


# The locator's other side

_ACCESS = ClusterAccess("https://kube.example:6443", "monitoring")


class InMemory:
    """
    A locator and its API server, joined in memory; time is a Clock.

    :ivar access: what the files say now.
    :ivar plugins: what plugins have been run, each with the Deferred to be fired.
    """

    def __init__(self, kube: KubeSettings, access: ClusterAccess = _ACCESS) -> None:
        self.clock = Clock()
        self.fake = FakeKube(self.clock)
        self.access = access
        self.plugins: list[tuple[ExecPlugin, Deferred[IssuedCredential]]] = []
        self.changes = 0
        self._agent = RequestTraversalAgent(self.fake)
        self.credentials = ClusterCredentials(lambda: self.access, self._run, clock=self.clock, wall=self.clock.seconds)
        self.client = KubeClient(self.credentials, self._connect)
        self.locator = KubeLocator(kube, self.client, clock=self.clock, rng=random.Random(1))

    def _run(self, plugin: ExecPlugin) -> Deferred[IssuedCredential]:
        self.plugins.append((plugin, Deferred()))
        return self.plugins[-1][1]

    def _connect(self, access: ClusterAccess) -> JSONClient:
        return JSONClient(self._agent, self.clock, fields=access.impersonation)

    def changed(self) -> None:
        """Take note of a change."""
        self.changes += 1

    def settle(self) -> None:
        """Deliver all that has been written, on both sides."""
        for _ in range(6):
            self._agent.flush()

    def advance(self, seconds: float) -> None:
        """Let time pass, and deliver what comes of it."""
        self.clock.advance(seconds)
        self.settle()


def pair(pem: bytes) -> tuple[bytes, bytes]:
    """Take a certificate and its key apart."""
    begin = pem.index(b"-----BEGIN PRIVATE KEY-----")
    return pem[:begin], pem[begin:]


def listen(reactor: Any, fake: FakeKube, authority: FakeAuthority, *names: str) -> IListeningPort:
    """
    Have the API server listen on a free port of 127.0.0.1. Clients may show a certificate, and need not.

    :param names: of its certificate.
    """
    own = PrivateCertificate.loadPEM(authority.issue(*names))
    ca = Certificate.loadPEM(authority.pem).original
    options = CertificateOptions(
        privateKey=own.privateKey.original, certificate=own.original, verify=True, caCerts=[ca], requireCertificate=False
    )
    return reactor.listenSSL(0, Site(fake, reactor=reactor), options, interface="127.0.0.1")
