"""What is found to be wrong before anything is opened."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mpp.app.checks import check, check_config
from mpp.config.loader import ConfigSources
from mpp.core.errors import ConfigError
from mpp.core.settings import Settings
from tests.configured import configured


class CheckTests(SynchronousTestCase):
    """What is looked for before anything is opened."""

    def problem(self, settings: Settings) -> str:
        """Return what is wrong with settings."""
        return str(self.assertRaises(ConfigError, check, settings, MemoryReactorClock()))

    def test_no_such_file(self) -> None:
        """An endpoints file that is not there when mpp starts is most likely a slip of the pen."""
        self.assertEqual(
            self.problem(configured(endpoints_file="/nowhere/endpoints")),
            "--endpoints-file: '/nowhere/endpoints' cannot be read (No such file or directory); expected a file",
        )

    def test_folder_is_no_endpoints_file(self) -> None:
        """A folder is no endpoints file."""
        self.assertEqual(
            self.problem(configured(endpoints_file="/")), "--endpoints-file: '/' cannot be read (Is a directory); expected a file"
        )

    def test_named_pipe_is_no_endpoints_file(self) -> None:
        """A named pipe is no endpoints file either, and stops nothing."""
        path = os.path.abspath(self.mktemp())
        os.mkfifo(path)
        self.assertEqual(
            self.problem(configured(endpoints_file=path)),
            f"--endpoints-file: {path!r} cannot be read (not a regular file); expected a file",
        )

    def test_bad_endpoint_is_found_before_any_port_is_opened(self) -> None:
        """An endpoint that makes no sense is found before anything is opened."""
        self.assertEqual(
            self.problem(Settings(listen=("foo:1",))),
            "--listen: 'foo:1' is not a Twisted server endpoint (Unknown endpoint type: 'foo')",
        )

    def test_cache_needs_coverage(self) -> None:
        """The cache cannot know what is missing in a response if the servers' data is not compared."""
        self.assertEqual(
            self.problem(Settings(cache_memory=2**28, no_coverage=True)),
            "--cache-memory: the cache needs the comparison of the servers' data; expected 0 with --no-coverage",
        )
        check(Settings(no_coverage=True), MemoryReactorClock())

    def test_field_with_and_without_influence(self) -> None:
        """A header field cannot both have an influence on responses and have none."""
        self.assertEqual(
            self.problem(Settings(cache_vary=("x-a",), cache_neutral=("x-b", "x-a"))),
            "--cache-neutral: 'x-a' is also a value of --cache-vary; expected it in one of the two",
        )


