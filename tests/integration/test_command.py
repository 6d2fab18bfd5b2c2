"""The commands ``mpp`` and ``twistd mpp``, as an operator types them: every wrong input ends in one clear line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

from mpp._version import __version__
from mpp.config.help import help_text
from tests.integration.processes import wait_until
from tests.integration.workers import KEPT

ROOT = Path(__file__).parents[2]

MPP = (sys.executable, "-m", "mpp")
TWISTD = (sys.executable, "-c", "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()")
TWISTD_MPP = (*TWISTD, "--nodaemon", "--pidfile=", "mpp")

PATIENCE = 30
"""Seconds after which a command that should have ended, or answered, is given up: generous, for a busy machine."""

WRONG: list[tuple[list[str], dict[str, str], str]] = [
    (
        [],
        {},
        "--endpoints-file: missing; mpp needs a source of Prometheus servers: this option, its variable"
        " MPP_ENDPOINTS_FILE, or one of --endpoint, --file-sd, --http-sd, --dns, --marathon-url, --kube-service-name,"
        " --kube-pod-label-selector",
    ),
    (["--port", "abc"], {}, "--port: 'abc' is not a port number (1 to 65535)"),
    ([], {"MPP_PORT": "70000"}, "MPP_PORT: '70000' is not a port number (1 to 65535)"),
    (["--endpoint-file", "x"], {}, "--endpoint-file: no such option; did you mean --endpoints-file?"),
    (["--port"], {}, "--port: needs a value"),
    (["serve"], {}, "'serve': no such command; options begin with --, 'mpp --help' lists them"),
    (["--selection-interval", "10"], {}, "--selection-interval: '10' is not a duration such as 10s or 1m30s (100ms to 1h)"),
    (["--verbose=loud"], {}, "--verbose: 'loud' is neither true nor false (true, 1, yes, false, 0, no)"),
    (["--listen", "foo:1"], {}, "--listen: 'foo:1' is not a Twisted server endpoint (Unknown endpoint type: 'foo')"),
    (
        ["--listen", "ssl:1:privateKey=/nowhere/key.pem"],
        {},
        "--listen: 'ssl:1:privateKey=/nowhere/key.pem': /nowhere/key.pem cannot be read (No such file or directory);"
        " expected the files of a key and its certificate",
    ),
    (
        ["--endpoints-file", "/nowhere/endpoints"],
        {},
        "--endpoints-file: '/nowhere/endpoints' cannot be read (No such file or directory); expected a file",
    ),
    (
        [],
        {"MPP_ENDPOINTS_FILE": "/nowhere/endpoints"},
        "MPP_ENDPOINTS_FILE: '/nowhere/endpoints' cannot be read (No such file or directory); expected a file",
    ),
]


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without any variable of mpp but those given, and those that say how the tests run."""
    return {**{name: text for name, text in os.environ.items() if name in KEPT or not name.startswith("MPP_")}, **more}


def run(command: Sequence[str], more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command, cwd=ROOT, env=environment(more or {}), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
    )


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


