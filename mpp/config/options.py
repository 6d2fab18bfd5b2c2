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
from mpp.core.text.written import (
    mask_unless_file,
    mask_url,
    unmasked,
    written_boolean,
    written_duration,
    written_share,
    written_size,
)

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

_KINDS: Mapping[Callable[[str], Any], tuple[str, Callable[[Any], str]]] = {
    **dict.fromkeys((parse_path, parse_paths), ("FILE", str)),
    **dict.fromkeys((parse_delay, parse_idle_timeout, parse_interval, parse_timeout), ("DURATION", written_duration)),
    **dict.fromkeys((parse_count, parse_positive, parse_workers), ("NUMBER", str)),
    **dict.fromkeys((parse_url, parse_url_or_file), ("URL", str)),
    **{parse_boolean: ("VALUE", written_boolean), parse_share: ("SHARE", written_share), parse_size: ("SIZE", written_size)},
    **{parse_endpoint: ("ENDPOINT", str), parse_port: ("PORT", str)},
}
"""The metavar and the formatter of values, by the parser of an option; ``VALUE`` and `str` for other parsers."""

_DEFAULTS = Settings()


def _field(option: Option) -> str:
    name = option.flag.removeprefix("--").replace("-", "_")
    return name.replace("_", ".", 1) if option.group in (KUBERNETES, MARATHON) else name


def _variables(option: Option) -> tuple[str, ...]:
    return (f"MPP_{option.flag.removeprefix('--').replace('-', '_').upper()}",) if option.field else ()


def no_secret(text: str) -> str:
    """Return the empty text: the value contains no secret."""
    return ""


