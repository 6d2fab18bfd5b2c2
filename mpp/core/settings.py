"""
The settings of mpp as values: checked, in seconds and bytes. Their text form is described in `mpp.config.options`. The
settings of discovery sources are in `mpp.discovery.kinds`.
"""

from __future__ import annotations

from typing import Any, TypeVar

from attrs import field, frozen

from mpp.core.http_config import HTTPConfigs
from mpp.core.model import MIB

S = TypeVar("S")


@frozen(init=False)
class DiscoverySettings:
    """
    The settings of all discovery sources. They are looked up by their class, as in ``settings.discovery[DNSSettings]``, because
    this package does not know the kinds of sources.

    :param sources: the settings of each configured kind; other kinds have their defaults.
    """

    _sources: tuple[Any, ...]

    def __init__(self, *sources: Any) -> None:
        changed = [each for each in sources if each != type(each)()]
        self.__attrs_init__(tuple(sorted(changed, key=lambda each: type(each).__name__)))

    def __getitem__(self, kind: type[S]) -> S:
        """Return the settings of one kind of source; ``kind`` is their class."""
        return next((each for each in self._sources if type(each) is kind), kind())


NO_DISCOVERY = DiscoverySettings()
"""The settings without any discovery source."""


@frozen
class Settings:
    """
    All settings of mpp, in seconds and bytes. The defaults are the documented ones.

    :ivar config: path of the configuration file, or None.
    :ivar http: HTTP client configurations of the backends; in the configuration file only.
    :ivar discovery: the settings of the discovery sources.
    :ivar insecure: certificates of https backends and APIs are not verified.
    :ivar routing_strategy: ``name`` or ``name:argument``.
    :ivar selection_interval: seconds between two selection rounds.
    :ivar probe_params: query string that probes send besides their own parameters; empty for none.
    :ivar affinity_options: names in the order they are tried; empty for ``none``.
    :ivar port: TCP port on all interfaces, or None when only ``listen`` is used.
    :ivar listen: further Twisted server endpoint strings.
    :ivar admin_listen: Twisted server endpoint strings that alone serve the admin pages; empty: all endpoints serve them.
    :ivar web_config: path of a web configuration file (TLS, users), or None.
    :ivar web_cors_origin: a regular expression for the origins of web pages that may read mpp's own error responses.
    :ivar workers: number of processes that serve clients.
    :ivar reuse_port: several processes may open ``port`` at the same time.
    :ivar max_connections: maximum number of open client connections, or None for as many as the file limit allows.
    :ivar client_idle_timeout: seconds that a client connection is kept open without a request.
    :ivar drain_timeout: seconds that a shutdown waits for requests in flight.
    :ivar allow_unsafe_paths: requests that change or stop only one server are forwarded.
    :ivar max_request_body: maximum size of a request body.
    :ivar retries: maximum number of further backends for a failed read.
    :ivar retry_budget: maximum number of retries and hedges per request, on average.
    :ivar request_timeout: maximum seconds until the response to a client begins.
    :ivar suspect_after: seconds without progress after which the liveness of a backend is checked.
    :ivar crash_suspect: seconds; a read that ran longer before its server broke off may have crashed the server; 0: never.
    :ivar stall_timeout: maximum seconds without progress of a response that has begun.
    :ivar hedge_after: seconds after which a second backend gets the request although the first one is alive; 0: never.
    :ivar no_coverage: the data of the servers is not compared, and no server is regarded as lacking data.
    :ivar coverage_query: the metric, or a selector of it, that shows whether a target was scraped.
    :ivar no_timeout_parameter: queries are forwarded without an added ``timeout`` parameter.
    :ivar max_concurrency: maximum number of concurrent requests to one backend.
    :ivar max_queue: maximum number of requests that wait for one backend.
    :ivar response_buffer: bytes of a response that are buffered, per request.
    :ivar no_single_flight: identical reads in flight are not answered by one request.
    :ivar cache_memory: maximum bytes of the range cache; 0: there is none.
    :ivar cache_freshness: minimum age in seconds of the samples that a cached step has read.
    :ivar cache_tail: seconds for which steps that are too new for the cache are also sent to other clients; 0: never.
    :ivar cache_max_age: seconds that a page of the cache is kept, on average.
    :ivar cache_vary: header fields, in lower case, that have an influence on responses, contrary to what mpp assumes.
    :ivar cache_neutral: header fields, in lower case, that have no influence on responses, contrary to what mpp assumes.
    :ivar enable_lifecycle: a client may reload the configuration and flush the cache.
    :ivar verbose: log at level debug, whatever ``log_level`` is.
    :ivar log_format: one of `mpp.app.logs.format.RENDERERS`.
    :ivar log_level: one of `mpp.app.logs.format.LEVELS`.
    :ivar access_log: every request is logged.
    :ivar server_timing: responses have a ``Server-Timing`` field.
    :ivar trusted_proxies: networks (CIDR) whose ``X-Forwarded-For`` is trusted; None when not configured: then proxies in
        private networks are trusted, but only to choose a server by the client's address.
    """

    config: str | None = None
    http: HTTPConfigs = field(factory=HTTPConfigs)
    discovery: DiscoverySettings = NO_DISCOVERY
    insecure: bool = False
    routing_strategy: str = "single-most-data"
    selection_interval: float = 10.0
    probe_params: str = ""
    affinity_options: tuple[str, ...] = ("cookies",)
    port: int | None = 9090
    listen: tuple[str, ...] = ()
    admin_listen: tuple[str, ...] = ()
    web_config: str | None = None
    web_cors_origin: str = ".*"
    workers: int = 1
    reuse_port: bool = False
    max_connections: int | None = None
    client_idle_timeout: float = 300.0
    drain_timeout: float = 30.0
    verbose: bool = False
    log_format: str = "logfmt"
    log_level: str = "info"
    access_log: bool = False
    server_timing: bool = False
    allow_unsafe_paths: bool = False
    enable_lifecycle: bool = False
    max_request_body: int = 10 * MIB
    retries: int = 2
    retry_budget: float = 0.2
    request_timeout: float = 120.0
    suspect_after: float = 0.25
    crash_suspect: float = 5.0
    stall_timeout: float = 15.0
    hedge_after: float = 0.0
    no_timeout_parameter: bool = False
    no_coverage: bool = False
    coverage_query: str = "up"
    max_concurrency: int = 256
    max_queue: int = 1024
    response_buffer: int = 1 * MIB
    no_single_flight: bool = False
    cache_memory: int = 0
    cache_freshness: float = 60.0
    cache_tail: float = 1.0
    cache_max_age: float = 21600.0
    cache_vary: tuple[str, ...] = ()
    cache_neutral: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] | None = None


@frozen
class Reloaded:
    """
    The result of reading the configuration again.

    :ivar changed: the options that have another value now.
    :ivar errors: one line each; when there are any, nothing has changed.
    """

    changed: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