class CommandTestCase(SynchronousTestCase):
    """Runs commands against an endpoints file whose server is not there."""

    def setUp(self) -> None:
        """Write an endpoints file."""
        path = Path(self.mktemp()).absolute()
        path.write_text(f"http://127.0.0.1:{free_port()}\n")
        self.file = ["--endpoints-file", str(path)]

    def assert_refused(self, ended: subprocess.CompletedProcess[str], message: str) -> None:
        """The command ended with exactly this line on stderr."""
        self.assertEqual(ended.stderr, f"mpp: {message}\n")
        self.assertEqual(ended.returncode, 2)
        self.assertNotIn("Traceback", ended.stdout)
        self.assertNotIn("Usage", ended.stdout)

    @contextmanager
    def running(self, command: Sequence[str], more: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
        """Keep a command running, and end it as a supervisor does."""
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(more or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            self.out, self.err = process.communicate(timeout=PATIENCE)

    def health(self, process: subprocess.Popen[str], host: str, port: int) -> str:
        """Return what ``/mpp/health`` answers, as soon as something answers."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with urlopen(f"http://{host}:{port}/mpp/health", timeout=PATIENCE) as answer:
                    text: str = answer.read().decode()
                    return text
            except URLError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.05)


class AnswerTests(CommandTestCase):
    """Commands that print something and end."""

    def test_help_is_printed_by_both_commands(self) -> None:
        """Help can be had in every way, from both commands."""
        for command in (
            (*MPP, "--help"),
            (*MPP, "-h"),
            (*MPP, "help"),
            (*MPP, "h"),
            (*TWISTD_MPP, "--help"),
            (*TWISTD_MPP, "help"),
        ):
            with self.subTest(command=command):
                ended = run(command)
                self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, help_text() + "\n", ""))

    def test_version_is_printed_by_both_commands(self) -> None:
        """The version can be had in every way, from both commands."""
        for command in ((*MPP, "--version"), (*MPP, "-v"), (*TWISTD_MPP, "--version")):
            with self.subTest(command=command):
                ended = run(command)
                self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, f"mpp version {__version__}\n", ""))

    def test_closed_pipe_ends_the_command_silently(self) -> None:
        """A command whose output is read no further, as by ``head``, ends silently by SIGPIPE."""
        for command in (
            (*MPP, "--help"),
            (*MPP, "--completion", "bash"),
            (*MPP, "--check-config", *self.file),
            (*TWISTD_MPP, "--help"),
        ):
            with self.subTest(command=command):
                reader, writer = os.pipe()
                os.close(reader)
                with open(writer, "wb") as stdout:
                    ended = subprocess.run(
                        command, cwd=ROOT, env=environment({}), stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=PATIENCE
                    )
                self.assertEqual((ended.returncode, ended.stderr), (-signal.SIGPIPE, ""))

    def test_twistd_lists_mpp(self) -> None:
        """``twistd --help`` knows mpp."""
        self.assertRegex(run((*TWISTD, "--help")).stdout, r"(?m)^ +mpp +A proxy in front of identical Prometheus servers$")


class WrongInputTests(CommandTestCase):
    """Commands that cannot work."""

    def test_wrong_input_ends_in_one_line(self) -> None:
        """Each wrong input is one line on stderr and a status, from both commands."""
        for argv, more, message in WRONG:
            given = [*argv] if "missing" in message or "MPP_ENDPOINTS_FILE" in more else [*self.file, *argv]
            for command in (MPP, TWISTD_MPP):
                with self.subTest(argv=given, more=more, command=command):
                    self.assert_refused(run((*command, *given), more), message)

    def test_wrong_strategy_names_the_right_ones(self) -> None:
        """A wrong strategy is told what strategies there are, and a missing argument that it is missing."""
        for text in ("fastest", "minimum-history", "minimum-history:", "minimum-history:long", "random:7"):
            for argv, more, word in (
                (["--routing-strategy", text], {}, "--routing-strategy"),
                ([], {"MPP_ROUTING_STRATEGY": text}, "MPP_ROUTING_STRATEGY"),
            ):
                with self.subTest(argv=argv, more=more):
                    ended = run((*MPP, *self.file, *argv), more)
                    self.assertEqual(ended.returncode, 2)
                    self.assertEqual(len(ended.stderr.splitlines()), 1)
                    self.assertTrue(ended.stderr.startswith(f"mpp: {word}: "), ended.stderr)
                    self.assertIn(text.partition(":")[0], ended.stderr)

    def test_wrong_affinity_is_named(self) -> None:
        """A wrong affinity is named."""
        ended = run((*MPP, *self.file, "--affinity-options", "cookies,karma"))
        self.assertEqual(ended.returncode, 2)
        self.assertEqual(len(ended.stderr.splitlines()), 1)
        self.assertTrue(ended.stderr.startswith("mpp: --affinity-options: "), ended.stderr)
        self.assertIn("'karma'", ended.stderr)

    def test_port_in_use(self) -> None:
        """A port that is taken ends the program, whoever names it and however it is started."""
        with socket.create_server(("", 0), family=socket.AF_INET) as taken:
            port = taken.getsockname()[1]
            for command in (MPP, TWISTD_MPP):
                for argv, more, word in (
                    (["--port", str(port)], {}, f"--port: {port}"),
                    ([], {"MPP_PORT": str(port)}, f"MPP_PORT: {port}"),
                    ([f"--listen=tcp:{port}"], {}, f"--listen: 'tcp:{port}'"),
                ):
                    with self.subTest(argv=argv, more=more, command=command):
                        ended = run((*command, *self.file, *argv), more)
                        self.assert_refused(ended, f"{word} is already in use; expected a free port")

    def test_daemon_in_trouble(self) -> None:
        """A daemon that cannot listen says so before its parent ends, and leaves no pid file."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        with socket.create_server(("", 0), family=socket.AF_INET) as taken:
            port = taken.getsockname()[1]
            here = f"--pidfile={folder}/pid", f"--logfile={folder}/log"
            ended = run((*TWISTD, *here, "mpp", *self.file, "--port", str(port)))
        self.assertEqual(ended.returncode, 1)
        self.assertIn(f"mpp: --port: {port} is already in use; expected a free port", ended.stderr)
        self.assertNotIn("Traceback", ended.stderr)
        # The parent is told of the trouble before the daemon has tidied up.
        wait_until(lambda: not (folder / "pid").exists(), "the pid file is gone")


class RunningTests(CommandTestCase):
    """Commands that work."""

    def test_both_commands(self) -> None:
        """Started either way it answers on its port, on IPv4, and ends when told to."""
        for command in (MPP, TWISTD_MPP):
            with self.subTest(command=command):
                port = free_port()
                with self.running((*command, *self.file, "--port", str(port))) as process:
                    self.assertEqual(self.health(process, "127.0.0.1", port).strip(), "OK")
                self.assertEqual(process.returncode, -signal.SIGTERM)
                self.assertEqual(self.err, "")
                self.assertNotIn("Traceback", self.out)

    def test_listen_only(self) -> None:
        """With ``--listen`` alone nothing else is opened, and Kubernetes' variable is warned of."""
        port = free_port()
        argv = (*MPP, *self.file, f"--listen=tcp:{port}:interface=127.0.0.1")
        with self.running(argv, {"MPP_PORT": "tcp://10.0.0.1:9090"}) as process:
            self.assertEqual(self.health(process, "127.0.0.1", port).strip(), "OK")
            self.assertEqual(listening_ports(process.pid), {port})
        self.assertIn("MPP_PORT: 'tcp://10.0.0.1:9090' is ignored", self.out)


def listening_ports(pid: int) -> set[int]:
    """Return the TCP ports that a process listens on."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(descriptor)
        if target.startswith("socket:["):
            inodes.add(target[len("socket:[") : -1])
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


class CheckConfigTests(CommandTestCase):
    """``--check-config``, of both commands."""

    def write(self, text: str) -> list[str]:
        """Write a configuration file; give the options for it."""
        path = Path(self.mktemp()).absolute()
        path.write_text(text)
        return ["--config", str(path)]

    def test_sound_file_ends_with_status_0(self) -> None:
        """A sound file ends with status 0, though the port is taken, and nothing is logged."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            config = self.write(f"port: {taken.getsockname()[1]}\nendpoint: 127.0.0.1:1\n")
            for command in (MPP, TWISTD_MPP):
                with self.subTest(command=command):
                    ended = run((*command, *config, "--check-config"))
                    self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, f"{config[1]}: ok\n", ""))

    def test_all_errors_are_reported_at_once(self) -> None:
        """All that is wrong is told at once, one line each, and the status is 2; a start with such a file ends alike."""
        config = self.write("prot: 1\nretries: many\n")
        lines = (
            f"mpp: {config[1]}:1: prot: no such key; did you mean port?\n"
            f"mpp: {config[1]}:2: retries: expected a whole number, found the text 'many'\n"
        )
        for command in (MPP, TWISTD_MPP):
            with self.subTest(command=command):
                started = run((*command, *config))
                self.assertEqual((started.returncode, started.stdout, started.stderr), (2, "", lines))
                checked = run((*command, *config, "--check-config", "--routing-strategy", "best"))
                strategies = "expected one of single-most-data, minimum-history:DURATION, random"
                more = f"mpp: --routing-strategy: unknown 'best'; {strategies}\n"
                self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (2, "", lines + more))