@frozen
class Option:
    """
    An option, with its names and its value.

    :ivar flag: the name on the command line, such as ``--port``.
    :ivar group: the heading in the help, one of `GROUPS`.
    :ivar help: the help text.
    :ivar parse: returns the value for the field, or raises ValueError with the text quoted and what was expected.
    :ivar field: the field of Settings that it fills, or ``group.field``; empty if the option only makes mpp print something. By
        default it follows from the flag.
    :ivar env: the names of environment variables; the first one that is set and not empty is used. By default it is ``MPP_`` and
        the flag in upper case.
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
    group: str
    help: str
    parse: Callable[[str], Any] = parse_word
    short: str = ""
    field: str = Factory(_field, takes_self=True)
    env: tuple[str, ...] = Factory(_variables, takes_self=True)
    repeatable: bool = False
    locates: str = ""
    not_ours: str = ""
    metavar: str = Factory(lambda option: _KINDS.get(option.parse, ("VALUE", str))[0], takes_self=True)
    chapter: str = ""
    choices: tuple[str, ...] = ()
    secret: Callable[[str], str] = no_secret
    unseen: str = ""
    mask: Callable[[str], str] = unmasked
    restart: str = ""
    restart_if: Callable[[Settings, Settings], bool] = lambda active, new: True
    per_worker: str = Factory(lambda option: DROP if option.group in (DISCOVERY, KUBERNETES, MARATHON) else SAME, takes_self=True)

    @property
    def switch(self) -> bool:
        """True if the value may be left out: ``--verbose``, ``--verbose=true`` and ``--verbose true`` mean the same."""
        return self.parse is parse_boolean

    @property
    def default(self) -> str:
        """The default as the operator would write it; empty for a switch, or without a default."""
        return self.written(self.of(_DEFAULTS)) if self.field and not self.switch else ""

    def written(self, value: Any) -> str:
        """Return a value as it is written in the configuration; empty for None."""
        if value is None:
            return ""
        if isinstance(value, list | tuple):
            return (" " if self.repeatable else ",").join(value)
        return _KINDS.get(self.parse, ("VALUE", str))[1](value)

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


HELP = Option("--help", GENERAL, "show help", parse_boolean, short="-h", field="")
VERSION = Option("--version", GENERAL, "print the version", parse_boolean, short="-v", field="")
COMPLETION = Option(
    "--completion",
    GENERAL,
    "print a completion script for a shell: bash, zsh or fish",
    field="",
    choices=("bash", "zsh", "fish"),
    metavar="SHELL",
)
CONFIG = Option(
    "--config",
    GENERAL,
    "A YAML file with further options, each by its name without the dashes (port: 9090); the command line and the environment"
    " override it",
    parse_path,
    chapter="Configuration file",
)
CHECK_CONFIG = Option(
    "--check-config",
    GENERAL,
    "check the whole configuration, print all errors, and exit: with status 0 if there are none, else 2",
    parse_boolean,
    field="",
    chapter="Configuration file",
)

HELP_WORDS = ("help", "h")

OPTIONS: tuple[Option, ...] = (
    CONFIG,
    Option(
        "--endpoints-file",
        DISCOVERY,
        "A file path containing a list of endpoints to use, one per line: a URL or host:port. This file is re-read at every"
        " selection interval",
        parse_path,
        locates="file",
        chapter="Endpoints file",
    ),
    Option(
        "--endpoint",
        DISCOVERY,
        "An endpoint to use: a URL or host:port; may be repeated (in the environment: separated by spaces)",
        field="endpoints",
        repeatable=True,
        locates="endpoint",
        metavar="URL",
    ),
    Option(
        "--file-sd",
        DISCOVERY,
        "A file in Prometheus' file_sd format, JSON or YAML, whose targets to use; its name may be a pattern such as"
        " targets/*.json; may be repeated. Re-read at every selection interval",
        parse_path,
        repeatable=True,
        locates="file-sd",
        metavar="PATTERN",
        chapter="Files and HTTP",
    ),
    Option(
        "--http-sd",
        DISCOVERY,
        "A URL that returns targets in the format of Prometheus' HTTP service discovery, or @ and the path of a file that holds"
        " the URL (to hide a password in it); may be repeated",
        parse_url_or_file,
        repeatable=True,
        locates="http-sd",
        secret=secret_in_url_or_file,
        mask=mask_url,
        unseen="as @ and the path of a file that holds the URL",
        chapter="Files and HTTP",
    ),
    Option(
        "--dns",
        DISCOVERY,
        "A host name with a port, all of whose addresses (A, AAAA) are endpoints; or srv+NAME for a fully qualified SRV record;"
        " may be repeated. Looked up at every selection interval",
        repeatable=True,
        locates="dns",
        metavar="NAME:PORT",
        chapter="DNS",
    ),
    Option(
        "--marathon-url",
        MARATHON,
        "The URL for the marathon API endpoint used to locate prometheus instances; several, separated by commas, are tried in"
        " turn",
        parse_urls,
        field="marathon.urls",
        locates="marathon",
        secret=secret_in_urls,
        mask=mask_url,
        unseen="by --marathon-credentials-file",
        metavar="URLS",
        chapter="Marathon",
    ),
    Option(
        "--marathon-apps",
        MARATHON,
        "A comma-separated list of marathon app IDs whose tasks will be queried for prometheus endpoints",
        parse_apps,
        metavar="IDS",
    ),
    Option(
        "--marathon-principal-secret",
        MARATHON,
        "The principal secret used to handle authentication with marathon: the JSON, or @ and the path of a file that holds it",
        secret=secret_in_text,
        mask=mask_unless_file,
        unseen="as @ and the path of a file that holds it",
        metavar="JSON",
    ),
    Option(
        "--marathon-auth-endpoint",
        MARATHON,
        "The authentication endpoint to use with the 'marathon-principal-secret', overriding the value contained within the"
        " secret",
        parse_url,
        mask=mask_url,
    ),
    Option(
        "--marathon-credentials-file",
        MARATHON,
        "A file that holds user:password for HTTP basic authentication with marathon",
        parse_path,
    ),
    Option(
        "--marathon-port",
        MARATHON,
        "The port, by index or name, where prometheus is listening in marathon tasks",
        not_ours="tcp://",
        metavar="PORT",
    ),
    Option(
        "--kubeconfig",
        KUBERNETES,
        "The path to a kubeconfig file used to communicate with the kubernetes api server to locate prometheus instances;"
        " without it the pod's own service account is used",
        parse_paths,
        field="kube.kubeconfig",
        env=("MPP_KUBECONFIG", "KUBECONFIG"),
        chapter="Kubernetes",
    ),
    Option(
        "--kube-service-name",
        KUBERNETES,
        "The service name used to locate prometheus endpoints; takes precedence over 'kube-pod-label-selector'",
        env=("MPP_KUBE_SERVICE_NAME", "MPP_SERVICE_NAME"),
        locates="kubernetes",
        metavar="NAME",
    ),
    Option(
        "--kube-pod-label-selector",
        KUBERNETES,
        "The label selector used to find prometheus pods",
        locates="kubernetes",
        metavar="SELECTOR",
    ),
    Option(
        "--kube-namespace",
        KUBERNETES,
        "The namespace in which prometheus pods/endpoints exist; by default the pod's or the context's own",
        metavar="NAME",
    ),
    Option(
        "--kube-port",
        KUBERNETES,
        "The port (name or number) where prometheus is listening on individual pods/endpoints; by default one named web,"
        " http-web, http or prometheus, else 9090, else the first",
        not_ours="tcp://",
        metavar="PORT",
    ),
    Option(
        "--kube-scheme",
        KUBERNETES,
        "The scheme of requests to the servers in kubernetes: http or https",
        parse_scheme,
        choices=("http", "https"),
        metavar="SCHEME",
    ),
    Option(
        "--kube-path-prefix",
        KUBERNETES,
        "The path prefix of the servers in kubernetes, such as /prometheus",
        parse_prefix,
        metavar="PATH",
    ),
    Option(
        "--insecure",
        DISCOVERY,
        "Whether connections to https endpoints with unverifiable certs are allowed",
        parse_boolean,
        short="-k",
        env=("MPP_INSECURE_CERTS",),
        per_worker=SAME,
    ),
    Option(
        "--routing-strategy",
        SELECTION,
        "The strategy to use for choosing among the viable prometheus endpoints; valid choices include:"
        " 'single-most-data', 'random', 'minimum-history:DURATION'",
        choices=("single-most-data", "random", "minimum-history:15d"),
        metavar="STRATEGY",
        chapter="How mpp decides",
    ),
    Option(
        "--selection-interval",
        SELECTION,
        "The interval at which selections are performed; note that selection is automatically performed upon backend failures",
        parse_interval,
    ),
    Option(
        "--probe-params",
        SELECTION,
        "Parameters, as in a URL, that mpp adds to the requests of its probes, for servers behind a proxy that requires them,"
        " such as namespace=monitoring for prom-label-proxy; for single servers in the configuration file, under backends",
        parse_parameters,
        metavar="PARAMETERS",
        chapter="How mpp decides",
    ),
    Option(
        "--affinity-options",
        SELECTION,
        "A comma-separated list of sticky-session modes to enable, of which 'cookies', 'sourceip' and 'header:NAME' (the same"
        " value of that header field, the same server) are valid options, tried in the order given; or 'none'",
        parse_affinity_options,
        choices=("cookies", "sourceip", "header:X-Dashboard-Uid", "none"),
        metavar="LIST",
        chapter="Affinity",
    ),
    Option(
        "--port",
        LISTENING,
        "The port on which the proxy will listen, on all addresses, IPv4 and IPv6",
        parse_port,
        # Kubernetes sets MPP_PORT=tcp://10.0.0.1:9090 in every pod beside a Service named mpp.
        not_ours="tcp://",
    ),
    Option(
        "--listen",
        LISTENING,
        "A Twisted server endpoint to listen on, such as tcp:9090:interface=127.0.0.1, systemd:domain=INET6:name=mpp or"
        " ssl:9443:privateKey=key.pem:certKey=cert.pem; may be repeated (in the environment: separated by spaces). The default"
        " port is then not opened",
        parse_endpoint,
        repeatable=True,
        chapter="Listening",
    ),
    Option(
        "--admin-listen",
        LISTENING,
        "A Twisted server endpoint for mpp's own pages: all but /mpp/health and /mpp/ready are then served there only; may be"
        " repeated (in the environment: separated by spaces)",
        parse_endpoint,
        repeatable=True,
        restart="a separate listener for mpp's own pages can only be added or removed by a restart",
        restart_if=lambda active, new: bool(new.admin_listen) is not bool(active.admin_listen),
    ),
    Option(
        "--web-config",
        LISTENING,
        "A file in the format of Prometheus' web configuration: TLS, users and passwords, and headers, for all listeners. It is"
        " read again when it changes",
        parse_path,
        restart="another file needs a restart; changes of its content do not",
        chapter="Securing mpp",
    ),
    Option(
        "--web-cors-origin",
        LISTENING,
        "A regular expression for the whole origins, such as https://example.org, of web pages that may read mpp's own errors"
        " below /api/v1/; the same option of the servers decides about their responses",
        parse_expression,
        metavar="REGEX",
        chapter="Pages of other sites",
    ),
    Option(
        "--reuse-port",
        LISTENING,
        "Share the port with other processes (SO_REUSEPORT), so that the next mpp can start before this one has ended",
        parse_boolean,
        restart="with workers, a change of this option needs a restart",
        restart_if=lambda active, new: new.workers > 1,
        per_worker=DROP,
        chapter="Restarting",
    ),
    Option(
        "--workers",
        LISTENING,
        "The number of worker processes that serve clients, each on one core; with more than one, a parent process discovers the"
        " servers and supervises the workers",
        parse_workers,
        restart="another number of workers needs a restart",
        chapter="Several cores",
    ),
    Option(
        "--max-connections",
        LISTENING,
        "The largest number of open client connections; further ones wait. By default half of the limit of open files less 64,"
        " and 16384 at most",
        parse_positive,
        per_worker=SHARE,
        chapter="Limits",
    ),
    Option(
        "--client-idle-timeout",
        LISTENING,
        "How long a client's connection is kept open without a request",
        parse_idle_timeout,
    ),
    Option(
        "--drain-timeout",
        LISTENING,
        "How long mpp waits for requests in flight before it stops; then it cuts them off",
        parse_delay,
        chapter="Restarting",
    ),
    Option(
        "--retries",
        REQUESTS,
        "The number of further backends on which a failed read is tried",
        parse_count,
    ),
    Option(
        "--retry-budget",
        REQUESTS,
        "The share of requests that may be retried or hedged in the long run (10 per second, and 500 in a burst, are always"
        " allowed), so that retries do not overload failing servers",
        parse_share,
    ),
    Option(
        "--request-timeout",
        REQUESTS,
        "The longest time until the response to a client begins; the timeout parameter of a query makes it shorter",
        parse_timeout,
        chapter="Waiting",
    ),
    Option(
        "--suspect-after",
        REQUESTS,
        "The time without progress of a request after which its server is asked for /-/ready; if it does not respond within the"
        " same time, or four times its usual time (5s at most), the request is sent to another server as well",
        parse_timeout,
        chapter="Waiting",
    ),
    Option(
        "--crash-suspect",
        REQUESTS,
        "A read that a server breaks off after a longer time than this, without a sign that the server is being stopped, is"
        " suspected to have crashed the server: it is retried only if a further healthy server is left, and reads with the same"
        " text are not sent to the last healthy server for 10 minutes; 0 means that no read is suspected",
        parse_delay,
        chapter="Retry",
    ),
    Option(
        "--stall-timeout",
        REQUESTS,
        "How long a response that has begun may pause before mpp breaks it off",
        parse_timeout,
    ),
    Option(
        "--hedge-after",
        REQUESTS,
        "The time after which a request is also sent to a second server, although the first one is healthy, only slow: queries"
        " then may run twice; 0 means never",
        parse_delay,
    ),
    Option(
        "--max-concurrency",
        REQUESTS,
        "The largest number of concurrent requests to one server; further ones wait in a queue",
        parse_positive,
        per_worker=SHARE,
    ),
    Option(
        "--max-queue",
        REQUESTS,
        "The largest number of requests in the queue of one server; further ones go to another server, or are answered 503",
        parse_count,
        per_worker=SHARE,
    ),
    Option(
        "--no-coverage",
        SELECTION,
        "Do not ask the servers for their newest data; a server that has stopped scraping is then used like any other",
        parse_boolean,
        chapter="Newest data",
    ),
    Option(
        "--coverage-query",
        SELECTION,
        "The metric that is above 0 while a target is scraped, or a selector of it, with the labels job and instance; for servers"
        " without up",
        parse_selector,
        metavar="SELECTOR",
        chapter="Newest data",
    ),
    Option(
        "--no-timeout-parameter",
        REQUESTS,
        "Forward queries without changes; otherwise mpp sets their timeout parameter, so that servers stop when the client does",
        parse_boolean,
        chapter="Changes to forwarded messages",
    ),
    Option(
        "--response-buffer",
        REQUESTS,
        "How much of a response is buffered, so that it can still be fetched from another backend when the first one breaks off",
        parse_size,
    ),
    Option(
        "--max-request-body",
        LISTENING,
        "The largest request body that is accepted",
        parse_size,
    ),
    Option(
        "--trusted-proxies",
        LISTENING,
        "A comma-separated list of the networks or addresses of trusted proxies in front of mpp, or 'none'. Their X-Forwarded-For"
        " is used for the access log, /mpp/explain and 'sourceip', and their X-Forwarded-Host for POST /mpp/reload by a browser;"
        " their X-Forwarded-Proto, -Host and -Port are passed on to the servers. By default only 'sourceip' trusts proxies, in"
        " loopback, link-local and private networks",
        parse_networks,
        metavar="LIST",
        chapter="Behind a proxy",
    ),
    Option(
        "--allow-unsafe-paths",
        LISTENING,
        "Forward also requests that change or stop a single server (reload, quit, admin API, writes, changes of rules, pprof); by"
        " default they are rejected",
        parse_boolean,
        chapter="Rejected requests",
    ),
    Option(
        "--enable-lifecycle",
        LISTENING,
        "Reload the configuration on POST /mpp/reload, as on SIGHUP",
        parse_boolean,
        chapter="Changing it while mpp runs",
    ),
    Option("--verbose", LOGGING, "Log debugging information", parse_boolean, short="-V"),
    Option(
        "--log-format",
        LOGGING,
        "The format of the log, which has one line for each event: logfmt or json",
        parse_log_format,
        choices=("logfmt", "json"),
        metavar="FORMAT",
        chapter="Logs",
    ),
    Option(
        "--log-level",
        LOGGING,
        "The lowest level that is logged: debug, info, warn or error; --verbose means debug",
        parse_log_level,
        choices=("debug", "info", "warn", "error"),
        metavar="LEVEL",
    ),
    Option(
        "--access-log",
        LOGGING,
        "Log every request in one line when it has ended, at every log level",
        parse_boolean,
        chapter="Logs",
    ),
    Option(
        "--server-timing",
        LOGGING,
        "Add a Server-Timing field to every response, with the time it took in all, in mpp's queue and on the server",
        parse_boolean,
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
