"""
The values that everything else speaks in. Frozen; tuples, not lists; bytes on the wire, str elsewhere.

Times are seconds; points in time are seconds since the epoch (UTC). This module knows no other module of mpp.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping

from attrs import field, frozen

MIB = 1024 * 1024

Headers = tuple[tuple[bytes, bytes], ...]
"""Header fields as received: order, case and repetitions kept."""


@frozen(cache_hash=True)
class Backend:
    """
    One Prometheus server, by address. Two Backends are the same server if and only if they are equal.

    :ivar scheme: ``http`` or ``https``.
    :ivar host: lower-case host name, IPv4 address or IPv6 address (without brackets).
    :ivar port: TCP port.
    :ivar prefix: path prefix, empty or like ``/prometheus`` (leading slash, no trailing one).
    """

    scheme: str
    host: str
    port: int
    prefix: str = ""
    netloc: str = field(init=False, eq=False)
    """``host:port``, with brackets around IPv6 addresses. What ``MPP.ServedBy`` and the ``Host`` header say."""
    name: str = field(init=False, eq=False)
    """``netloc`` and prefix: unique among http backends, the ``backend`` label in metrics and logs."""
    id: str = field(init=False, eq=False)
    """Short hash of the URL: opaque, unkeyed, the same on every mpp instance. What the affinity cookie holds."""

    @netloc.default
    def _netloc(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @name.default
    def _name(self) -> str:
        return self.netloc + self.prefix

    @id.default
    def _id(self) -> str:
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]

    @property
    def url(self) -> str:
        """The canonical URL, ``http://prom-a:9090/prefix``."""
        return f"{self.scheme}://{self.netloc}{self.prefix}"


@frozen
class Located:
    """
    A backend, as a locator lists it.

    :ivar not_ready: why its source holds it not to be ready, one line; empty when it does not. Such a backend is probed
        and shown, and used only when nothing else is left, whatever it says of itself.
    """

    backend: Backend
    not_ready: str = ""


@frozen
class RequestFacts:
    """
    All that policy, affinity and forwarding may know of a client's request.

    :ivar method: as sent, upper case.
    :ivar target: the raw request target, starts with ``/``; never decoded and encoded again.
    :ivar headers: as received.
    :ivar body: the whole body, decoded from chunks if it came in chunks.
    :ivar peer: the client's IP address as the socket tells it (``::ffff:`` removed); empty for a Unix socket.
    :ivar secure: the client came over TLS.
    :ivar http_10: the client speaks HTTP/1.0.
    """

    method: bytes
    target: bytes
    headers: Headers
    body: bytes = b""
    peer: str = ""
    secure: bool = False
    http_10: bool = False


class Standing(enum.IntEnum):
    """What may be expected of a backend, best first: backends are ranked by it before anything else."""

    VIABLE = 0
    """Ready, and answered a real query within a second."""
    BUSY = 1
    """Ready, but its query slots are taken: usable, after the viable ones."""
    SUSPECT = 2
    """An answer broke off; nothing is known against it since, its readiness was not checked yet."""
    NOT_READY = 3
    """It says so itself (start, WAL replay, shutdown), or it answers no queries."""
    DOWN = 4
    """It cannot be reached or does not answer."""


@frozen
class Facts:
    """
    What changes slowly about a Prometheus: read about once a minute and after a restart.

    :ivar version: ``2.42.0``, or empty when it does not say.
    :ivar started_at: when the process started, or None.
    :ivar oldest: time of the oldest sample held, or None for "no data" and for "cannot tell".
    :ivar newest: time of the newest sample in the head, or None.
    :ivar samples: samples ingested since the beginning of storage; 1.x only, None from 2.0 on (its successor resets at restart).
    :ivar retention_s: retention by time in seconds, or None when not known.
    :ivar retention_by_size: retention is limited by size (too), so the length of history moves with the load.
    :ivar read_at: when these facts were read.
    """

    version: str = ""
    started_at: float | None = None
    oldest: float | None = None
    newest: float | None = None
    samples: float | None = None
    retention_s: float | None = None
    retention_by_size: bool = False
    read_at: float = 0.0


@frozen
class Observation:
    """
    What one probe, or one failed request since, saw of one backend. A failed probe is a value, not an exception.

    :ivar standing: what may be expected of it.
    :ivar why: one line for a human, empty for VIABLE.
    :ivar facts: the slow facts, as last read; empty Facts when never read.
    :ivar at: when the probe began.
    :ivar took: how long the probe took, in seconds.
    """

    backend: Backend
    standing: Standing
    why: str = ""
    facts: Facts = Facts()
    at: float = 0.0
    took: float = 0.0

    def history(self, now: float) -> float:
        """Give the length of the held history in seconds; 0 when there is none or it is not known."""
        return 0.0 if self.facts.oldest is None else max(0.0, now - self.facts.oldest)


@frozen
class Choice:
    """
    What a strategy decided.

    :ivar selected: who takes traffic, best first.
    :ivar standbys: everyone else, best first: tried in this order when the selected ones fail.
    :ivar degraded: one line when the strategy's wish could not be met and it chose the next best, else empty.
    """

    selected: tuple[Backend, ...] = ()
    standbys: tuple[Backend, ...] = ()
    degraded: str = ""


