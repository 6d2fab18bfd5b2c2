"""
The table of all options.

The command line, the environment, the configuration file, ``--help`` and the documentation are made from the same `OPTIONS`.
`mpp.core.text.values` parses single values; `mpp.config.loader` decides which source takes precedence. The options of discovery
sources are in `mpp.discovery.kinds`.
"""

from __future__ import annotations

from mpp.core.text.cache_values import parse_cache_memory, parse_field_name, parse_neutral_name
from mpp.core.text.values import (
    parse_affinity_options,
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
    parse_port,
    parse_positive,
    parse_selector,
    parse_share,
    parse_size,
    parse_timeout,
    parse_workers,
)
from mpp.discovery.kinds.all_kinds import KINDS
from mpp.discovery.kinds.option import CACHE, DISCOVERY, DROP, GENERAL, LISTENING, LOGGING, REQUESTS, SELECTION, SHARE, Option

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
    *(option for kind in KINDS for option in kind.options),
    Option(
        "--insecure",
        DISCOVERY,
        "Whether connections to https endpoints with unverifiable certs are allowed",
        parse_boolean,
        short="-k",
        env=("MPP_INSECURE_CERTS",),
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
        restart="a change of this option for an open port, or with workers, needs a restart",
        # The kernel refuses a port to a socket with the option beside one without it.
        restart_if=lambda active, new: new.workers > 1 or new.port == active.port is not None,
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
        "Do not compare the data of the servers; then no request goes to another server because of a gap in the data, old or new",
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
        " is used for the access log, /mpp/explain and 'sourceip', and their X-Forwarded-Host for POST to mpp's own pages;"
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
        "Reload the configuration on POST /mpp/reload, as on SIGHUP, and flush the cache on POST /mpp/cache/flush",
        parse_boolean,
        chapter="Changing it while mpp runs",
    ),
    Option(
        "--no-single-flight",
        CACHE,
        "Send each read to a server, also while an identical one is in flight; otherwise all clients that wait for the same"
        " response get it from one request. The steps that are missing in the cache are asked for once all the same",
        parse_boolean,
    ),
    Option(
        "--cache-memory",
        CACHE,
        "The memory for responses to range queries, from which later queries for the same steps are answered; 0 switches the"
        " cache off. It needs the comparison of the servers' data, see --no-coverage",
        parse_cache_memory,
        per_worker=SHARE,
    ),
    Option(
        "--cache-freshness",
        CACHE,
        "The age from which on samples count as final: steps that read newer ones are not cached. A larger value that follows"
        " from the configuration of the servers takes precedence",
        parse_delay,
    ),
    Option(
        "--cache-tail",
        CACHE,
        "How long the steps of a response that are too new for the cache are given to other clients as well; 0 means that a"
        " server is asked for them each time",
        parse_delay,
    ),
    Option(
        "--cache-max-age",
        CACHE,
        "How long a part of a response is cached, give or take 20%; then a server is asked again, which has deleted or added"
        " samples of the past perhaps",
        parse_timeout,
    ),
    Option(
        "--cache-vary",
        CACHE,
        "The name of a header field that has an influence on responses, although mpp knows it as one that has none: clients with"
        " different values of it share no responses; may be repeated (in the environment: separated by spaces)",
        parse_field_name,
        repeatable=True,
        metavar="NAME",
    ),
    Option(
        "--cache-neutral",
        CACHE,
        "The name of a header field that has no influence on responses, although mpp does not know it as one: clients with"
        " different values of it share responses; may be repeated (in the environment: separated by spaces)",
        parse_neutral_name,
        repeatable=True,
        metavar="NAME",
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