class CheckConfigTests(SynchronousTestCase):
    """``mpp --check-config``."""

    def sources(self, text: str, *argv: str, environ: dict[str, str] | None = None) -> ConfigSources:
        """Write a file, and give what is read with it."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "mpp.yaml").write_text(text)
        return ConfigSources(("--config", "mpp.yaml", *argv), environ or {}, str(folder.absolute()))

    def problems(self, sources: ConfigSources) -> list[str]:
        """Return all that is wrong."""
        return [str(error) for error in self.assertRaises(ConfigError, check_config, sources, MemoryReactorClock()).all]

    def test_sound_file_is_reported_as_ok(self) -> None:
        """A sound file is called so by its name."""
        self.assertEqual(check_config(self.sources("endpoint: a:9090\n"), MemoryReactorClock()), "mpp.yaml: ok")

    def test_without_file(self) -> None:
        """What is on the command line and in the environment can be checked, too."""
        self.assertEqual(
            check_config(ConfigSources(("--endpoint", "a:9090"), {}), MemoryReactorClock()), "command line and environment: ok"
        )

    def test_all_errors_are_found_at_once(self) -> None:
        """What is written wrong, what is not there and what cannot work is found at once, each where it was written."""
        sources = self.sources(
            "prot: 80\nlisten: ['tcp:1', 'foo:1']\nendpoints-file: gone\nrouting-strategy: best\n"
            "endpoint: [a:9090, prom-b]\nkubeconfig: gone\nkube-service-name: prometheus\n",
            environ={"MPP_AFFINITY_OPTIONS": "luck", "MPP_FILE_SD": "x.txt"},
        )
        gone, wrong = (os.path.join(sources.folder, name) for name in ("gone", "x.txt"))
        self.assertEqual(
            self.problems(sources),
            [
                "mpp.yaml:1: prot: no such key; did you mean port?",
                "mpp.yaml:2: listen: 'foo:1' is not a Twisted server endpoint (Unknown endpoint type: 'foo')",
                f"mpp.yaml:3: endpoints-file: {gone!r} cannot be read (No such file or directory); expected a file",
                "mpp.yaml:4: routing-strategy: unknown 'best'; expected one of single-most-data, minimum-history:DURATION,"
                " random",
                "MPP_AFFINITY_OPTIONS: unknown 'luck'; expected one of cookies, sourceip, header:NAME",
                "mpp.yaml:5: endpoint: 'prom-b': no port given: expected host:port, like prom-a:9090, or a URL",
                f"MPP_FILE_SD: {wrong!r}: expected a path that ends in .json, .yml or .yaml, with wildcards in its last element"
                " only",
                f"mpp.yaml:6: kubeconfig: {gone}: No such file or directory",
            ],
        )

    def test_files_that_list_servers(self) -> None:
        """Each line and entry that a running mpp skips is printed with its file, and is no error: a reload would go on, too."""
        sources = self.sources("endpoints-file: endpoints\nfile-sd: ['targets/*.json', other.yml]\n")
        folder = Path(sources.folder)
        (folder / "endpoints").write_text("# the pair\nprom-a:9090\nprom-b\nhttp://:1\n")
        (folder / "targets").mkdir()
        (folder / "targets" / "a.json").write_text('[{"targets": ["c:9090", "d d"]}]')
        (folder / "targets" / "b.json").write_text("[")
        *problems, last = check_config(sources, MemoryReactorClock()).splitlines()
        self.assertEqual(last, "mpp.yaml: ok")
        said = "/endpoints:3: no port given: expected host:port, like prom-a:9090, or a URL; mpp uses the rest"
        self.assertTrue(problems[0].endswith(said), problems[0])
        self.assertEqual(
            [(problem.partition(": ")[0], problem.partition(f"{folder}/")[2].partition(": ")[0]) for problem in problems],
            [
                ("mpp.yaml:1", "endpoints:3"),
                ("mpp.yaml:1", "endpoints:4"),
                ("mpp.yaml:2", "targets/a.json"),
                ("mpp.yaml:2", "targets/b.json"),
                ("mpp.yaml:2", "other.yml"),
            ],
        )

    def test_files_without_errors(self) -> None:
        """A pattern that matches no file yet, and a comment alone, are valid."""
        sources = self.sources("endpoints-file: endpoints\nfile-sd: '*.json'\n")
        Path(sources.folder, "endpoints").write_text("# nothing yet\n")
        self.assertEqual(check_config(sources, MemoryReactorClock()), "mpp.yaml: ok")

    def test_told_once(self) -> None:
        """A value that is wrong is not said to be missing as well."""
        sources = self.sources("endpoint: a:9090\nmarathon-apps: prom\nmarathon-url: leader\n")
        self.assertEqual(
            self.problems(sources), ["mpp.yaml:3: marathon-url: 'leader' is not a URL such as http://host:8080/path"]
        )

    def test_unknown_variables(self) -> None:
        """A variable that nothing reads is an error, named once also where nothing says where the servers are."""
        unknown = "MPP_ROUTNG_STRATEGY: no such variable; did you mean MPP_ROUTING_STRATEGY?"
        environ = {"MPP_ROUTNG_STRATEGY": "random"}
        self.assertEqual(self.problems(self.sources("endpoint: a:9090\n", environ=environ)), [unknown])
        problems = self.problems(self.sources("port: 80\n", environ=environ))
        self.assertEqual((len(problems), problems[1]), (2, unknown))

    def test_socket_of_systemd_need_not_exist_at_a_check(self) -> None:
        """A socket that systemd will hand over need not be there when the file is checked."""
        inherited = "systemd:domain=INET6:name=mpp"
        sources = self.sources(f"endpoint: a:9090\nlisten: {inherited}\nadmin-listen: {inherited}\n")
        self.assertEqual(check_config(sources, MemoryReactorClock()), "mpp.yaml: ok")
