"""The configuration file."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mpp.config.file import KEYS, read_text
from mpp.config.loader import ConfigSources, read
from mpp.config.options import OPTIONS
from mpp.core.errors import ConfigError
from mpp.core.settings import Settings
from mpp.discovery.kinds.endpoint import EndpointSettings
from mpp.discovery.kubernetes.settings import KubeSettings
from mpp.discovery.marathon.settings import MarathonSettings
from tests.configured import configured
from tests.documents import configuration

UNDERSTOOD: list[tuple[str, Settings]] = [
    ("port: 80\n", configured(endpoints=("a:1",), port=80)),
    ('{"port": 80, "verbose": true}', configured(endpoints=("a:1",), port=80, verbose=True)),
    ("verbose: yes\ninsecure: off\n", configured(endpoints=("a:1",), verbose=True)),
    ("selection-interval: 1m30s\nrequest-timeout: 250ms\n", Settings(("a:1"), selection_interval=90.0, request_timeout=0.25)),
    ("hedge-after: 0\n", configured(endpoints=("a:1",))),
    ("retry-budget: 0.1\n", configured(endpoints=("a:1",), retry_budget=0.1)),
    ("retry-budget: 10%\n", configured(endpoints=("a:1",), retry_budget=0.1)),
    ("response-buffer: 65536\n", configured(endpoints=("a:1",), response_buffer=65536)),
    ("max-request-body: 1MB\n", configured(endpoints=("a:1",), max_request_body=10**6)),
    ("listen: tcp:1\n", configured(endpoints=("a:1",), port=None, listen=("tcp:1",))),
    ("listen: [tcp:1, 'tcp:2']\nport: 3\n", configured(endpoints=("a:1",), port=3, listen=("tcp:1", "tcp:2"))),
    ("affinity-options: [sourceip, cookies]\n", configured(endpoints=("a:1",), affinity_options=("sourceip", "cookies"))),
    ("affinity-options: sourceip,cookies\n", configured(endpoints=("a:1",), affinity_options=("sourceip", "cookies"))),
    ("affinity-options: none\n", configured(endpoints=("a:1",), affinity_options=())),
    ("trusted-proxies:\n- 192.0.2.1\n- 10.0.0.0/8\n", Settings(trusted_proxies=("192.0.2.1/32", "10.0.0.0/8"))),
    ("kube-port: 9090\nkube-namespace: '123'\n", configured(kube=KubeSettings(port="9090", namespace="123"))),
    ("kubeconfig: a:/b\n", configured(kube=KubeSettings(kubeconfig="/etc/mpp/a:/b"))),
    ("endpoints-file: targets\n", configured(endpoints_file="/etc/mpp/targets")),
    ("file-sd: [t/*.json, /x.yml]\n", configured(file_sd=("/etc/mpp/t/*.json", "/x.yml"))),
    (
        "marathon-apps: [a, /b]\nmarathon-principal-secret: '@secret.json'\nmarathon-url: [http://m:1, http://m:2]\n",
        configured(
            marathon=MarathonSettings(
                urls=("http://m:1", "http://m:2"), apps=("/a", "/b"), principal_secret="@/etc/mpp/secret.json"
            )
        ),
    ),
]

REFUSED: list[tuple[str, str]] = [
    ("prot: 1\n", "mpp.yaml:1: prot: no such key; did you mean port?"),
    ("\n\nrouting_strategy: random\n", "mpp.yaml:3: routing_strategy: no such key; did you mean routing-strategy?"),
    ("--port: 1\n", "mpp.yaml:1: --port: no such key; did you mean port?"),
    ("frobnicate: 1\n", "mpp.yaml:1: frobnicate: no such key"),
    ("help: true\n", "mpp.yaml:1: help: no such key"),
    ("config: other.yaml\n", "mpp.yaml:1: config: a configuration file cannot name another one"),
    ("", "mpp.yaml: has no key at all; expected options by name, such as 'port: 9090'"),
    ("# nothing\n", "mpp.yaml: has no key at all; expected options by name, such as 'port: 9090'"),
    ("{}\n", "mpp.yaml: has no key at all; expected options by name, such as 'port: 9090'"),
    ("port: 1\nport: 2\n", "mpp.yaml:2: the key 'port' is repeated"),
    ("port: abc\n", "mpp.yaml:1: port: expected a whole number, found the text 'abc'"),
    ("port: '80'\n", "mpp.yaml:1: port: expected a whole number, found the text '80'"),
    ("port: 99999\n", "mpp.yaml:1: port: '99999' is not a port number (1 to 65535)"),
    ("port:\n", "mpp.yaml:1: port: expected a whole number, found nothing"),
    ("port: [1]\n", "mpp.yaml:1: port: expected a whole number, found a list"),
    ("port: yes\n", "mpp.yaml:1: port: expected a whole number, found yes"),
    ("retries: 2.5\n", "mpp.yaml:1: retries: expected a whole number, found 2.5"),
    ("verbose: 1\n", "mpp.yaml:1: verbose: expected true or false, found 1"),
    ("verbose: 'true'\n", "mpp.yaml:1: verbose: expected true or false, found the text 'true'"),
    ("kube-namespace: on\n", "mpp.yaml:1: kube-namespace: expected text, found on; put it in quotes if it is meant as text"),
    ("kube-namespace: {a: b}\n", "mpp.yaml:1: kube-namespace: expected text, found keys and values"),
    ("kube-namespace: [a]\n", "mpp.yaml:1: kube-namespace: expected text, found a list"),
    ("endpoint: []\n", "mpp.yaml:1: endpoint: an empty list; leave the key out instead"),
    ("endpoint: [[a]]\n", "mpp.yaml:1: endpoint: expected text, found a list"),
    ("endpoint:\n- a:1\n-\n", "mpp.yaml:1: endpoint: expected text, found nothing"),
    (
        "selection-interval: 10\n",
        "mpp.yaml:1: selection-interval: '10' is not a duration such as 10s or 1m30s (100ms to 1h)",
    ),
    ("- port: 1\n", "mpp.yaml:1: expected keys and values such as 'port: 9090', found a list"),
    ("port 9090\n", "mpp.yaml:1: expected keys and values such as 'port: 9090', found the text 'port 9090'"),
    ("a: *s3cr3t\n", "mpp.yaml:1: an alias without an anchor"),
    ("port: 1\n---\nport: 2\n", "mpp.yaml:2: a second document begins; expected one"),
    ("a: &a {b: c}\nd: {<<: *a}\n", "mpp.yaml:2: merge keys (<<) are not supported"),
    ("[" * 100_000, "mpp.yaml:1: nested too deeply"),
    (
        "marathon-principal-secret: s3cr3t\n",
        "mpp.yaml:1: marathon-principal-secret: a secret has no place in this file; give it as @ and the path of a file, or by"
        " the variable MPP_MARATHON_PRINCIPAL_SECRET",
    ),
    (
        "marathon-url: http://admin:s3cr3t@host:99999\n",
        "mpp.yaml:1: marathon-url: a user and password (an @) have no place in this file; give the URL by the variable"
        " MPP_MARATHON_URL",
    ),
    (
        "http-sd: ['http://admin:s3/cr3t@host']\n",
        "mpp.yaml:1: http-sd: a user and password (an @) have no place in this file; give the URL in a file, as @ and its path,"
        " or by the variable MPP_HTTP_SD",
    ),
]


class TextTests(SynchronousTestCase):
    """What can stand in the file."""

    def test_every_option_has_a_key(self) -> None:
        """Every option but those that print, check or name the file has a key: its own words."""
        without = {"--config", "--check-config", "--completion", "--help", "--version"}
        self.assertEqual({f"--{key}" for key in KEYS}, {option.flag for option in OPTIONS} - without)

    def test_values_have_the_types_of_yaml(self) -> None:
        """Numbers and switches are YAML's, durations and sizes text; several values are a list, or one. Paths begin there."""
        for text, expected in UNDERSTOOD:
            with self.subTest(text=text):
                reading = read_text(text, "mpp.yaml", "/etc/mpp")
                self.assertEqual(reading.errors, ())
                for option, value in reading.given.items():
                    self.assertEqual(value, option.of(expected))

    def test_errors_name_file_line_and_what_was_expected(self) -> None:
        """What is wrong is told with file and line, the nearest right name or what was expected, and without any secret."""
        for text, message in REFUSED:
            with self.subTest(text=text[:50]):
                errors = read_text(text, "mpp.yaml").errors
                self.assertEqual([str(error) for error in errors], [message])
                self.assertNotIn("cr3t", str(errors))

    def test_not_yaml(self) -> None:
        """What the parser says of a text that it does not understand is told; how it says so depends on the parser."""
        (error,) = read_text("a: b\n\tc: d\n", "mpp.yaml").errors
        self.assertRegex(str(error), r"\Ampp\.yaml:2: not YAML: found .*(tab|token)")

    def test_all_at_once(self) -> None:
        """Everything that is wrong is told, in the order of the lines."""
        errors = read_text("port: x\nport: y\nprot: 1\nretries: z\n", "f").errors
        self.assertEqual([error.option for error in errors], ["f:2", "f:2: port", "f:3: prot", "f:4: retries"])

    def test_errors_of_a_foreign_file_are_bounded(self) -> None:
        """A file that is something else altogether is not answered with thousands of lines."""
        self.assertLess(len(read_text("".join(f"k{n}: 1\n" for n in range(5000)), "f").errors), 60)