@frozen
class Selection:
    """
    The state of the world that every request works with. Published whole, never changed.

    :ivar generation: 0 before the first round; grows by one whenever ``choice`` changes.
    :ivar choice: who takes traffic, and who is next.
    :ivar observations: in the locators' order, which is the tie-breaker.
    :ivar changed_at: when ``choice`` last changed.
    """

    generation: int = 0
    choice: Choice = Choice()
    observations: tuple[Observation, ...] = ()
    changed_at: float = 0.0
    selected_by_id: Mapping[str, Backend] = field(init=False, eq=False, repr=False)
    """The selected backends by their ``id``: made once, looked up in every request."""

    prefixes: tuple[str, ...] = field(init=False, eq=False, repr=False)
    """The different path prefixes of all known backends, ``("",)`` for most."""

    @prefixes.default
    def _prefixes(self) -> tuple[str, ...]:
        return tuple({backend.prefix: None for backend in self.choice.selected + self.choice.standbys}) or ("",)

    @selected_by_id.default
    def _selected_by_id(self) -> Mapping[str, Backend]:
        return {backend.id: backend for backend in self.choice.selected}

    @property
    def selected(self) -> tuple[Backend, ...]:
        """Who takes traffic, best first."""
        return self.choice.selected

    @property
    def ranked(self) -> tuple[Backend, ...]:
        """All known backends: the selected ones, then the standbys, best first."""
        return self.choice.selected + self.choice.standbys

    @property
    def viable(self) -> int:
        """How many backends are viable."""
        return sum(o.standing is Standing.VIABLE for o in self.observations)


@frozen
class MarathonSettings:
    """
    Where and how to ask Marathon.

    :ivar urls: base URLs, tried in turn; a path prefix such as ``/service/marathon`` is kept.
    :ivar apps: app ids, with the leading slash.
    :ivar principal_secret: the service account's JSON, or ``@`` and the path of a file that holds it; empty for none.
    :ivar auth_endpoint: login URL that overrides the secret's, or empty.
    :ivar credentials_file: path of a file that holds ``user:password`` for HTTP basic, or empty.
    :ivar port: index or name of the port; the first by default.
    """

    urls: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    principal_secret: str = field(default="", repr=False)
    auth_endpoint: str = ""
    credentials_file: str = ""
    port: str = "0"


@frozen
class KubeSettings:
    """
    Where and how to ask Kubernetes.

    :ivar kubeconfig: path or paths (separated by colons) of kubeconfig files; empty: in-cluster.
    :ivar namespace: empty: the pod's or the context's own, else ``default``.
    :ivar service_name: wins over ``pod_label_selector``; one of them switches the locator on.
    :ivar pod_label_selector: passed to the API server verbatim.
    :ivar port: name or number of the port, empty for a sensible default.
    :ivar scheme: of the backends, ``http`` or ``https``.
    :ivar path_prefix: of the backends, empty or like ``/prometheus``.
    """

    kubeconfig: str = ""
    namespace: str = ""
    service_name: str = ""
    pod_label_selector: str = ""
    port: str = ""
    scheme: str = "http"
    path_prefix: str = ""


@frozen
class Settings:
    """
    Everything configured, in seconds and bytes. The defaults are the documented ones.

    :ivar endpoints_file: path of the endpoints file, or None.
    :ivar endpoints: URLs or ``host:port`` given one by one.
    :ivar file_sd: paths of file_sd files, the last element may be a glob.
    :ivar http_sd: URLs of HTTP service discovery.
    :ivar dns: ``name:port`` (A and AAAA) or ``srv+name`` (SRV, fully qualified).
    :ivar marathon: what is told about Marathon.
    :ivar kube: what is told about Kubernetes.
    :ivar insecure: certificates of https backends and APIs are not verified.
    :ivar routing_strategy: ``name`` or ``name:argument``.
    :ivar affinity_options: names in the order they are tried; empty for ``none``.
    :ivar port: TCP port on all interfaces, or None when only ``listen`` is used.
    :ivar listen: further Twisted server endpoint strings.
    :ivar retries: on how many further backends a failed read is tried.
    :ivar response_buffer: how much of an answer is held back, per request.
    :ivar trusted_proxies: networks (CIDR) whose ``X-Forwarded-For`` is believed, as a routing hint only.
    """

    endpoints_file: str | None = None
    endpoints: tuple[str, ...] = ()
    file_sd: tuple[str, ...] = ()
    http_sd: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    marathon: MarathonSettings = MarathonSettings()
    kube: KubeSettings = KubeSettings()
    insecure: bool = False
    routing_strategy: str = "single-most-data"
    selection_interval: float = 10.0
    affinity_options: tuple[str, ...] = ("cookies",)
    port: int | None = 9090
    listen: tuple[str, ...] = ()
    verbose: bool = False
    allow_unsafe_paths: bool = False
    max_request_body: int = 10 * MIB
    retries: int = 2
    response_buffer: int = 1 * MIB
    trusted_proxies: tuple[str, ...] = (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
