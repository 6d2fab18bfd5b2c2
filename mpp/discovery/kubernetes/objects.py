"""
The parser of Kubernetes objects that describe Prometheus servers: EndpointSlices, Endpoints and Pods in, backends out. Pure.

Knows the formats of https://kubernetes.io/docs/reference/kubernetes-api/, not their transport. The JSON is not trusted: a field
of the wrong type is a missing field, never an exception.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from mpp.core.model import Backend, DiscoveredBackend
from mpp.core.text import bounds
from mpp.discovery.kubernetes.settings import KubeSettings

# Names in the manifests of projects that install Prometheus; the operator's is "web" or "http-web". The first ones can only mean
# the web interface: a neighboring port may be "reloader-web".
_PORT_NAMES = ("web", "http-web", "http", "prometheus")
_PROMETHEUS_PORT = 9090
_TERMINATING = "is terminating"


@frozen
class Port:
    """A port as an object declares it; the name may be empty."""

    name: str
    number: int


@frozen
class Candidate:
    """
    One address of one server.

    :ivar identity: the UID of the server's pod, which all addresses of a server share; the address itself if no UID is known.
    :ivar owner: the name of the pod, or else of the object that lists the address: for messages, and for the order of servers.
    :ivar not_ready: see `mpp.core.model.DiscoveredBackend`, where ``leaving`` is explained, too.
    """

    identity: str
    owner: str
    host: str
    port: int
    not_ready: str = ""
    leaving: bool = False


@frozen
class ParsedObjects:
    """
    The servers that some objects list.

    :ivar candidates: in the objects' order; the same server may occur several times.
    :ivar problems: one line for each object, or part of one, that had to be skipped.
    """

    candidates: tuple[Candidate, ...] = ()
    problems: tuple[str, ...] = ()


Read = Callable[[Mapping[str, Any], str], ParsedObjects]
"""A parser of one object; the second argument is the port that the operator wants, a name or a number or empty."""


def choose_port(ports: Sequence[Port], wanted: str) -> int | None:
    """
    Return the port on which Prometheus listens, or None if no port fits.

    :param ports: the TCP ports that the object declares.
    :param wanted: the port that the operator wants. A number is used even if it is not declared; a name has to be declared. If
        ``wanted`` is empty, a declared port is chosen: one with a well-known name such as ``web``, else 9090, else the first.
    """
    if wanted.isdigit():
        return int(wanted)
    for name in (wanted,) if wanted else _PORT_NAMES:
        for port in ports:
            if port.name == name:
                return port.number
    if wanted or not ports:
        return None
    numbers = [port.number for port in ports]
    return _PROMETHEUS_PORT if _PROMETHEUS_PORT in numbers else numbers[0]


def read_slice(item: Mapping[str, Any], wanted: str) -> ParsedObjects:
    """
    Parse an EndpointSlice (discovery.k8s.io/v1).

    Terminating endpoints are not left out, but are not ready: they may serve for hours, and may be the only ones left (KEP-1669).

    :param wanted: the port that the operator wants, see `choose_port`.
    """
    name = _name(item)
    port = choose_port(_ports(item.get("ports"), "port"), wanted)
    endpoints = _maps(item.get("endpoints"))
    if port is None:
        return ParsedObjects(problems=(f"EndpointSlice {name} {_no_port(wanted)}",) if endpoints else ())
    found = [_endpoint(each, name, port) for each in endpoints]
    return _parsed(found, f"EndpointSlice {name}")


def _endpoint(endpoint: Mapping[str, Any], slice_name: str, port: int) -> Candidate | str:
    # "Consumers must treat [a missing condition] as true"; all addresses of an endpoint are the same server, the first suffices.
    conditions = _map(endpoint, "conditions")
    doubt = "is not ready" if conditions.get("ready") is False else ""
    if conditions.get("terminating") is True:
        doubt = _TERMINATING
    addresses = endpoint.get("addresses")
    return _candidate(addresses[0] if isinstance(addresses, list) and addresses else None, endpoint, slice_name, port, doubt)


def read_endpoints(item: Mapping[str, Any], wanted: str) -> ParsedObjects:
    """Parse an Endpoints object (core/v1) with all of its subsets; for ``wanted`` see `choose_port`."""
    name = _name(item)
    found: list[Candidate | str] = []
    for subset in _maps(item.get("subsets")):
        port = choose_port(_ports(subset.get("ports"), "port"), wanted)
        if port is None:
            found.append(_no_port(wanted))
            continue
        for key in ("addresses", "notReadyAddresses"):
            for each in _maps(subset.get(key)):
                found.append(_candidate(each.get("ip"), each, name, port, "" if key == "addresses" else "is not ready"))
    return _parsed(found, f"Endpoints {name}")


def _candidate(address: Any, endpoint: Mapping[str, Any], owner: str, port: int, doubt: str) -> Candidate | str:
    """
    Return a candidate for an address in a slice or an Endpoints object, or the problem with it.

    :param doubt: why it counts as not ready, as the predicate of a sentence; empty if it is ready.
    """
    target = _map(endpoint, "targetRef")
    owner = _text(target, "name") or owner
    host = _address(address)
    if host is None:
        return f"lists {address!r}, which is not an IP address"
    leaving = doubt == _TERMINATING
    return Candidate(_text(target, "uid") or host, owner, host, port, doubt and f"{owner} {doubt}", leaving)


def read_pod(item: Mapping[str, Any], wanted: str) -> ParsedObjects:
    """
    Parse a Pod object. A pod that is not running yields no server; one that is being deleted and still runs is not ready.

    :param wanted: the port that the operator wants, see `choose_port`.
    """
    name, status = _name(item), _map(item, "status")
    if _text(status, "phase") != "Running":
        return ParsedObjects()
    # podIP belongs to the cluster's first address family; podIPs holds it, too, and the one of the other family.
    addresses = [_text(status, "podIP"), *(_text(each, "ip") for each in _maps(status.get("podIPs")))]
    host = _address(next(filter(None, addresses), None))
    if host is None:
        return ParsedObjects(problems=(f"Pod {name} runs and has no IP address",))
    port = choose_port(tuple(_pod_ports(item)), wanted)
    if port is None:
        return ParsedObjects(problems=(f"Pod {name} {_no_port(wanted)}",))
    metadata = _map(item, "metadata")
    leaving = bool(metadata.get("deletionTimestamp"))
    not_ready = f"{name} {_TERMINATING}" if leaving else _pod_not_ready(name, status)
    return ParsedObjects((Candidate(_text(metadata, "uid") or host, name, host, port, not_ready, leaving),))


def _pod_ports(item: Mapping[str, Any]) -> Iterator[Port]:
    """Yield the ports of the containers, then of the native sidecars: init containers that go on running."""
    spec = _map(item, "spec")
    sidecars = [each for each in _maps(spec.get("initContainers")) if each.get("restartPolicy") == "Always"]
    for container in (*_maps(spec.get("containers")), *sidecars):
        yield from _ports(container.get("ports"), "containerPort")


def _pod_not_ready(name: str, status: Mapping[str, Any]) -> str:
    for condition in _maps(status.get("conditions")):
        if condition.get("type") == "Ready":
            if condition.get("status") == "True":
                return ""
            return ": ".join(filter(None, (f"{name} is not ready", one_line(_text(condition, "message")))))
    return f"{name} is not ready"


def _parsed(found: Iterable[Candidate | str], what: str) -> ParsedObjects:
    """Separate candidates from problems; a problem that several endpoints share is reported once."""
    found = tuple(found)
    problems = dict.fromkeys(f"{what} {each}" for each in found if isinstance(each, str))
    return ParsedObjects(tuple(each for each in found if isinstance(each, Candidate)), tuple(problems))


def discovered(candidates: Iterable[Candidate], kube: KubeSettings) -> tuple[DiscoveredBackend, ...]:
    """
    Return each server once as a backend, in the order of the names of pods, which is the same on every mpp.

    If both an IPv4 and an IPv6 address of a server are listed, the backend has the IPv4 address. An endpoint may briefly be in
    two slices: it is ready if it is ready in one of them.
    """
    ordered = sorted(candidates, key=lambda each: (each.owner, ":" in each.host, each.host, each.not_ready))
    hosts: dict[tuple[str, str], str] = {}
    listed: dict[Backend, DiscoveredBackend] = {}
    for each in ordered:
        if hosts.setdefault((each.owner, each.identity), each.host) == each.host:
            backend = Backend(kube.scheme, each.host, each.port, kube.path_prefix)
            found = DiscoveredBackend(backend, each.not_ready, each.leaving)
            # Without a pod, the two have different owners, so that the ready one may be the later one.
            if listed.setdefault(backend, found).not_ready and not found.not_ready:
                listed[backend] = found
    return tuple(listed.values())


def _no_port(wanted: str) -> str:
    return (
        f"has no TCP port named {wanted!r} (--kube-port)" if wanted else "declares no TCP port; set its number with --kube-port"
    )


def _ports(value: Any, number: str) -> tuple[Port, ...]:
    """Return the TCP ports of a list; one without a number means "all ports" and is skipped, like one with an invalid number."""
    return tuple(
        Port(_text(each, "name"), found)
        for each in _maps(value)
        if each.get("protocol") in (None, "TCP") and (found := bounds.port(each.get(number))) is not None
    )


def _address(text: Any) -> str | None:
    """Return an IP address in canonical form; names (slices of type FQDN) and link-local zones are not supported."""
    try:
        address = ipaddress.ip_address(text) if isinstance(text, str) and "%" not in text else None
    except ValueError:
        return None
    return None if address is None else str(address)


def one_line(text: str, most: int = 300) -> str:
    """Return a text of another program as one printable line, of at most ``most`` characters and three dots, fit for a log."""
    text = " ".join("".join(character if character.isprintable() else " " for character in text[: 4 * most]).split())
    return text if len(text) <= most else f"{text[:most]}..."


def _name(item: Mapping[str, Any]) -> str:
    return _text(_map(item, "metadata"), "name") or "without a name"


def _map(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the object under a key, an empty one if there is none."""
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _maps(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects of a list, none if the value is no list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""
