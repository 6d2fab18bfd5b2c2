"""
What can be configured: one table of options, from which everything else derives.

The command line, the environment, the configuration file and ``--help`` read the same `OPTIONS`. How a single value is written
is known to `mpp.core.text.values`; which source wins, to `mpp.config.loader`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from attrs import frozen

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
"""What options are for, in the order of the help."""


def no_secret(text: str) -> str:
    """Say that a value is none that should not be seen."""
    return ""


@frozen
class Option:
    """
    One option, in all its spellings.

    :ivar flag: ``--port``.
    :ivar field: the field of Settings it fills, ``group.field`` for one of a group; empty for those that only print something.
    :ivar group: one of `GROUPS`; what the help lists it under.
    :ivar help: what it is for, in the operator's words.
    :ivar parse: turns text into the field's value, or raises ValueError with the value quoted and what was expected.
    :ivar env: names of environment variables; the first one that is set, and not empty, counts.
    :ivar default: the default as the operator would write it.
    :ivar switch: needs no value; ``--verbose`` is ``--verbose=true``, and so is ``--verbose true``.
    :ivar repeatable: may be given several times, the field is a tuple. In the environment, spaces separate the values.
    :ivar locates: the locator that it configures, by its name without a number; at least one such option has to be given.
    :ivar choices: values that a shell may offer, not necessarily all there are.
    :ivar metavar: what the manual calls its value.
    :ivar chapter: of the manual, where there is more about it.
    :ivar not_ours: values in the environment that begin with this were not written by an operator, and do not count.
    :ivar secret: says what is wrong with a value in a configuration file that holds a secret; empty for one without.
    :ivar unseen: how to give such a value in a file of its own.
    :ivar mask: returns a value, of text, as everybody may see it.
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

    def anchored(self, value: Any, folder: str) -> Any:
        """Give a value whose relative paths begin in a folder; itself if it has none, or without a folder."""
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
    "A YAML file with further options, each by its name without the dashes (port: 9090); what is given on the command line or in"
    " the environment wins over it",
    parse_path,
    env=("MPP_CONFIG",),
    metavar="FILE",
    chapter="Configuration file",
)
CHECK_CONFIG = Option(
    "--check-config",
    "",
    GENERAL,
    "check everything that is configured, print all that is wrong with it, and end: with status 0 if it is nothing, else 2",
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
        "A URL that gives targets as Prometheus' HTTP service discovery expects it, or @ and the path of a file that holds the"
        " URL (so that nobody sees a password in it); may be repeated",
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
        "How the servers in kubernetes are spoken to: http or https",
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
    ),
    Option(
        "--routing-strategy",
        "routing_strategy",
        SELECTION,
        "The strategy to use for choosing viable prometheus endpoint(s) from those located; valid choices include:"
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
        "Parameters that each request of a probe carries, as in a URL, for servers behind something that wants them, such as"
        " namespace=monitoring for prom-label-proxy; for single servers in the configuration file, under backends",
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
        metavar="ENDPOINT",
    ),
    Option(
        "--web-config",
        "web_config",
        LISTENING,
        "A file in the format of Prometheus' web configuration: TLS, users and passwords, headers, for all that is listened on."
        " It is read again when it changes",
        parse_path,
        env=("MPP_WEB_CONFIG",),
        metavar="FILE",
        chapter="Securing mpp",
    ),
    Option(
        "--web-cors-origin",
        "web_cors_origin",
        LISTENING,
        "A regular expression for the origins (the whole of each, such as https://example.org) of the pages that may read"
        " mpp's own errors below /api/v1/; what they may read of the servers' responses is up to the same option of these",
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
        "Open the port so that another mpp can open it too (SO_REUSEPORT): the next one may start before this one has ended",
        parse_boolean,
        env=("MPP_REUSE_PORT",),
        switch=True,
        chapter="Restarting",
    ),
    Option(
        "--workers",
        "workers",
        LISTENING,
        "How many processes serve clients, to use as many cores; with more than one, another process looks for servers and"
        " after the workers",
        parse_workers,
        env=("MPP_WORKERS",),
        default="1",
        metavar="NUMBER",
        chapter="Several cores",
    ),
    Option(
        "--max-connections",
        "max_connections",
        LISTENING,
        "How many client connections may be open; further ones wait. By default half of the open files allowed, 64 set aside, and"
        " 16384 at most",
        parse_positive,
        env=("MPP_MAX_CONNECTIONS",),
        metavar="NUMBER",
        chapter="Limits",
    ),
    Option(
        "--client-idle-timeout",
        "client_idle_timeout",
        LISTENING,
        "For how long a client's connection is kept open without a request",
        parse_idle_timeout,
        env=("MPP_CLIENT_IDLE_TIMEOUT",),
        default="5m",
        metavar="DURATION",
    ),
    Option(
        "--drain-timeout",
        "drain_timeout",
        LISTENING,
        "For how long requests in flight may go on when mpp is told to stop; then they are cut off",
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
        "On how many further backends a failed read is tried",
        parse_count,
        env=("MPP_RETRIES",),
        default="2",
        metavar="NUMBER",
    ),
    Option(
        "--retry-budget",
        "retry_budget",
        REQUESTS,
        "How many retries and hedges there may be in the long run, as a share of the requests (10 per second, and 500 in a burst,"
        " are always allowed): a pair that is dying is not finished off by them",
        parse_share,
        env=("MPP_RETRY_BUDGET",),
        default="20%",
        metavar="SHARE",
    ),
    Option(
        "--request-timeout",
        "request_timeout",
        REQUESTS,
        "How long a client waits for its answer to begin, at most; a query's own timeout parameter makes it shorter",
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
        "After how long without progress of a request its server is asked for /-/ready; if that is not answered within the same"
        " time, or four times as long as this server usually takes for it (5s at most), the request is sent to another server as"
        " well",
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
        "A server that breaks off a read which it has run for longer than this, without having said that it stops, may have died"
        " of it: the read is tried on another server only if a further healthy one is left, and reads with the same text are not"
        " sent to the last healthy server for 10 minutes; 0 means never to suspect a read",
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
        "For how long an answer that has begun may pause before it is given up",
        parse_timeout,
        env=("MPP_STALL_TIMEOUT",),
        default="15s",
        metavar="DURATION",
    ),
    Option(
        "--hedge-after",
        "hedge_after",
        REQUESTS,
        "After how long a request is sent to a second server although the first one is well, just slow: queries then may run"
        " twice; 0 means never",
        parse_delay,
        env=("MPP_HEDGE_AFTER",),
        default="0",
        metavar="DURATION",
    ),
    Option(
        "--max-concurrency",
        "max_concurrency",
        REQUESTS,
        "How many requests may be under way on one server; further ones wait for their turn",
        parse_positive,
        env=("MPP_MAX_CONCURRENCY",),
        default="256",
        metavar="NUMBER",
    ),
    Option(
        "--max-queue",
        "max_queue",
        REQUESTS,
        "How many requests may wait for their turn on one server; what comes beyond goes to another server, or is answered 503",
        parse_count,
        env=("MPP_MAX_QUEUE",),
        default="1024",
        metavar="NUMBER",
    ),
    Option(
        "--no-coverage",
        "no_coverage",
        SELECTION,
        "Do not ask the servers for their newest data; a server that has stopped scraping then serves like any other",
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
        "Leave queries as they are; otherwise their timeout parameter tells the server when nobody waits any more",
        parse_boolean,
        env=("MPP_NO_TIMEOUT_PARAMETER",),
        switch=True,
        chapter="What is changed",
    ),
    Option(
        "--response-buffer",
        "response_buffer",
        REQUESTS,
        "How much of an answer is held back, so that it can still be fetched from another backend when the first one breaks off",
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
        "A comma-separated list of networks or addresses of proxies in front, whose X-Forwarded-For is believed: for the access"
        " log, /mpp/explain, and 'sourceip', and whose X-Forwarded-Host is, for POST /mpp/reload by a browser; their"
        " X-Forwarded-Proto, -Host and -Port are passed on to the servers; or 'none'. Unless it is given, only 'sourceip'"
        " believes any: those in loopback, link-local and private networks",
        parse_networks,
        env=("MPP_TRUSTED_PROXIES",),
        metavar="LIST",
        chapter="Behind a proxy",
    ),
    Option(
        "--allow-unsafe-paths",
        "allow_unsafe_paths",
        LISTENING,
        "Forward also what changes or stops a single server (reload, quit, admin API, writes, changes of rules, pprof); refused"
        " otherwise",
        parse_boolean,
        env=("MPP_ALLOW_UNSAFE_PATHS",),
        switch=True,
        chapter="What is refused",
    ),
    Option(
        "--enable-lifecycle",
        "enable_lifecycle",
        LISTENING,
        "Have the configuration read again by POST /mpp/reload, as it is by SIGHUP",
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
        "How the log is written: logfmt or json, one line for each event",
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
        "What is logged: debug, info, warn or error, and what is more important; --verbose means debug",
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
        "Log every request, in one line when it has ended; the level does not matter",
        parse_boolean,
        env=("MPP_ACCESS_LOG",),
        switch=True,
        chapter="Logs",
    ),
    Option(
        "--server-timing",
        "server_timing",
        LOGGING,
        "Have a Server-Timing field in every answer tell how long it took in all, in mpp's queue and on the server",
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
