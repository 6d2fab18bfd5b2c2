"""
What can be configured, as values: in seconds and bytes, checked and ready to be used. How it is written is `mpp.config.options`.

This module knows no other module of mpp but its words.
"""

from __future__ import annotations

from attrs import field, frozen

from mpp.core.http_config import HTTPConfigs
from mpp.core.model import MIB


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

    :ivar config: path of the configuration file, or None.
    :ivar http: how backends are spoken to; in the configuration file only.
    :ivar endpoints_file: path of the endpoints file, or None.
    :ivar endpoints: URLs or ``host:port`` given one by one.
    :ivar file_sd: paths of file_sd files, the last element may be a glob.
    :ivar http_sd: URLs of HTTP service discovery.
    :ivar dns: ``name:port`` (A and AAAA) or ``srv+name`` (SRV, fully qualified).
    :ivar marathon: what is told about Marathon.
    :ivar kube: what is told about Kubernetes.
    :ivar insecure: certificates of https backends and APIs are not verified.
    :ivar routing_strategy: ``name`` or ``name:argument``.
    :ivar probe_params: what the requests of probes have in their query string besides mpp's own parameters; empty: nothing.
    :ivar affinity_options: names in the order they are tried; empty for ``none``.
    :ivar port: TCP port on all interfaces, or None when only ``listen`` is used.
    :ivar listen: further Twisted server endpoint strings.
    :ivar admin_listen: Twisted server endpoint strings where mpp's own pages are served, and elsewhere not.
    :ivar web_config: path of a web configuration file (TLS, users), or None.
    :ivar web_cors_origin: a regular expression for the origins of pages that may read mpp's own errors.
    :ivar workers: processes that serve clients.
    :ivar reuse_port: ``port`` may be opened by several processes at the same time.
    :ivar max_connections: client connections open at once, or None for what the file limit allows.
    :ivar client_idle_timeout: for how long a client connection is kept without a request.
    :ivar drain_timeout: for how long requests in flight are waited for at the end.
    :ivar retries: on how many further backends a failed read is tried.
    :ivar retry_budget: how many retries and hedges there may be for each request, in the long run.
    :ivar request_timeout: how long a client waits for its answer to begin, at most.
    :ivar suspect_after: after how long without progress a backend is asked whether it is there.
    :ivar crash_suspect: a read that had run for longer when its server broke off may have killed it; 0: never.
    :ivar stall_timeout: for how long an answer that has begun may pause.
    :ivar hedge_after: after how long a second backend is asked although the first one is well; 0: never.
    :ivar no_coverage: servers are not asked for their newest data, and lack nothing.
    :ivar coverage_query: the metric, or a selector of it, that says whether a target was scraped.
    :ivar no_timeout_parameter: queries are forwarded without telling the server when nobody waits any more.
    :ivar max_concurrency: requests under way on one backend.
    :ivar max_queue: requests that wait for one backend beyond these.
    :ivar response_buffer: how much of an answer is held back, per request.
    :ivar enable_lifecycle: a client may have the configuration read again.
    :ivar verbose: as ``log_level`` debug, whatever that is.
    :ivar log_format: one of `mpp.app.logs.format.RENDERERS`.
    :ivar log_level: one of `mpp.app.logs.format.LEVELS`.
    :ivar access_log: every request is logged.
    :ivar server_timing: answers tell how long they took, and where.
    :ivar trusted_proxies: networks (CIDR) whose ``X-Forwarded-For`` is believed; None when nobody said: then private ones are,
        but as a hint for routing only.
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
