"""The log of a running mpp: one line for each event, that a machine can read, whatever happens to mpp or to its reader."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.clients import FORM, Load
from tests.integration.processes import CHECKOUT, Mpp, Simulated, die_with_parent, fetch, free_port, wait_until
from tests.integration.test_command import TWISTD
from tests.integration.test_reload import Configured
from tests.unit.app.test_logs import read_logfmt

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
READERS: dict[str, Callable[[str], dict[str, Any]]] = {"logfmt": read_logfmt, "json": json.loads}
HOSTILE = 'sum(a)\nlevel=error msg="x"\x1b[31m\u2028'


class LogCase(SynchronousTestCase):
    """One simulated server, and mpp in front of it."""

    def server(self) -> Simulated:
        """Start a server."""
        return Simulated("--version", "3.5.0").start_for(self)

    def mpp(self, backends: list[str], *options: str) -> Mpp:
        """Start mpp."""
        return Mpp(backends, *options).start_for(self)

    def lines(self, mpp: Mpp, form: str) -> list[dict[str, Any]]:
        """Read the whole log; fails at a line that is none."""
        # Not splitlines(), which knows more ends of a line than those who collect logs.
        return [READERS[form](line) for line in mpp.log().split("\n") if line]

    def requests(self, mpp: Mpp, form: str, count: int) -> list[dict[str, Any]]:
        """Wait for so many lines of the access log, but those of mpp's own pages, and give them."""

        def found() -> list[dict[str, Any]]:
            lines = [line for line in self.lines(mpp, form) if line["component"] == "mpp.access"]
            return [line for line in lines if not line["path"].startswith("/mpp/")]

        wait_until(lambda: len(found()) >= count, f"{count} requests are in the log", 10)
        return found()