class ExamplesTests(SynchronousTestCase):
    """The examples in the documentation."""

    def test_documented_examples_are_valid(self) -> None:
        """They work as they stand there."""
        reading = read_text(configuration("mpp.yaml"), "mpp.yaml")
        self.assertEqual((reading.errors, len(reading.given)), ((), 8))
        reading = read_text(configuration("servers.yaml"), "servers.yaml")
        self.assertEqual((reading.errors, len(reading.http.rules)), ((), 2))
        self.assertEqual(read_text(configuration("gateways.yaml"), "gateways.yaml").errors, ())
        reading = read_text(configuration("tenants.yaml"), "tenants.yaml")
        self.assertEqual((reading.errors, len(reading.http.default.headers)), ((), 2))
        file = Path(self.mktemp())
        file.write_text(configuration("found.yaml"))
        reading = ConfigSources(("--config", str(file)), {}).read()
        self.assertEqual((reading.errors, len(reading.settings.http.locators)), ((), 2))


class FileTests(SynchronousTestCase):
    """The file among the other sources."""

    def setUp(self) -> None:
        """Make a folder."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.path = self.folder / "mpp.yaml"
        self.path.write_text("endpoint: a:9090\nport: 1\nretries: 1\nlisten: tcp:1\n")

    def test_locating_option_in_the_file_is_enough_to_start(self) -> None:
        """A locating option in the file is enough to start."""
        settings = read(["--config", str(self.path)], {}).settings
        self.assertEqual(settings, configured(config=str(self.path), endpoints=("a:9090",), port=1, retries=1, listen=("tcp:1",)))

    def test_command_line_and_environment_win_over_the_file(self) -> None:
        """The command line wins over the environment, which wins over the file."""
        settings = read(["--retries=3"], {"MPP_CONFIG": str(self.path), "MPP_RETRIES": "2", "MPP_PORT": "2"}).settings
        self.assertEqual((settings.retries, settings.port, settings.discovery[EndpointSettings].urls), (3, 2, ("a:9090",)))

    def test_later_error_names_the_line(self) -> None:
        """An error that is found later names the line."""
        error = read(["--config", str(self.path)], {}).with_option_name(ConfigError("--port", "1 is taken"))
        self.assertEqual(str(error), f"{self.path}:2: port: 1 is taken")

    def test_overridden_value_in_the_file_is_checked(self) -> None:
        """What is wrong in the file is wrong, even if something else wins over it."""
        self.path.write_text("endpoint: a:9090\nport: x\n")
        error = self.assertRaises(ConfigError, read, ["--config", str(self.path), "--port", "1"], {})
        self.assertEqual(str(error), f"{self.path}:2: port: expected a whole number, found the text 'x'")

    def test_relative_paths_of_the_file_begin_in_its_folder(self) -> None:
        """Relative paths begin in the folder where mpp was started; those in the file, where the file is."""
        self.path.write_text("endpoints-file: e\n")
        settings = (
            ConfigSources(("--config=mpp.yaml", "--kubeconfig=k"), {"MPP_FILE_SD": "s.json"}, str(self.folder)).read().settings
        )
        self.assertEqual(
            [KEYS[key].of(settings) for key in ("endpoints-file", "kubeconfig", "file-sd")],
            [str(self.folder / "e"), str(self.folder / "k"), (str(self.folder / "s.json"),)],
        )

    def test_unreadable_file_is_blamed_on_its_option(self) -> None:
        """A file that cannot be read is blamed on who named it."""
        for path, why in (("/nowhere", "No such file or directory"), ("/", "Is a directory")):
            with self.subTest(path=path):
                error = self.assertRaises(ConfigError, read, [], {"MPP_CONFIG": path})
                self.assertEqual(str(error), f"MPP_CONFIG: {path!r} cannot be read ({why}); expected a file")
        self.path.write_bytes(b"\xff\xfe")
        error = self.assertRaises(ConfigError, read, ["--config", str(self.path)], {})
        self.assertEqual(error.problem, f"{str(self.path)!r} cannot be read (not UTF-8 text); expected a file")

    def test_errors_of_all_sources_are_reported_together(self) -> None:
        """All sources' mistakes are told together."""
        self.path.write_text("prot: 1\nretries: x\n")
        error = self.assertRaises(ConfigError, read, ["--config", str(self.path), "--port=x"], {})
        self.assertEqual([each.option for each in error.all], [f"{self.path}:1: prot", f"{self.path}:2: retries", "--port"])
