"""
The table of all options.

The command line, the environment, the configuration file, ``--help`` and the documentation are made from the same `OPTIONS`.
`mpp.core.text.values` parses single values; `mpp.config.loader` decides which source takes precedence.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from attrs import Factory, evolve, frozen

from mpp.core.settings import Settings
from mpp.core.text.values import (
    parse_affinity_options,
    parse_apps,
    parse_boolean,
    parse_count,
    parse_delay,
    parse_endpoint,
    parse_expression,
    parse_idle_timeout,
    parse_interval,
    parse_log_format,
    parse_log_level,
    parse_networks,
    parse_parameters,
    parse_path,
    parse_paths,
    parse_port,
    parse_positive,
    parse_prefix,
    parse_scheme,
    parse_selector,
    parse_share,
    parse_size,
    parse_timeout,
    parse_url,
    parse_url_or_file,
    parse_urls,
    parse_word,
    parse_workers,
    secret_in_text,
    secret_in_url_or_file,
    secret_in_urls,
)
from mpp.core.text.written import mask_unless_file, mask_url, unmasked

GENERAL = "General"
DISCOVERY = "Where the servers are"
SELECTION = "Which server gets the requests"
LISTENING = "Clients"
REQUESTS = "Retries, time limits and queues"
LOGGING = "Logs"
KUBERNETES = "Servers in Kubernetes"
MARATHON = "Servers in Marathon"

GROUPS = (GENERAL, DISCOVERY, LISTENING, SELECTION, REQUESTS, LOGGING, KUBERNETES, MARATHON)
"""The groups of options, in the order of the help."""

SAME, SHARE, DROP = "same", "share", "drop"
"""The value of an option in a worker: the same value, an equal share of it (at least 1, if it is not 0), or the default."""


def no_secret(text: str) -> str:
    """Return the empty text: the value contains no secret."""
    return ""


@frozen
class Option:
    """
    An option, with its names and its value.

    :ivar flag: the name on the command line, such as ``--port``.
    :ivar field: the field of Settings that it fills, or ``group.field``; empty if the option only makes mpp print something.
    :ivar group: the heading in the help, one of `GROUPS`.
    :ivar help: the help text.
    :ivar parse: returns the value for the field, or raises ValueError with the text quoted and what was expected.
    :ivar env: the names of environment variables; the first one that is set and not empty is used.
    :ivar default: the default as the operator would write it.
    :ivar switch: true if the value may be left out: ``--verbose``, ``--verbose=true`` and ``--verbose true`` mean the same.
    :ivar repeatable: true if it may be given several times; the field is a tuple. In the environment, spaces separate the values.
    :ivar locates: the name of the locator that it configures; at least one such option has to be given.
    :ivar choices: values that a shell offers, not necessarily all valid ones.
    :ivar metavar: the name of its value in the manual.
    :ivar chapter: the chapter of the manual that explains it.
    :ivar not_ours: a prefix of values in the environment that no operator has written; they are ignored.
    :ivar secret: returns why a value may not stand in a configuration file, if it contains a secret; otherwise an empty text.
    :ivar unseen: how to give such a value in a separate file.
    :ivar mask: returns the value, a text, without secrets.
    :ivar restart: why a reload cannot change the option; empty if it can.
    :ivar restart_if: returns whether that holds for a change, given the active and the new settings.
    :ivar per_worker: `SAME`, `SHARE` or `DROP`. The default is `DROP` for discovery, which only the parent does.
    """

    flag: str
    field: str
    group: str
    help: str
    parse: Callable[[str], Any] = parse_word
    short: str = ""
    env: tuple[str, ...] = ()
    default: str = ""
    switch: bool = False
    repeatable: bool = False
    locates: str = ""
    not_ours: str = ""
    metavar: str = "VALUE"
    chapter: str = ""
    choices: tuple[str, ...] = ()
    secret: Callable[[str], str] = no_secret
    unseen: str = ""
    mask: Callable[[str], str] = unmasked
    restart: str = ""
    restart_if: Callable[[Settings, Settings], bool] = lambda active, new: True
    per_worker: str = Factory(lambda option: DROP if option.group in (DISCOVERY, KUBERNETES, MARATHON) else SAME, takes_self=True)

    def of(self, settings: Settings) -> Any:
        """Return the value of this option's field in the settings."""
        value: Any = settings
        for name in self.field.split("."):
            value = getattr(value, name)
        return value

    def anchored(self, value: Any, folder: str) -> Any:
        """Return a value with its relative paths joined to a folder; the value itself if it has no paths, or without a folder."""
        if self.parse is parse_path:
            return os.path.join(folder, value)
        if self.parse is parse_paths:
            return os.pathsep.join(os.path.join(folder, path) for path in value.split(os.pathsep) if path)
        if self.secret in (secret_in_text, secret_in_url_or_file) and value.startswith("@"):
            return "@" + os.path.join(folder, value[1:])
        return value