class FormatTests(LogCase):
    """Both formats."""

    def test_every_line_can_be_read(self) -> None:
        """From the first line to the last every line is one of its format, twistd's own included."""
        for form in READERS:
            with self.subTest(form=form):
                mpp = self.mpp([f"127.0.0.1:{free_port()}"], "--log-format", form, "--verbose", "--access-log")
                fetch(mpp.port, "/api/v1/query?query=up")
                mpp.stop()
                lines = self.lines(mpp, form)
                self.assertEqual(
                    {name for line in lines for name in ("ts", "level", "msg", "component") if name not in line}, set()
                )
                self.assertIn("is down", " ".join(line["msg"] for line in lines))
                self.assertLessEqual({"debug", "info", "warn"}, {line["level"] for line in lines})
                self.assertEqual(lines[-1]["msg"], "Server Shut Down.")

    def test_log_level_selects_lines_but_not_the_access_log(self) -> None:
        """Only what is as important as the level is written, and the access log."""
        mpp = self.mpp([f"127.0.0.1:{free_port()}"], "--log-level", "warn", "--access-log")
        fetch(mpp.port, "/api/v1/query?query=up")
        mpp.stop()
        lines = self.lines(mpp, "logfmt")
        levels = {line["level"] for line in lines if line["component"] != "mpp.access"}
        # The status is logged, as an error, only when mpp runs for a second.
        self.assertEqual(levels - {"error"}, {"warn"})
        self.assertEqual([line["status"] for line in lines if line.get("path") == "/api/v1/query"], ["503"])

    def test_log_file(self) -> None:
        """A daemon writes the same lines to its log file."""
        mpp = self.mpp([f"127.0.0.1:{free_port()}"])
        mpp.stop()
        path = mpp.folder / "twistd.log"
        options = ["--endpoints-file", str(mpp.endpoints_file), "--port", str(free_port()), "--log-format", "json"]
        process = subprocess.Popen(
            [*TWISTD, "--nodaemon", "--pidfile=", f"--logfile={path}", "mpp", *options], cwd=CHECKOUT, preexec_fn=die_with_parent
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        wait_until(lambda: path.exists() and "mpp serves" in path.read_text(), "it logs to its file", 20)
        self.assertEqual(json.loads(path.read_text().partition("\n")[0])["level"], "info")


class ReloadedTests(LogCase):
    """Another configuration, while lines are written."""

    def test_log_options_change_under_load(self) -> None:
        """Format, level and access log change under load: every line is whole, and no request is missing."""
        server = self.server()
        keys = {"endpoint": server.url, "access_log": True, "enable_lifecycle": True}
        mpp = Configured(**keys).start_for(self)
        with Load(mpp.port, clients=4, pause=0.002) as load:
            for text, changed in (
                ("log-format: json\n", ["log-format"]),
                ("log-format: json\nlog-level: warn\n", ["log-level"]),
                ("", ["log-format", "log-level"]),
            ):
                mpp.write(text, **keys)
                self.assertEqual(mpp.post(), (200, {"status": "success", "data": {"changed": changed}}))
                time.sleep(0.7)
            mpp.write("log-format: json\n", **keys)
            mpp.hang_up("changed: log-format")
            tally = load.stop()
        mpp.write(**{**keys, "access_log": False})
        self.assertEqual(mpp.post()[1]["data"], {"changed": ["log-format", "access-log"]})
        fetch(mpp.port, "/api/v1/query?query=unseen")
        mpp.stop()
        text = [line for line in mpp.log().split("\n") if line]
        lines = [READERS["json" if line.startswith("{") else "logfmt"](line) for line in text]
        changes = sum(one.startswith("{") is not other.startswith("{") for one, other in itertools.pairwise(text))
        logged = [line for line in lines if line["component"] == "mpp.access" and not line["path"].startswith("/mpp/")]
        print(f"\nlog reloaded under load: {tally.requests} requests, {len(logged)} lines, {len(tally.failures)} failed")
        self.assertEqual((tally.failures, changes, len(logged)), ([], 4, tally.requests))
        self.assertNotIn("unseen", mpp.log())
        told = [line["what"] for line in lines if line["msg"].startswith("configuration reloaded")]
        changed = [
            f"changed: {options}" for options in ("log-format", "log-format, log-level", "log-format", "log-format, access-log")
        ]
        self.assertEqual(told, changed)


class AccessTests(LogCase):
    """The access log of real requests."""

    def test_each_request_is_one_access_line(self) -> None:
        """Each request is one line with its fields, and nothing a client sends breaks out of it."""
        server = self.server()
        credentials = base64.b64encode(b"ann:s3cret").decode()
        for form in READERS:
            with self.subTest(form=form):
                mpp = self.mpp([server.url], "--access-log", "--log-format", form)
                headers = {"Authorization": f"Basic {credentials}", "X-Dashboard-Uid": "d 1", "X-Panel-Id": "4"}
                headers |= {"X-Grafana-User": "bob", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
                size = len(fetch(mpp.port, "/api/v1/query?query=up", headers=headers)[2])
                body = b"query=" + "".join(f"%{byte:02x}" for byte in HOSTILE.encode()).encode()
                fetch(mpp.port, "/api/v1/query", method="POST", headers=FORM, body=body)
                get, post = self.requests(mpp, form, 2)
                expected = {"client": "127.0.0.1", "user": "ann", "dashboard": "d 1", "panel": "4", "grafana_user": "bob"}
                expected |= {"method": "GET", "path": "/api/v1/query", "query": "up", "trace_id": TRACE}
                expected |= {"status": "200", "backend": server.address, "attempts": "1", "bytes": str(size)}
                self.assertEqual({name: str(get[name]) for name in expected}, expected)
                self.assertLess(0, float(get["duration_s"]))
                self.assertEqual((post["method"], post["query"], post["level"]), ("POST", HOSTILE, "info"))
                self.assertNotIn("s3cret", mpp.log())
                self.assertNotIn(credentials, mpp.log())

    def test_retried_server_is_in_the_access_line(self) -> None:
        """A server that breaks off is told of in the line of the request that another one answered."""
        first, second = self.server(), self.server()
        mpp = self.mpp([first.url, second.url], "--access-log")
        mpp.wait_selected(first.address)
        first.spoil("half-reset")
        self.assertEqual(fetch(mpp.port, "/api/v1/query?query=up")[0], 200)
        (line,) = self.requests(mpp, "logfmt", 1)
        self.assertEqual((line["status"], line["backend"], line["attempts"]), ("200", second.address, "2"))
        self.assertTrue(line["reason"].startswith(f"{first.address}: "), line)

    def test_client_gone(self) -> None:
        """A client that hangs up is told of as 499."""
        server = self.server()
        mpp = self.mpp([server.url], "--access-log")
        server.spoil("late", seconds=20.0)
        with socket.create_connection(("127.0.0.1", mpp.port)) as client:
            client.sendall(b"GET /api/v1/query?query=up HTTP/1.1\r\nHost: mpp\r\n\r\n")
            wait_until(lambda: mpp.metric("mpp_requests_in_flight") >= 1, "the request is under way", 10)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        lines = self.requests(mpp, "logfmt", 1)
        self.assertEqual([(line["status"], line["reason"]) for line in lines], [("499", "client gone")])

    def test_server_timing(self) -> None:
        """The answer tells how the time was split."""
        mpp = self.mpp([self.server().url], "--server-timing")
        self.assertRegex(
            fetch(mpp.port, "/api/v1/query?query=up")[1]["server-timing"],
            r'^mpp;dur=\d+\.\d, upstream;dur=\d+\.\d;desc="127\.0\.0\.1:\d+"$',
        )


class ReaderTests(LogCase):
    """Whoever reads the log, or does not, has no influence on what is served."""

    def running(self, stdout: int | None, *options: str) -> tuple[subprocess.Popen[bytes], Mpp]:
        """Start mpp with this for its standard output."""
        mpp = Mpp([self.server().url], "--access-log", *options)
        self.addCleanup(mpp.close)
        command = mpp.command()
        if stdout is None:
            command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
        process = subprocess.Popen(
            command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        mpp.process = process
        mpp.wait_ready()
        return process, mpp

    def ask(self, mpp: Mpp, times: int = 200) -> None:
        """Ask many times; each is answered in good time."""
        query = "x" * 150
        for _ in range(times):
            self.assertEqual(fetch(mpp.port, f"/api/v1/query?query={query}", timeout=5)[0], 200)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Require that it ends when it is told to."""
        process.terminate()
        self.assertEqual(process.wait(15), -signal.SIGTERM)

    def test_reader_who_stops_reading(self) -> None:
        """mpp serves on when its log is not read, and every line comes when it is."""
        end, given = os.pipe()
        self.addCleanup(os.close, end)
        process, mpp = self.running(given)
        os.close(given)
        self.ask(mpp, 400)
        os.set_blocking(end, False)
        taken = b""
        deadline = time.monotonic() + 10
        while taken.count(b"path=/api/v1/query") < 400 and time.monotonic() < deadline:
            if select.select([end], [], [], 0.2)[0]:
                taken += os.read(end, 65536)
        self.assertEqual(taken.count(b"path=/api/v1/query"), 400)
        for line in taken.decode().split("\n")[:-1]:
            read_logfmt(line)
        self.end(process)

    def test_reader_who_never_reads(self) -> None:
        """Nor does a log that is never read keep mpp from ending."""
        end, given = os.pipe()
        self.addCleanup(os.close, end)
        process, mpp = self.running(given)
        os.close(given)
        self.ask(mpp, 400)
        self.end(process)

    def test_reader_who_is_gone(self) -> None:
        """mpp serves on when the reader of its log has ended."""
        end, given = os.pipe()
        process, mpp = self.running(given)
        os.close(given)
        os.close(end)
        self.ask(mpp)
        self.end(process)

    def test_journal_lines_begin_with_their_level(self) -> None:
        """Where the journal takes the output, lines begin with their level in syslog's numbers; why it does not start, too."""
        end, given = os.pipe()
        self.addCleanup(os.close, end)
        self.addCleanup(os.close, given)
        found = os.fstat(given)
        environ = {**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        mpp = Mpp([self.server().url], "--access-log", "--verbose")
        self.addCleanup(mpp.close)
        for command in (mpp.command(), [*mpp.command(), "--port", "x"]):
            process = subprocess.Popen(
                command,
                cwd=CHECKOUT,
                env=environ,
                stdout=given,
                stderr=given,
                preexec_fn=die_with_parent,
                stdin=subprocess.DEVNULL,
            )
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            if command == mpp.command():
                mpp.process = process
                mpp.wait_ready()
                fetch(mpp.port, "/api/v1/query?query=up")
                process.terminate()
            process.wait(15)
        lines = os.read(end, 65536).decode().splitlines()
        self.assertEqual(lines.pop(), "<3>mpp: --port: 'x' is not a port number (1 to 65535)")
        told = [(line[:3], read_logfmt(line[3:])["level"]) for line in lines]
        self.assertEqual(set(told), {("<6>", "info"), ("<7>", "debug")})

    def test_closed_stdout_is_not_written_to(self) -> None:
        """mpp serves without standard output, and writes to nobody else's descriptor."""
        process, mpp = self.running(None)
        self.ask(mpp)
        self.end(process)

    def test_full_disk(self) -> None:
        """mpp serves on when its log cannot be written."""
        full = os.open("/dev/full", os.O_WRONLY)
        self.addCleanup(os.close, full)
        process, mpp = self.running(full)
        self.ask(mpp)
        self.end(process)
