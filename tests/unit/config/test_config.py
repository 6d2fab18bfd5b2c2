"""What the operator wrote, and what mpp makes of it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp._version import __version__
from mpp.config.command_line import answer
from mpp.config.help import help_text
from mpp.config.loader import ConfigSources, read
from mpp.core.errors import ConfigError
from mpp.core.settings import Settings
from mpp.discovery.kinds.all_kinds import KINDS
from mpp.discovery.kubernetes.settings import KubeSettings
from mpp.discovery.marathon.settings import MarathonSettings
from tests.configured import configured

FILE = ["--endpoints-file", "f"]

UNDERSTOOD: list[tuple[list[str], dict[str, str], Settings]] = [
    ([], {}, configured(endpoints_file="f")),
    (["--port", "80"], {}, configured(endpoints_file="f", port=80)),
    (["--port=80"], {}, configured(endpoints_file="f", port=80)),
    (["--port=80", "--port=81"], {}, configured(endpoints_file="f", port=81)),
    ([], {"MPP_PORT": "80"}, configured(endpoints_file="f", port=80)),
    (["--port=81"], {"MPP_PORT": "80"}, configured(endpoints_file="f", port=81)),
    ([], {"MPP_PORT": ""}, configured(endpoints_file="f")),
    ([], {"MPP_PORT": "tcp://10.0.0.1:9090"}, configured(endpoints_file="f")),
    ([], {"MPP_ENDPOINTS_FILE": "g"}, configured(endpoints_file="f")),
    (["--endpoints-file=a=b"], {}, configured(endpoints_file="a=b")),
    (["--verbose"], {}, configured(endpoints_file="f", verbose=True)),
    (["-V"], {}, configured(endpoints_file="f", verbose=True)),
    (["--verbose=no"], {"MPP_VERBOSE": "1"}, configured(endpoints_file="f", verbose=False)),
    ([], {"MPP_VERBOSE": "YES"}, configured(endpoints_file="f", verbose=True)),
    (["--allow-unsafe-paths"], {}, configured(endpoints_file="f", allow_unsafe_paths=True)),
    (["--routing-strategy", "minimum-history:1d"], {}, configured(endpoints_file="f", routing_strategy="minimum-history:1d")),
    (["--routing-strategy", "of-my-own:x"], {}, configured(endpoints_file="f", routing_strategy="of-my-own:x")),
    (["--selection-interval", "1m30s"], {}, configured(endpoints_file="f", selection_interval=90.0)),
    (["--affinity-options", "sourceip,cookies"], {}, configured(endpoints_file="f", affinity_options=("sourceip", "cookies"))),
    (["--affinity-options", "none"], {}, configured(endpoints_file="f", affinity_options=())),
    (["--retries", "0"], {}, configured(endpoints_file="f", retries=0)),
    (["--no-single-flight"], {}, configured(endpoints_file="f", no_single_flight=True)),
    (["--cache-memory", "256MiB"], {}, configured(endpoints_file="f", cache_memory=2**28)),
    (["--cache-memory=0"], {"MPP_CACHE_MEMORY": "1GiB"}, configured(endpoints_file="f", cache_memory=0)),
    (["--cache-freshness", "2m", "--cache-tail=0"], {}, configured(endpoints_file="f", cache_freshness=120.0, cache_tail=0.0)),
    (["--cache-max-age", "1d"], {}, configured(endpoints_file="f", cache_max_age=86400.0)),
    (["--cache-vary=X-Tenant", "--cache-vary", "b"], {}, configured(endpoints_file="f", cache_vary=("x-tenant", "b"))),
    ([], {"MPP_CACHE_NEUTRAL": "X-A X-B"}, configured(endpoints_file="f", cache_neutral=("x-a", "x-b"))),
    (["--response-buffer", "64KiB"], {}, configured(endpoints_file="f", response_buffer=65536)),
    (["--max-request-body", "1MB"], {}, configured(endpoints_file="f", max_request_body=10**6)),
    (["--trusted-proxies", "none"], {}, configured(endpoints_file="f", trusted_proxies=())),
    (["--trusted-proxies", "192.0.2.1"], {}, configured(endpoints_file="f", trusted_proxies=("192.0.2.1/32",))),
    (["--web-cors-origin", "https://a[.]test"], {}, configured(endpoints_file="f", web_cors_origin="https://a[.]test")),
    ([], {"MPP_WEB_CORS_ORIGIN": "null"}, configured(endpoints_file="f", web_cors_origin="null")),
    (["--listen", "tcp:1", "--listen=tcp:2"], {}, configured(endpoints_file="f", port=None, listen=("tcp:1", "tcp:2"))),
    (["--listen", "tcp:1", "--port=2"], {}, configured(endpoints_file="f", port=2, listen=("tcp:1",))),
    (["--listen", "tcp:1"], {"MPP_PORT": "2"}, configured(endpoints_file="f", port=2, listen=("tcp:1",))),
    (["--listen", "tcp:1"], {"MPP_PORT": "tcp://x"}, configured(endpoints_file="f", port=None, listen=("tcp:1",))),
    ([], {"MPP_LISTEN": "tcp:1 tcp:2"}, configured(endpoints_file="f", port=None, listen=("tcp:1", "tcp:2"))),
    (["-k", "true", "--verbose"], {}, configured(endpoints_file="f", insecure=True, verbose=True)),
    (["-k"], {"MPP_VERBOSE": "no"}, configured(endpoints_file="f", insecure=True)),
    ([], {"MPP_INSECURE_CERTS": "true"}, configured(endpoints_file="f", insecure=True)),
    (["--endpoint", "a:1", "--endpoint=b:2"], {}, configured(endpoints_file="f", endpoints=("a:1", "b:2"))),
    (
        ["--marathon-url=http://m1:8080,http://m2:8080/service/marathon", "--marathon-apps", "prom, /a/b"],
        {},
        configured(
            endpoints_file="f",
            marathon=MarathonSettings(("http://m1:8080", "http://m2:8080/service/marathon"), ("/prom", "/a/b")),
        ),
    ),
    (
        ["--kube-path-prefix", "/prom/"],
        {"MPP_SERVICE_NAME": "prometheus", "KUBECONFIG": "k", "MPP_KUBE_PORT": "tcp://10.0.0.1:9090"},
        configured(endpoints_file="f", kube=KubeSettings(kubeconfig="k", service_name="prometheus", path_prefix="/prom")),
    ),
    (["--listen=tcp:3"], {"MPP_LISTEN": "tcp:1 tcp:2"}, configured(endpoints_file="f", port=None, listen=("tcp:3",))),
]

LOCATING = [option.flag for kind in KINDS for option in kind.locating]
"""The options of which one has to be given."""

REFUSED: list[tuple[list[str], dict[str, str], str]] = [
    (
        [],
        {},
        "--endpoints-file: missing; mpp needs a source of Prometheus servers: this option, its variable"
        f" MPP_ENDPOINTS_FILE, or one of {', '.join(LOCATING[1:])}",
    ),
    ([*FILE, "--kube-scheme", "ftp"], {}, "--kube-scheme: 'ftp' is neither http nor https"),
    (
        ["--marathon-url", "http://user:secret@host:99999"],
        {},
        "--marathon-url: 'http://...@host:99999' is not a URL such as http://host:8080/path",
    ),
    # A password with a comma in a list of URLs.
    (
        ["--marathon-url", "http://m1:8080,http://user:se,cret@m2:8080", "--marathon-apps", "a"],
        {},
        "--marathon-url: a comma in a user name or password must be written as %2C",
    ),
    # A password with a slash, and one without a scheme before it.
    (
        ["--http-sd", "https://user:a/secret@host/x"],
        {},
        "--http-sd: 'https://...@host/x' is not a URL such as http://host:8080/path",
    ),
    (["--http-sd", "user:se//cret@host/x"], {}, "--http-sd: '...@host/x' is not a URL such as http://host:8080/path"),
    (["--marathon-apps", "Prom_1"], {}, "--marathon-apps: 'Prom_1' is not a Marathon app id such as /monitoring/prometheus"),
    (
        [*FILE, "--web-cors-origin", "https?://(a|b"],
        {},
        "--web-cors-origin: 'https?://(a|b' is not understood: it has a ( without a ); expected a regular expression such as"
        r" https?://(a|b)\.example\.org",
    ),
    ([*FILE, "--kube-path-prefix", "x"], {}, "--kube-path-prefix: 'x' is not a path prefix such as /prometheus"),
    ([*FILE, "--port", "abc"], {}, "--port: 'abc' is not a port number (1 to 65535)"),
    ([*FILE, "--port="], {}, "--port: '' is not a port number (1 to 65535)"),
    (FILE, {"MPP_PORT": "abc"}, "MPP_PORT: 'abc' is not a port number (1 to 65535)"),
    ([*FILE, "--port"], {}, "--port: needs a value"),
    ([*FILE, "--port", "--verbose"], {}, "--port: needs a value"),
    ([*FILE, "--port", "-V"], {}, "--port: needs a value"),
    ([*FILE, "--prot", "1"], {}, "--prot: no such option; did you mean --port?"),
    (["--endpoint-file=f"], {}, "--endpoint-file: no such option; did you mean --endpoints-file?"),
    ([*FILE, "--frobnicate"], {}, "--frobnicate: no such option; see 'mpp --help'"),
    ([*FILE, "-x"], {}, "-x: no such option; see 'mpp --help'"),
    ([*FILE, "serve"], {}, "'serve': no such command; options begin with --, 'mpp --help' lists them"),
    ([*FILE, "-V=perhaps"], {}, "-V: 'perhaps' is neither true nor false (true, 1, yes, false, 0, no)"),
    (FILE, {"MPP_VERBOSE": "2"}, "MPP_VERBOSE: '2' is neither true nor false (true, 1, yes, false, 0, no)"),
    (["--endpoints-file", ""], {}, "--endpoints-file: '' is not the path of a file"),
    ([*FILE, "--routing-strategy", ""], {}, "--routing-strategy: '' is empty"),
    (
        [*FILE, "--selection-interval", "soon"],
        {},
        "--selection-interval: 'soon' is not a duration such as 10s or 1m30s (100ms to 1h)",
    ),
    (
        [*FILE, "--selection-interval=100y"],
        {},
        "--selection-interval: '100y' is not a duration such as 10s or 1m30s (100ms to 1h)",
    ),
    ([*FILE, "--client-idle-timeout=8d"], {}, "--client-idle-timeout: '8d' is not a duration such as 5m or 1m30s (100ms to 7d)"),
    *(
        (
            [*FILE, f"{flag}=100y"],
            {},
            f"{flag}: '100y' is not a duration such as 10s or 1m30s ({least} to 7d)",
        )
        for flag, least in (
            ("--drain-timeout", "0"),
            ("--request-timeout", "10ms"),
            ("--suspect-after", "10ms"),
            ("--crash-suspect", "0"),
            ("--stall-timeout", "10ms"),
            ("--hedge-after", "0"),
            ("--cache-freshness", "0"),
            ("--cache-tail", "0"),
            ("--cache-max-age", "10ms"),
        )
    ),
    ([*FILE, "--workers=1000"], {}, "--workers: '1000' is not a number of workers (1 to 256)"),
    ([*FILE, "--workers=0"], {}, "--workers: '0' is not a number of workers (1 to 256)"),
    (
        FILE,
        {"MPP_AFFINITY_OPTIONS": "cookies,none"},
        "MPP_AFFINITY_OPTIONS: 'cookies,none' is not a comma-separated list of 'cookies', 'sourceip' and 'header:NAME',"
        " or 'none' alone",
    ),
    ([*FILE, "--listen", "9090"], {}, "--listen: '9090' is not a Twisted server endpoint such as tcp:9090:interface=127.0.0.1"),
    ([*FILE, "--retries=-1"], {}, "--retries: '-1' is not a whole number (0 or more)"),
    ([*FILE, "--response-buffer=lots"], {}, "--response-buffer: 'lots' is not a size such as 1048576, 512KiB or 10MiB"),
    (
        [*FILE, "--cache-memory=256"],
        {},
        "--cache-memory: '256' is too small for a cache; expected 0, or a size from 1MiB on such as 256MiB",
    ),
    ([*FILE, "--cache-memory=much"], {}, "--cache-memory: 'much' is not a size such as 1048576, 512KiB or 10MiB"),
    ([*FILE, "--cache-vary=a:b"], {}, "--cache-vary: 'a:b' is not the name of a header field such as X-Scope-OrgID"),
    (
        FILE,
        {"MPP_CACHE_NEUTRAL": "X-A X,B"},
        "MPP_CACHE_NEUTRAL: 'X,B' is not the name of a header field such as X-Scope-OrgID",
    ),
    *(
        (
            [*FILE, f"--cache-neutral={name}"],
            {},
            f"--cache-neutral: {name!r} decides what a client may read; expected a field without influence on responses",
        )
        for name in ("Authorization", "cookie", "ORIGIN")
    ),
    ([*FILE, "--max-request-body=1TiB"], {}, "--max-request-body: '1TiB' is not a size such as 1048576, 512KiB or 10MiB"),
    (
        [*FILE, "--trusted-proxies=everyone"],
        {},
        "--trusted-proxies: 'everyone' is not a network such as 10.0.0.0/8 or an address such as 192.0.2.1",
    ),
    (
        [*FILE, "--allow-unsafe-paths=all"],
        {},
        "--allow-unsafe-paths: 'all' is neither true nor false (true, 1, yes, false, 0, no)",
    ),
]


class ReadTests(SynchronousTestCase):
    """Command line and environment become Settings."""

    def test_command_line_wins_over_environment_and_default(self) -> None:
        """The command line wins over the environment, which wins over the default."""
        for argv, environ, expected in UNDERSTOOD:
            with self.subTest(argv=argv, environ=environ):
                settings = read([*FILE, *argv], environ).settings
                self.assertEqual(settings, expected)

    def test_bad_input_ends_in_one_line(self) -> None:
        """Bad input ends in one line that names the option as the operator wrote it and says what was expected."""
        for argv, environ, message in REFUSED:
            with self.subTest(argv=argv, environ=environ):
                error = self.assertRaises(ConfigError, read, argv, environ)
                self.assertEqual(str(error), message)

    def test_locator_in_environment(self) -> None:
        """The environment alone is enough to start."""
        settings = read([], {"MPP_ENDPOINTS_FILE": "g"}).settings
        self.assertEqual(settings, configured(endpoints_file="g"))

    def test_kubernetes_port(self) -> None:
        """A port that Kubernetes put into the environment is ignored with a warning."""
        warnings = read(FILE, {"MPP_PORT": "tcp://10.0.0.1:9090"}).warnings
        self.assertEqual(
            warnings,
            ("MPP_PORT: 'tcp://10.0.0.1:9090' is ignored: set by Kubernetes for a Service of that name, not by an operator",),
        )

    def test_unknown_variables(self) -> None:
        """A variable that nothing reads is warned of with the nearest right name, and without its value."""
        environ = {"MPP_ROUTNG_STRATEGY": "random", "MPP_FROB": "s3cret", "MPP_TEST_KUBECTL": "k", "MPP_PLAIN": "1"}
        self.assertEqual(
            read(FILE, environ).warnings,
            (
                "MPP_FROB: no such variable; see 'mpp --help'",
                "MPP_ROUTNG_STRATEGY: no such variable; did you mean MPP_ROUTING_STRATEGY?",
            ),
        )

    def test_unknown_locator(self) -> None:
        """Where nothing says where the servers are, a mistyped variable is named as well."""
        error = self.assertRaises(ConfigError, read, [], {"MPP_ENDPONT": "a:9090"})
        self.assertEqual(str(error.all[1]), "MPP_ENDPONT: no such variable; did you mean MPP_ENDPOINT?")

    def test_no_warnings(self) -> None:
        """Nothing is warned of when all is well."""
        self.assertEqual(read(FILE, {"MPP_PORT": "80", "MPP_SERVICE_HOST": "10.0.0.1"}).warnings, ())


class BlameTests(SynchronousTestCase):
    """An error found later is about the word that the operator used."""

    def test_errors_name_the_variable_that_was_set(self) -> None:
        """Who has set a variable reads of that variable."""
        reading = read(FILE, {"MPP_PORT": "80"})
        self.assertEqual(str(reading.with_option_name(ConfigError("--port", "80 is taken"))), "MPP_PORT: 80 is taken")

    def test_errors_name_the_option_of_a_default(self) -> None:
        """Who has set nothing reads of the option."""
        reading = read(FILE, {})
        self.assertEqual(str(reading.with_option_name(ConfigError("--port", "9090 is taken"))), "--port: 9090 is taken")

    def test_something_else(self) -> None:
        """An error about no option stays as it is."""
        error = ConfigError("mpp.strategies", "broken")
        self.assertIs(read(FILE, {}).with_option_name(error), error)


class AnswerTests(SynchronousTestCase):
    """Command lines that only ask for something to be printed."""

    def test_help_is_printed_whatever_else_is_wrong(self) -> None:
        """Help can be had by option, letter and word, whatever else is wrong with the values."""
        for argv in (["--help"], ["-h"], ["help"], ["h"], ["help", "me"], ["--port", "abc", "--help"], ["-V", "-h"]):
            with self.subTest(argv=argv):
                self.assertEqual(answer(argv), help_text())

    def test_version_is_printed_by_option_and_letter(self) -> None:
        """The version can be had by option and letter."""
        for argv in (["--version"], ["-v"], [*FILE, "--version"]):
            with self.subTest(argv=argv):
                self.assertEqual(answer(argv), f"mpp version {__version__}")

    def test_nothing_asked(self) -> None:
        """Everything else means to run."""
        for argv in ([], FILE, ["--endpoints-file=help"], ["--endpoints-file", "h"]):
            with self.subTest(argv=argv):
                self.assertIsNone(answer(argv))

    def test_unknown_before(self) -> None:
        """Something unknown is not passed over."""
        self.assertRaises(ConfigError, answer, ["--frobnicate", "--help"])


class SeenByAllTests(SynchronousTestCase):
    """Secrets on the command line, which ``ps`` shows to everybody."""

    def warnings(self, *argv: str, **environ: str) -> tuple[str, ...]:
        """Return what is warned of."""
        return ConfigSources((*FILE, *argv), environ).read().warnings

    def test_each_visible_secret_is_warned_of_once(self) -> None:
        """Each is warned of once, with the form that nobody sees, and without the secret."""
        seen = "a secret on the command line can be read by every user of this machine (ps); give it"
        for argv, warning in (
            (
                ("--http-sd", "http://u:s3cret@sd/", "--http-sd=http://v:s3cret@sd/"),
                f"--http-sd: {seen} as @ and the path of a file that holds the URL, or by the variable MPP_HTTP_SD",
            ),
            (
                ("--marathon-url=http://u:s3cret@m/", "--marathon-apps=/a"),
                f"--marathon-url: {seen} by --marathon-credentials-file, or by the variable MPP_MARATHON_URL",
            ),
            (
                ("--marathon-principal-secret", '{"uid": "s3cret"}'),
                f"--marathon-principal-secret: {seen} as @ and the path of a file that holds it, or by the variable"
                " MPP_MARATHON_PRINCIPAL_SECRET",
            ),
        ):
            with self.subTest(argv=argv):
                self.assertEqual(self.warnings(*argv), (warning,))

    def test_secrets_in_files_and_environment_are_not_warned_of(self) -> None:
        """In files and in the environment they are not seen."""
        for argv in (("--http-sd=http://sd/",), ("--http-sd=@sd.url",), ("--marathon-principal-secret=@secret.json",)):
            self.assertEqual(self.warnings(*argv), ())
        self.assertEqual(self.warnings(MPP_HTTP_SD="http://u:s3cret@sd/"), ())

    def test_no_file(self) -> None:
        """An @ alone names no file."""
        error = self.assertRaises(ConfigError, read, [*FILE, "--http-sd", "@"], {})
        self.assertEqual(str(error), "--http-sd: '@' names no file; expected @ and the path of a file that holds a URL")
