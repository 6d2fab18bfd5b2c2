"""
The settings of mpp as values: checked, in seconds and bytes. Their text form is described in `mpp.config.options`.
"""

from __future__ import annotations

from attrs import field, frozen

from mpp.core.http_config import HTTPConfigs
from mpp.core.model import MIB


@frozen
class MarathonSettings:
    """
    The settings of the Marathon locator.

    :ivar urls: base URLs, tried one after the other; a path prefix such as ``/service/marathon`` is kept.
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
    The settings of the Kubernetes locator.

    :ivar kubeconfig: path or paths (separated by colons) of kubeconfig files; empty for in-cluster configuration.
    :ivar namespace: empty for the namespace of the pod or of the context, or else ``default``.
    :ivar service_name: takes precedence over ``pod_label_selector``; one of them enables the locator.
    :ivar pod_label_selector: the selector, passed to the API server verbatim.
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
    All settings of mpp, in seconds and bytes. The defaults are the documented ones.

    :ivar config: path of the configuration file, or None.
    :ivar http: HTTP client configurations of the backends; in the configuration file only.
    :ivar endpoints_file: path of the endpoints file, or None.
    :ivar endpoints: URLs or ``host:port`` of single backends.
    :ivar file_sd: paths of file_sd files, the last element may be a glob.
    :ivar http_sd: URLs of HTTP service discovery.
    :ivar dns: ``name:port`` (A and AAAA) or ``srv+name`` (SRV, fully qualified).
    :ivar marathon: settings of the Marathon locator.
    :ivar kube: settings of the Kubernetes locator.
    :ivar insecure: certificates of https backends and APIs are not verified.
    :ivar routing_strategy: ``name`` or ``name:argument``.
    :ivar selection_interval: seconds between two selection rounds.
    :ivar probe_params: query string that probes send besides their own parameters; empty for none.
    :ivar affinity_options: names in the order they are tried; empty for ``none``.
    :ivar port: TCP port on all interfaces, or None when only ``listen`` is used.
    :ivar listen: further Twisted server endpoint strings.
    :ivar admin_listen: Twisted server endpoint strings that alone serve the admin pages; empty: all endpoints serve them.
    :ivar web_config: path of a web configuration file (TLS, users), or None.
    :ivar web_cors_origin: a regular expression for the origins of pages that may read local error replies.
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
    :ivar no_coverage: the newest data of servers is not surveyed, and no server is regarded as lacking data.
    :ivar coverage_query: the metric, or a selector of it, that shows whether a target was scraped.
    :ivar no_timeout_parameter: queries are forwarded without an added ``timeout`` parameter.
    :ivar max_concurrency: maximum number of concurrent requests to one backend.
    :ivar max_queue: maximum number of requests that wait for one backend.
    :ivar response_buffer: bytes of a response that are buffered, per request.
    :ivar enable_lifecycle: a client may reload the configuration.
    :ivar verbose: log at level debug, whatever ``log_level`` is.
    :ivar log_format: one of `mpp.app.logs.format.RENDERERS`.
    :ivar log_level: one of `mpp.app.logs.format.LEVELS`.
    :ivar access_log: every request is logged.
    :ivar server_timing: responses have a ``Server-Timing`` field.
    :ivar trusted_proxies: networks (CIDR) whose ``X-Forwarded-For`` is trusted; None when not configured: then private networks
        are, but only as a hint for routing.
    """

    config: str | None = None
    http: HTTPConfigs = field(factory=HTTPConfigs)
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