HELP = Option("--help", "", GENERAL, "show help", short="-h", switch=True)
VERSION = Option("--version", "", GENERAL, "print the version", short="-v", switch=True)
COMPLETION = Option(
    "--completion",
    "",
    GENERAL,
    "print a completion script for a shell: bash, zsh or fish",
    choices=("bash", "zsh", "fish"),
    metavar="SHELL",
)
CONFIG = Option(
    "--config",
    "config",
    GENERAL,
    "A YAML file with further options, each by its name without the dashes (port: 9090); the command line and the environment"
    " override it",
    parse_path,
    env=("MPP_CONFIG",),
    metavar="FILE",
    chapter="Configuration file",
)
CHECK_CONFIG = Option(
    "--check-config",
    "",
    GENERAL,
    "check the whole configuration, print all errors, and exit: with status 0 if there are none, else 2",
    switch=True,
    chapter="Configuration file",
)

HELP_WORDS = ("help", "h")

OPTIONS: tuple[Option, ...] = (
    CONFIG,
    Option(
        "--endpoints-file",
        "endpoints_file",
        DISCOVERY,
        "A file path containing a list of endpoints to use, one per line: a URL or host:port. This file is re-read at every"
        " selection interval",
        parse_path,
        env=("MPP_ENDPOINTS_FILE",),
        locates="file",
        metavar="FILE",
        chapter="Endpoints file",
    ),
    Option(
        "--endpoint",
        "endpoints",
        DISCOVERY,
        "An endpoint to use: a URL or host:port; may be repeated (in the environment: separated by spaces)",
        env=("MPP_ENDPOINT",),
        repeatable=True,
        locates="endpoint",
        metavar="URL",
    ),
    Option(
        "--file-sd",
        "file_sd",
        DISCOVERY,
        "A file in Prometheus' file_sd format, JSON or YAML, whose targets to use; its name may be a pattern such as"
        " targets/*.json; may be repeated. Re-read at every selection interval",
        parse_path,
        env=("MPP_FILE_SD",),
        repeatable=True,
        locates="file-sd",
        metavar="PATTERN",
        chapter="Files and HTTP",
    ),
    Option(
        "--http-sd",
        "http_sd",
        DISCOVERY,
        "A URL that returns targets in the format of Prometheus' HTTP service discovery, or @ and the path of a file that holds"
        " the URL (to hide a password in it); may be repeated",
        parse_url_or_file,
        env=("MPP_HTTP_SD",),
        repeatable=True,
        locates="http-sd",
        secret=secret_in_url_or_file,
        mask=mask_url,
        unseen="as @ and the path of a file that holds the URL",
        metavar="URL",
        chapter="Files and HTTP",
    ),
    Option(
        "--dns",
        "dns",
        DISCOVERY,
        "A host name with a port, all of whose addresses (A, AAAA) are endpoints; or srv+NAME for a fully qualified SRV record;"
        " may be repeated. Looked up at every selection interval",
        env=("MPP_DNS",),
        repeatable=True,
        locates="dns",
        metavar="NAME:PORT",
        chapter="DNS",
    ),
    Option(
        "--marathon-url",
        "marathon.urls",
        MARATHON,
        "The URL for the marathon API endpoint used to locate prometheus instances; several, separated by commas, are tried in"
        " turn",
        parse_urls,
        env=("MPP_MARATHON_URL",),
        locates="marathon",
        secret=secret_in_urls,
        mask=mask_url,
        unseen="by --marathon-credentials-file",
        metavar="URLS",
        chapter="Marathon",
    ),
    Option(
        "--marathon-apps",
        "marathon.apps",
        MARATHON,
        "A comma-separated list of marathon app IDs whose tasks will be queried for prometheus endpoints",
        parse_apps,
        env=("MPP_MARATHON_APPS",),
        metavar="IDS",
    ),
    Option(
        "--marathon-principal-secret",
        "marathon.principal_secret",
        MARATHON,
        "The principal secret used to handle authentication with marathon: the JSON, or @ and the path of a file that holds it",
        env=("MPP_MARATHON_PRINCIPAL_SECRET",),
        secret=secret_in_text,
        mask=mask_unless_file,
        unseen="as @ and the path of a file that holds it",
        metavar="JSON",
    ),
    Option(
        "--marathon-auth-endpoint",
        "marathon.auth_endpoint",
        MARATHON,
        "The authentication endpoint to use with the 'marathon-principal-secret', overriding the value contained within the"
        " secret",
        parse_url,
        env=("MPP_MARATHON_AUTH_ENDPOINT",),
        mask=mask_url,
        metavar="URL",
    ),
    Option(
        "--marathon-credentials-file",
        "marathon.credentials_file",
        MARATHON,
        "A file that holds user:password for HTTP basic authentication with marathon",
        parse_path,
        env=("MPP_MARATHON_CREDENTIALS_FILE",),
        metavar="FILE",
    ),
    Option(
        "--marathon-port",
        "marathon.port",
        MARATHON,
        "The port, by index or name, where prometheus is listening in marathon tasks",
        env=("MPP_MARATHON_PORT",),
        default="0",
        not_ours="tcp://",
        metavar="PORT",
    ),
    Option(
        "--kubeconfig",
        "kube.kubeconfig",
        KUBERNETES,
        "The path to a kubeconfig file used to communicate with the kubernetes api server to locate prometheus instances;"
        " without it the pod's own service account is used",
        parse_paths,
        env=("MPP_KUBECONFIG", "KUBECONFIG"),
        metavar="FILE",
        chapter="Kubernetes",
    ),
    Option(
        "--kube-service-name",
        "kube.service_name",
        KUBERNETES,
        "The service name used to locate prometheus endpoints; takes precedence over 'kube-pod-label-selector'",
        env=("MPP_KUBE_SERVICE_NAME", "MPP_SERVICE_NAME"),
        locates="kubernetes",
        metavar="NAME",
    ),
    Option(
        "--kube-pod-label-selector",
        "kube.pod_label_selector",
        KUBERNETES,
        "The label selector used to find prometheus pods",
        env=("MPP_KUBE_POD_LABEL_SELECTOR",),
        locates="kubernetes",
        metavar="SELECTOR",
    ),
    Option(
        "--kube-namespace",
        "kube.namespace",
        KUBERNETES,
        "The namespace in which prometheus pods/endpoints exist; by default the pod's or the context's own",
        env=("MPP_KUBE_NAMESPACE",),
        metavar="NAME",
    ),
    Option(
        "--kube-port",
        "kube.port",
        KUBERNETES,
        "The port (name or number) where prometheus is listening on individual pods/endpoints; by default one named web,"
        " http-web, http or prometheus, else 9090, else the first",
        env=("MPP_KUBE_PORT",),
        not_ours="tcp://",
        metavar="PORT",
    ),
    Option(
        "--kube-scheme",
        "kube.scheme",
        KUBERNETES,
        "The scheme of requests to the servers in kubernetes: http or https",
        parse_scheme,
        env=("MPP_KUBE_SCHEME",),
        default="http",
        choices=("http", "https"),
        metavar="SCHEME",
    ),
    Option(
        "--kube-path-prefix",
        "kube.path_prefix",
        KUBERNETES,
        "The path prefix of the servers in kubernetes, such as /prometheus",
        parse_prefix,
        env=("MPP_KUBE_PATH_PREFIX",),
        metavar="PATH",
    ),
    Option(
        "--insecure",
        "insecure",
        DISCOVERY,
        "Whether connections to https endpoints with unverifiable certs are allowed",
        parse_boolean,
        short="-k",
        env=("MPP_INSECURE_CERTS",),
        switch=True,
        per_worker=SAME,
    ),
    Option(
        "--routing-strategy",
        "routing_strategy",
        SELECTION,
        "The strategy to use for choosing among the viable prometheus endpoints; valid choices include:"
        " 'single-most-data', 'random', 'minimum-history:DURATION'",
        env=("MPP_ROUTING_STRATEGY",),
        default="single-most-data",
        choices=("single-most-data", "random", "minimum-history:15d"),
        metavar="STRATEGY",
        chapter="How mpp decides",
    ),
    Option(
        "--selection-interval",
        "selection_interval",
        SELECTION,
        "The interval at which selections are performed; note that selection is automatically performed upon backend failures",
        parse_interval,
        env=("MPP_SELECTION_INTERVAL",),
        default="10s",
        metavar="DURATION",
    ),
    Option(
        "--probe-params",
        "probe_params",
        SELECTION,
        "Parameters, as in a URL, that mpp adds to the requests of its probes, for servers behind a proxy that requires them,"
        " such as namespace=monitoring for prom-label-proxy; for single servers in the configuration file, under backends",
        parse_parameters,
        env=("MPP_PROBE_PARAMS",),
        metavar="PARAMETERS",
        chapter="How mpp decides",
    ),
    Option(
        "--affinity-options",
        "affinity_options",
        SELECTION,
        "A comma-separated list of sticky-session modes to enable, of which 'cookies', 'sourceip' and 'header:NAME' (the same"
        " value of that header field, the same server) are valid options, tried in the order given; or 'none'",
        parse_affinity_options,
        env=("MPP_AFFINITY_OPTIONS",),
        default="cookies",
        choices=("cookies", "sourceip", "header:X-Dashboard-Uid", "none"),
        metavar="LIST",
        chapter="Affinity",
    ),
    Option(
        "--port",
        "port",
        LISTENING,
        "The port on which the proxy will listen, on all addresses, IPv4 and IPv6",
        parse_port,
        env=("MPP_PORT",),
        default="9090",
        # Kubernetes sets MPP_PORT=tcp://10.0.0.1:9090 in every pod beside a Service named mpp.
        not_ours="tcp://",
        metavar="PORT",
    ),
    Option(
        "--listen",
        "listen",
        LISTENING,
        "A Twisted server endpoint to listen on, such as tcp:9090:interface=127.0.0.1, systemd:domain=INET6:name=mpp or"
        " ssl:9443:privateKey=key.pem:certKey=cert.pem; may be repeated (in the environment: separated by spaces). The default"
        " port is then not opened",
        parse_endpoint,
        env=("MPP_LISTEN",),
        repeatable=True,
        metavar="ENDPOINT",
        chapter="Listening",
    ),
    Option(
        "--admin-listen",
        "admin_listen",
        LISTENING,
        "A Twisted server endpoint for mpp's own pages: all but /mpp/health and /mpp/ready are then served there only; may be"
        " repeated (in the environment: separated by spaces)",
        parse_endpoint,
        env=("MPP_ADMIN_LISTEN",),
        repeatable=True,
        restart="a separate listener for mpp's own pages can only be added or removed by a restart",
        restart_if=lambda active, new: bool(new.admin_listen) is not bool(active.admin_listen),
        metavar="ENDPOINT",
    ),
    Option(
        "--web-config",
        "web_config",
        LISTENING,
        "A file in the format of Prometheus' web configuration: TLS, users and passwords, and headers, for all listeners. It is"
        " read again when it changes",
        parse_path,
        env=("MPP_WEB_CONFIG",),
        restart="another file needs a restart; changes of its content do not",
        metavar="FILE",
        chapter="Securing mpp",
    ),
    Option(
        "--web-cors-origin",
        "web_cors_origin",
        LISTENING,
        "A regular expression for the whole origins, such as https://example.org, of web pages that may read mpp's own errors"
        " below /api/v1/; the same option of the servers decides about their responses",
        parse_expression,
        env=("MPP_WEB_CORS_ORIGIN",),
        default=".*",
        metavar="REGEX",
        chapter="Pages of other sites",
    ),
    Option(
        "--reuse-port",
        "reuse_port",
        LISTENING,
        "Share the port with other processes (SO_REUSEPORT), so that the next mpp can start before this one has ended",
        parse_boolean,
        env=("MPP_REUSE_PORT",),
        switch=True,
        restart="with workers, a change of this option needs a restart",
        restart_if=lambda active, new: new.workers > 1,
        per_worker=DROP,
        chapter="Restarting",
    ),
    Option(
        "--workers",
        "workers",
        LISTENING,
        "The number of worker processes that serve clients, each on one core; with more than one, a parent process discovers the"
        " servers and supervises the workers",
        parse_workers,
        env=("MPP_WORKERS",),
        restart="another number of workers needs a restart",
        default="1",
        metavar="NUMBER",
        chapter="Several cores",
    ),
    Option(
        "--max-connections",
        "max_connections",
        LISTENING,
        "The largest number of open client connections; further ones wait. By default half of the limit of open files less 64,"
        " and 16384 at most",
        parse_positive,
        env=("MPP_MAX_CONNECTIONS",),
        per_worker=SHARE,
        metavar="NUMBER",
        chapter="Limits",
    ),
    Option(
        "--client-idle-timeout",
        "client_idle_timeout",
        LISTENING,
        "How long a client's connection is kept open without a request",
        parse_idle_timeout,
        env=("MPP_CLIENT_IDLE_TIMEOUT",),
        default="5m",
        metavar="DURATION",
    ),
    Option(
        "--drain-timeout",
        "drain_timeout",
        LISTENING,
        "How long mpp waits for requests in flight before it stops; then it cuts them off",
        parse_delay,
        env=("MPP_DRAIN_TIMEOUT",),
        default="30s",
        metavar="DURATION",
        chapter="Restarting",
    ),
    Option(
        "--retries",
        "retries",
        REQUESTS,
        "The number of further backends on which a failed read is tried",
        parse_count,
        env=("MPP_RETRIES",),
        default="2",
        metavar="NUMBER",
    ),
    Option(
        "--retry-budget",
        "retry_budget",
        REQUESTS,
        "The share of requests that may be retried or hedged in the long run (10 per second, and 500 in a burst, are always"
        " allowed), so that retries do not overload failing servers",
        parse_share,
        env=("MPP_RETRY_BUDGET",),
        default="20%",
        metavar="SHARE",
    ),
    Option(
        "--request-timeout",
        "request_timeout",
        REQUESTS,
        "The longest time until the response to a client begins; the timeout parameter of a query makes it shorter",
        parse_timeout,
        env=("MPP_REQUEST_TIMEOUT",),
        default="2m",
        metavar="DURATION",
        chapter="Waiting",
    ),
    Option(
        "--suspect-after",
        "suspect_after",
        REQUESTS,
        "The time without progress of a request after which its server is asked for /-/ready; if it does not respond within the"
        " same time, or four times its usual time (5s at most), the request is sent to another server as well",
        parse_timeout,
        env=("MPP_SUSPECT_AFTER",),
        default="250ms",
        metavar="DURATION",
        chapter="Waiting",
    ),
    Option(
        "--crash-suspect",
        "crash_suspect",
        REQUESTS,
        "A read that a server breaks off after a longer time than this, without a sign that the server is being stopped, is"
        " suspected to have crashed the server: it is retried only if a further healthy server is left, and reads with the same"
        " text are not sent to the last healthy server for 10 minutes; 0 means that no read is suspected",
        parse_delay,
        env=("MPP_CRASH_SUSPECT",),
        default="5s",
        metavar="DURATION",
        chapter="Retry",
    ),
    Option(
        "--stall-timeout",
        "stall_timeout",
        REQUESTS,
        "How long a response that has begun may pause before mpp breaks it off",
        parse_timeout,
        env=("MPP_STALL_TIMEOUT",),
        default="15s",
        metavar="DURATION",
    ),
    Option(
        "--hedge-after",
        "hedge_after",
        REQUESTS,
        "The time after which a request is also sent to a second server, although the first one is healthy, only slow: queries"
        " then may run twice; 0 means never",
        parse_delay,
        env=("MPP_HEDGE_AFTER",),
        default="0",
        metavar="DURATION",
    ),
    Option(
        "--max-concurrency",
        "max_concurrency",
        REQUESTS,
        "The largest number of concurrent requests to one server; further ones wait in a queue",
        parse_positive,
        env=("MPP_MAX_CONCURRENCY",),
        per_worker=SHARE,
        default="256",
        metavar="NUMBER",
    ),
    Option(
        "--max-queue",
        "max_queue",
        REQUESTS,
        "The largest number of requests in the queue of one server; further ones go to another server, or are answered 503",
        parse_count,
        env=("MPP_MAX_QUEUE",),
        per_worker=SHARE,
        default="1024",
        metavar="NUMBER",
    ),
    Option(
        "--no-coverage",
        "no_coverage",
        SELECTION,
        "Do not ask the servers for their newest data; a server that has stopped scraping is then used like any other",
        parse_boolean,
        env=("MPP_NO_COVERAGE",),
        switch=True,
        chapter="Newest data",
    ),
    Option(
        "--coverage-query",
        "coverage_query",
        SELECTION,
        "The metric that is above 0 while a target is scraped, or a selector of it, with the labels job and instance; for servers"
        " without up",
        parse_selector,
        env=("MPP_COVERAGE_QUERY",),
        default="up",
        metavar="SELECTOR",
        chapter="Newest data",
    ),
    Option(
        "--no-timeout-parameter",
        "no_timeout_parameter",
        REQUESTS,
        "Forward queries without changes; otherwise mpp sets their timeout parameter, so that servers stop when the client does",
        parse_boolean,
        env=("MPP_NO_TIMEOUT_PARAMETER",),
        switch=True,
        chapter="Changes to forwarded messages",
    ),
    Option(
        "--response-buffer",
        "response_buffer",
        REQUESTS,
        "How much of a response is buffered, so that it can still be fetched from another backend when the first one breaks off",
        parse_size,
        env=("MPP_RESPONSE_BUFFER",),
        default="1MiB",
        metavar="SIZE",
    ),
    Option(
        "--max-request-body",
        "max_request_body",
        LISTENING,
        "The largest request body that is accepted",
        parse_size,
        env=("MPP_MAX_REQUEST_BODY",),
        default="10MiB",
        metavar="SIZE",
    ),
    Option(
        "--trusted-proxies",
        "trusted_proxies",
        LISTENING,
        "A comma-separated list of the networks or addresses of trusted proxies in front of mpp, or 'none'. Their X-Forwarded-For"
        " is used for the access log, /mpp/explain and 'sourceip', and their X-Forwarded-Host for POST /mpp/reload by a browser;"
        " their X-Forwarded-Proto, -Host and -Port are passed on to the servers. By default only 'sourceip' trusts proxies, in"
        " loopback, link-local and private networks",
        parse_networks,
        env=("MPP_TRUSTED_PROXIES",),
        metavar="LIST",
        chapter="Behind a proxy",
    ),
    Option(
        "--allow-unsafe-paths",
        "allow_unsafe_paths",
        LISTENING,
        "Forward also requests that change or stop a single server (reload, quit, admin API, writes, changes of rules, pprof); by"
        " default they are rejected",
        parse_boolean,
        env=("MPP_ALLOW_UNSAFE_PATHS",),
        switch=True,
        chapter="Rejected requests",
    ),
    Option(
        "--enable-lifecycle",
        "enable_lifecycle",
        LISTENING,
        "Reload the configuration on POST /mpp/reload, as on SIGHUP",
        parse_boolean,
        env=("MPP_ENABLE_LIFECYCLE",),
        switch=True,
        chapter="Changing it while mpp runs",
    ),
    Option(
        "--verbose", "verbose", LOGGING, "Log debugging information", parse_boolean, short="-V", env=("MPP_VERBOSE",), switch=True
    ),
    Option(
        "--log-format",
        "log_format",
        LOGGING,
        "The format of the log, which has one line for each event: logfmt or json",
        parse_log_format,
        choices=("logfmt", "json"),
        env=("MPP_LOG_FORMAT",),
        default="logfmt",
        metavar="FORMAT",
        chapter="Logs",
    ),
    Option(
        "--log-level",
        "log_level",
        LOGGING,
        "The lowest level that is logged: debug, info, warn or error; --verbose means debug",
        parse_log_level,
        choices=("debug", "info", "warn", "error"),
        env=("MPP_LOG_LEVEL",),
        default="info",
        metavar="LEVEL",
    ),
    Option(
        "--access-log",
        "access_log",
        LOGGING,
        "Log every request in one line when it has ended, at every log level",
        parse_boolean,
        env=("MPP_ACCESS_LOG",),
        switch=True,
        chapter="Logs",
    ),
    Option(
        "--server-timing",
        "server_timing",
        LOGGING,
        "Add a Server-Timing field to every response, with the time it took in all, in mpp's queue and on the server",
        parse_boolean,
        env=("MPP_SERVER_TIMING",),
        switch=True,
        chapter="Logs",
    ),
    COMPLETION,
    CHECK_CONFIG,
    HELP,
    VERSION,
)


def evolved(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Return the settings with other values; the name of a value is a field, or ``group.field``."""
    flat: dict[str, Any] = {name: value for name, value in values.items() if "." not in name}
    for group in {name.partition(".")[0] for name in values if "." in name}:
        fields = {name.partition(".")[2]: value for name, value in values.items() if name.startswith(f"{group}.")}
        flat[group] = evolve(getattr(settings, group), **fields)
    return evolve(settings, **flat)
