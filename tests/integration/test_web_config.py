"""mpp behind TLS and passwords, with real clients: Python's ssl, curl, openssl; certificates are those of a new authority."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import SkipTest

import bcrypt
from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from tests.documents import blocks
from tests.fake_https import FakeAuthority
from tests.integration.patience import within
from tests.integration.processes import CHECKOUT, Mpp, Simulated, die_with_parent, fetch, free_port, wait_until

QUERY = "/api/v1/query?query=up"
TLS = "tls_server_config: {cert_file: cert.pem, key_file: key.pem"
_KEY = b"-----BEGIN PRIVATE KEY-----"


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header that carries a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def hashed(password: str, cost: int = 4) -> str:
    """Return a password's hash; cheap, unless the cost matters."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


class TLSMpp(Mpp):
    """mpp with a web configuration, asked over TLS."""

    def __init__(self, backend: str, folder: Path, context: ssl.SSLContext, *options: str) -> None:
        super().__init__([backend], "--web-config", str(folder / "web.yml"), *options)
        self.context = context

    def is_ready(self) -> bool:
        """Tell whether the first round has finished."""
        return self.ask("/mpp/ready")[0] == 200

    def ask(self, target: str, *, context: ssl.SSLContext | None = None, **headers: str) -> tuple[int, bytes]:
        """Ask once."""
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=20, context=context or self.context)
        try:
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def metric_with(self, headers: dict[str, str], name: str) -> float:
        """Return a metric without labels."""
        page = self.ask("/mpp/metrics", **headers)[1].decode()
        return next(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name + " "))


class WebConfigCase(SynchronousTestCase):
    """A server, an authority, and a folder with a web configuration."""

    def setUp(self) -> None:
        """Start the server."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.authority = FakeAuthority()
        (self.folder / "ca.pem").write_bytes(self.authority.pem)
        self.issue("localhost")
        self.simulated = Simulated("--version", "3.5.0").start_for(self)
        self.context = ssl.create_default_context(cadata=self.authority.pem.decode())

    def write(self, name: str, text: str | bytes) -> None:
        """Replace a file at once."""
        fresh = self.folder / "fresh"
        fresh.write_bytes(text.encode() if isinstance(text, str) else text)
        os.replace(fresh, self.folder / name)

    def issue(self, *names: str) -> None:
        """Replace certificate and key."""
        certificate, begin, key = self.authority.issue(*names).partition(_KEY)
        self.write("cert.pem", certificate)
        self.write("key.pem", begin + key)

    def start(self, text: str, *options: str) -> TLSMpp:
        """Start mpp."""
        self.write("web.yml", text)
        mpp = TLSMpp(self.simulated.url, self.folder, self.context, *options).start_for(self)
        return mpp

    def change(self, mpp: TLSMpp, text: str) -> None:
        """Replace the web configuration, and wait until it is in force."""
        before = mpp.log().count(" is active: ")
        self.write("web.yml", text)
        wait_until(lambda: mpp.log().count(" is active: ") > before, "the change is noticed", 10)

    def reload(self, mpp: TLSMpp, text: str) -> None:
        """Replace the web configuration by one that may protect less, and have mpp take it over."""
        before = mpp.log().count("configuration reloaded")
        self.write("web.yml", text)
        mpp.signal(signal.SIGHUP)
        wait_until(lambda: mpp.log().count("configuration reloaded") > before, "it is read again", 10)

    def client(self, authority: FakeAuthority | None, *names: str) -> ssl.SSLContext:
        """Return what a client with a certificate connects with; with none if there is no authority."""
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        if authority is not None:
            path = self.folder / f"client-{len(os.listdir(self.folder))}.pem"
            path.write_bytes(authority.issue(*names))
            context.load_cert_chain(path)
        return context


class ClientCertificateTests(WebConfigCase):
    """What client_auth_type asks of clients."""

    def outcome(self, mpp: TLSMpp, context: ssl.SSLContext) -> bool:
        """Tell whether a client is served."""
        try:
            return mpp.ask(QUERY, context=context)[0] == 200
        except (ssl.SSLError, ConnectionError):
            return False

    def test_each_client_auth_type_admits_whom_it_should(self) -> None:
        """Each of Go's five words lets in whom it should, and nobody else."""
        none, ours = self.client(None), self.client(self.authority, "grafana.example.org")
        strange = self.client(FakeAuthority("another CA"), "grafana.example.org")
        other = self.client(self.authority, "other.example.org")
        san = ", client_allowed_sans: [grafana.example.org]"
        ca = ", client_ca_file: ca.pem"
        rows = (
            ("NoClientCert", "", (True, True, True, True)),
            ("RequestClientCert", ca, (True, True, True, True)),
            ("RequireAnyClientCert", ca, (False, True, True, True)),
            ("RequireAnyClientCert", san, (False, True, True, False)),
            ("VerifyClientCertIfGiven", ca, (True, True, False, True)),
            ("RequireAndVerifyClientCert", ca, (False, True, False, True)),
            ("RequireAndVerifyClientCert", ca + san, (False, True, False, False)),
        )
        mpp = self.start(TLS + "}", "--verbose")
        for word, more, expected in rows:
            self.reload(mpp, f"{TLS}, client_auth_type: {word}{more}}}")
            with self.subTest(word=word, more=more):
                found = tuple(self.outcome(mpp, context) for context in (none, ours, strange, other))
                print(f"{word + more:<90} none, ours, another CA's, other name: {found}")
                self.assertEqual(found, expected)
        self.assertNotIn("Traceback", mpp.log())
        self.assertNotIn("Unhandled", mpp.log())
        self.assertIn("client certificate CN=grafana.example.org rejected: verification error 20 of OpenSSL", mpp.log())
        self.assertIn("client certificate CN=other.example.org rejected: it has no name in client_allowed_sans", mpp.log())


class TLSTests(WebConfigCase):
    """What is agreed upon."""

    def s_client(self, port: int, *options: str) -> str:
        """Let openssl connect; give what it prints."""
        if shutil.which("openssl") is None:
            raise SkipTest("no openssl")
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", str(self.folder / "ca.pem"), *options]
        done = subprocess.run(command, input=b"Q\n", capture_output=True, timeout=20)
        return (done.stdout + done.stderr).decode(errors="replace")

    def test_versions_ciphers_and_curves_follow_the_file(self) -> None:
        """Versions, ciphers and curves are those that the file allows."""
        more = "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384], curve_preferences: [CurveP384, CurveP256]"
        mpp = self.start(f"{TLS}, {more}}}")
        self.assertIn("ECDHE-ECDSA-AES256-GCM-SHA384", self.s_client(mpp.port, "-tls1_2"))
        # "Server Temp Key" before OpenSSL 3.5.
        self.assertIn(" Temp Key: ECDH, secp384r1", self.s_client(mpp.port, "-tls1_2", "-curves", "P-256:P-384"))
        self.assertIn("alert handshake failure", self.s_client(mpp.port, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"))
        self.assertIn("TLSv1.3", self.s_client(mpp.port))
        self.assertIn("alert protocol version", self.s_client(mpp.port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"))
        self.change(mpp, f"{TLS}, min_version: TLS13}}")
        self.assertIn("alert protocol version", self.s_client(mpp.port, "-tls1_2"))

    def test_curl_needs_tls_and_a_password(self) -> None:
        """curl is served over TLS with a password, and told without one that it needs one, or that it needs TLS."""
        if shutil.which("curl") is None:
            raise SkipTest("no curl")
        mpp = self.start(f"{TLS}}}\nbasic_auth_users: {{alice: {hashed('s3cret')}}}")
        command = ["curl", "-si", "--cacert", str(self.folder / "ca.pem"), f"https://localhost:{mpp.port}{QUERY}"]
        refused = subprocess.run(command, capture_output=True, timeout=20, text=True).stdout
        self.assertIn("HTTP/1.1 401", refused)
        served = subprocess.run([*command, "-u", "alice:s3cret"], capture_output=True, timeout=20, text=True).stdout
        self.assertIn("HTTP/1.1 200", served)
        plain = ["curl", "-si", "-u", "alice:s3cret", f"http://localhost:{mpp.port}{QUERY}"]
        told = subprocess.run(plain, capture_output=True, timeout=20, text=True).stdout
        self.assertIn("HTTP/1.1 400", told)
        self.assertTrue(told.endswith("Client sent an HTTP request to an HTTPS server.\n"), told)

    def test_status_page(self) -> None:
        """The status page tells what protects the listener it is seen through, and follows a change of the file."""
        mpp = self.start(TLS + "}\n")

        def told(**headers: str) -> tuple[Any, str]:
            document = json.loads(mpp.ask("/mpp/status?format=json", **headers)[1])
            page = mpp.ask("/mpp/status", **headers)[1].decode()
            return document["listener"], re.sub("<[^>]*>", "", page.partition('<p id="guards">')[2].partition("</p>")[0])

        listener, words = told()
        self.assertEqual(words, "protected This listener has TLS 1.2 or newer. Clients are not authenticated.")
        self.assertEqual((listener["protected"], listener["tls_min_version"], listener["passwords"]), (True, "1.2", False))
        self.change(mpp, TLS + f"}}\nbasic_auth_users: {{ann: {hashed('x')}}}\n")
        listener, words = told(**basic("ann", "x"))
        self.assertEqual(words, "protected This listener has TLS 1.2 or newer and passwords (1 user).")
        self.assertEqual((listener["passwords"], listener["client_certificates"]), (True, "NoClientCert"))

    def test_large_request(self) -> None:
        """Who sends much without a password reads a 401 before mpp has taken it, encrypted or not, and no word to send it."""
        curl = shutil.which("curl")
        if curl is None:
            raise SkipTest("there is no curl here")
        users = f"basic_auth_users: {{grafana: {hashed('s3cret')}}}\n"
        (self.folder / "form").write_bytes(b"query=up&x=" + b"x" * 5_000_000)
        command = [curl, "-sv", "--max-time", "20", "--cacert", str(self.folder / "ca.pem"), "-w", "%{http_code} %{size_upload}"]
        command += ["-o", os.devnull, "--data-binary", "@form"]
        for scheme, text in (("https", TLS + "}\n"), ("http", "")):
            mpp = self.start(text + users) if text else Mpp([self.simulated.url], "--web-config", str(self.folder / "web.yml"))
            if not text:
                self.write("web.yml", users)
                mpp.start_for(self)
            url = f"{scheme}://localhost:{mpp.port}/api/v1/query"

            def upload(*options: str, url: str = url) -> tuple[list[str], str]:
                ran = subprocess.run([*command, *options, url], capture_output=True, text=True, timeout=30, cwd=self.folder)
                return ran.stdout.split(), ran.stderr

            for expectation in ("Expect:", "Expect: 100-continue"):
                (status, sent), said = upload("-H", expectation)
                self.assertEqual(status, "401", said)
                self.assertNotIn("100 Continue", said)
                if expectation != "Expect:":
                    self.assertEqual(sent, "0")
                (status, sent), said = upload("-H", expectation, "--user", "grafana:s3cret")
                self.assertEqual((status, sent), ("200", "5000011"), said)
            mpp.close()

    def test_large_answer(self) -> None:
        """A large answer arrives whole."""
        mpp = self.start(TLS + "}")
        self.assertEqual(len(mpp.ask("/big?bytes=30000000")[1]), 30_000_000)


@define
class Outcome:
    """What happened to a load."""

    statuses: Counter[int] = field(factory=Counter)
    failures: list[str] = field(factory=list)
    names: set[Any] = field(factory=set)
    slowest: float = 0.0


class TLSLoad:
    """Clients that ask again and again, each on a new connection every few requests."""

    def __init__(self, mpp: TLSMpp, clients: int, headers: dict[str, str], per_connection: int = 5) -> None:
        self._mpp, self._headers, self._per_connection = mpp, headers, per_connection
        self.outcome = Outcome()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> Outcome:
        """End, and tell."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)
        return self.outcome

    def _run(self) -> None:
        end = time.monotonic() + 120
        while not self._stopped.is_set() and time.monotonic() < end:
            connection = http.client.HTTPSConnection("localhost", self._mpp.port, timeout=20, context=self._mpp.context)
            try:
                for _ in range(self._per_connection):
                    self._ask(connection)
            except (OSError, http.client.HTTPException) as error:
                self.outcome.failures.append(repr(error))
            finally:
                connection.close()

    def _ask(self, connection: http.client.HTTPSConnection) -> None:
        began = time.monotonic()
        connection.request("GET", QUERY, headers=self._headers)
        shown: Any = connection.sock
        names = shown.getpeercert()["subjectAltName"]
        answer = connection.getresponse()
        answer.read()
        self.outcome.statuses[answer.status] += 1
        self.outcome.names.add(names)
        self.outcome.slowest = max(self.outcome.slowest, time.monotonic() - began)


class ChangeTests(WebConfigCase):
    """Files that change while clients ask."""

    def test_under_load(self) -> None:
        """Certificates, users and broken files change under load without a single failed request."""
        users = f"\nbasic_auth_users: {{alice: {hashed('s3cret', 8)}"
        good = TLS + "}" + users + "}"
        mpp = self.start(good)
        alice = basic("alice", "s3cret")
        load = TLSLoad(mpp, 4, alice)
        for number in range(4):
            self.issue("localhost", f"n{number}.example.org")
            time.sleep(within(1.5))
            self.write("web.yml", (good[:-1] + f", bob: {hashed('x')}}}", "tls_server_config: [", good, good + " ")[number])
            time.sleep(within(1.5))
        wait_until(lambda: load.outcome.statuses[200] > 100, "many requests", 30)
        outcome = load.stop()
        print(f"{sum(outcome.statuses.values())} requests, {len(outcome.names)} certificates, slowest {outcome.slowest:.2f} s")
        self.assertEqual(outcome.failures, [])
        self.assertEqual(set(outcome.statuses), {200})
        self.assertGreaterEqual(len(outcome.names), 4)
        self.assertNotIn("Traceback", mpp.log())

    def test_broken_file_is_reported_once_and_changes_nothing(self) -> None:
        """What is broken is told once in the log and by a metric; what was good stays."""
        mpp = self.start(f"{TLS}}}\nbasic_auth_users: {{alice: {hashed('s3cret')}}}")
        alice = basic("alice", "s3cret")
        name = "mpp_web_config_last_reload_successful"
        self.assertEqual(mpp.metric_with(alice, name), 1)
        self.write("key.pem", b"broken")
        wait_until(lambda: mpp.metric_with(alice, name) == 0, "it is noticed", 5)
        time.sleep(2)
        self.assertEqual(mpp.log().count("the former one stays active"), 1)
        self.issue("localhost")
        wait_until(lambda: mpp.metric_with(alice, name) == 1, "it is mended", 5)


class FloodTests(WebConfigCase):
    """Wrong passwords."""

    def test_wrong_passwords(self) -> None:
        """While wrong passwords pour in, who is known is served as ever, and somebody new within seconds."""
        cost = 10
        self.write("web.yml", f"basic_auth_users: {{alice: {hashed('s3cret', cost)}, bob: {hashed('b', cost)}}}")
        mpp = Mpp([self.simulated.url], "--web-config", str(self.folder / "web.yml")).start_for(self)
        self.assertEqual(fetch(mpp.port, QUERY, headers=basic("alice", "s3cret"))[0], 200)
        stopped = threading.Event()
        seen: Counter[int] = Counter()

        def attack(number: int) -> None:
            for attempt in range(10_000):
                if stopped.is_set():
                    break
                seen[fetch(mpp.port, QUERY, headers=basic("alice", f"{number}-{attempt}"), timeout=60)[0]] += 1

        threads = [threading.Thread(target=attack, args=(number,), daemon=True) for number in range(40)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        took = []
        for _ in range(50):
            began = time.monotonic()
            self.assertEqual(fetch(mpp.port, QUERY, headers=basic("alice", "s3cret"))[0], 200)
            took.append(time.monotonic() - began)
        stopped.set()
        for thread in threads:
            thread.join(60)
        print(f"attack {dict(seen)}; who is known: median {sorted(took)[25] * 1000:.0f} ms, slowest {max(took) * 1000:.0f} ms")
        self.assertGreater(seen[429], 0)
        self.assertGreater(seen[401], 0)
        self.assertEqual(set(seen), {401, 429})
        self.assertEqual(fetch(mpp.port, QUERY, headers=basic("bob", "b"), timeout=30)[0], 200)


_GOOD = TLS + "}"
_AT = "line 1: tls_server_config"
BAD: tuple[tuple[str, str | None, tuple[str, ...], str], ...] = (
    ("no file", None, (), "cannot be read (No such file or directory)"),
    ("no YAML", "a: [", (), "line 2: not YAML: did not find expected node content"),
    (
        "unknown section",
        "tls: {}",
        (),
        "line 1: tls: no such key; expected one of tls_server_config, http_server_config, basic_auth_users, rate_limit",
    ),
    ("misspelled key", "tls_server_config: {cert_fil: x}", (), f"{_AT}.cert_fil: no such key; did you mean cert_file?"),
    ("wrong type", "tls_server_config: {cert_file: [x]}", (), f"{_AT}.cert_file: expected text, found a list"),
    ("no key", "tls_server_config: {cert_file: cert.pem}", (), "tls_server_config: key_file (or key) is missing"),
    (
        "no such certificate",
        "tls_server_config: {cert_file: gone.pem, key_file: key.pem}",
        (),
        f"{_AT}.cert_file: '{{folder}}/gone.pem' cannot be read (No such file or directory)",
    ),
    (
        "key of another certificate",
        TLS.replace("key.pem", "other.pem") + "}",
        (),
        f"{_AT}.key_file: '{{folder}}/other.pem' is not a private key in PEM without a passphrase,"
        " or not that of the certificate",
    ),
    (
        "certificate is none",
        TLS.replace("cert.pem", "web.yml") + "}",
        (),
        f"{_AT}.cert_file: '{{folder}}/web.yml' is not a certificate in PEM",
    ),
    (
        "old TLS",
        TLS + ", min_version: TLS11}",
        (),
        f"{_AT}.min_version: TLS11 is not served: deprecated, and no client needs it; expected TLS12 or TLS13",
    ),
    (
        "unknown cipher",
        TLS + ", cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA38]}",
        (),
        f"{_AT}.cipher_suites: 'TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA38' is no cipher suite;"
        " did you mean TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384?",
    ),
    (
        "CA without effect",
        TLS + ", client_ca_file: ca.pem}",
        (),
        f"{_AT}.client_ca_file: has no effect without client_auth_type",
    ),
    (
        "names without effect",
        TLS + ", client_allowed_sans: [a]}",
        (),
        f"{_AT}.client_allowed_sans: requires client_auth_type RequireAnyClientCert or RequireAndVerifyClientCert",
    ),
    (
        "plain password",
        "basic_auth_users:\n  alice: s3cret",
        (),
        "line 2: basic_auth_users.alice: expected a bcrypt hash ($2y$10$ and 53 more characters)",
    ),
    (
        "unknown header",
        "http_server_config: {headers: {X-Frame-Option: deny}}",
        (),
        "line 1: http_server_config.headers.X-Frame-Option: no such key; did you mean X-Frame-Options?",
    ),
    (
        "nanoseconds",
        "rate_limit: {interval: 10, burst: 1}",
        (),
        "line 1: rate_limit.interval: '10' has no unit (the toolkit takes it for nanoseconds); expected a duration such as 10ms",
    ),
    (
        "ssl: beside TLS",
        _GOOD,
        ("--listen", "ssl:1:privateKey=other.pem"),
        "--listen: 'ssl:1:privateKey=other.pem' has a certificate of its own, and the one of tls_server_config in"
        " {folder}/web.yml as well; expected tcp: in place of ssl:",
    ),
    (
        "no admin endpoint",
        _GOOD,
        ("--admin-listen", "9099"),
        "--admin-listen: '9099' is not a Twisted server endpoint such as tcp:9090:interface=127.0.0.1",
    ),
)
"""What is wrong; the file; further options; what is said."""


class BadInputTests(WebConfigCase):
    """Everything that can be wrong, and what the ``mpp`` command makes of it."""

    def said(self, number: int, text: str | None, options: tuple[str, ...]) -> tuple[int, str]:
        """Run mpp; give its status and what it printed, with the folder left out."""
        folder = self.folder / str(number)
        folder.mkdir()
        for name in ("cert.pem", "key.pem", "ca.pem"):
            shutil.copy(self.folder / name, folder)
        (folder / "other.pem").write_bytes(self.authority.issue("other"))
        if text is not None:
            (folder / "web.yml").write_text(text)
        argv = ["--endpoint", "127.0.0.1:1", "--port", str(free_port()), "--web-config", str(folder / "web.yml"), *options]
        command = [sys.executable, "-m", "mpp", *argv]
        environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stderr.strip().replace(str(folder), "{folder}")

    def test_each_error_names_file_line_and_key(self) -> None:
        """Each ends mpp with status 2 and one line that names file, line and key."""
        with ThreadPoolExecutor(3) as pool:
            rows = list(pool.map(lambda row: self.said(row[0], row[1][1], row[1][2]), enumerate(BAD)))
        print()
        for (what, _, options, message), (status, said) in zip(BAD, rows, strict=True):
            print(f"{what:<28} | {said.removeprefix('mpp: ').replace('{folder}/', '')}")
            with self.subTest(what=what):
                begin = "" if options else "--web-config: {folder}/web.yml: "
                self.assertEqual((status, said), (2, f"mpp: {begin}{message}"))


class ExampleTests(SynchronousTestCase):
    """The example of the documentation."""

    def test_documented_commands_secure_mpp(self) -> None:
        """The commands work as they are written; only ports and the server's address are others."""
        for tool in ("openssl", "curl"):
            if shutil.which(tool) is None:
                raise SkipTest(f"no {tool}")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        simulated = Simulated().start_for(self)
        prepare, run = blocks("securing")
        self.assertIn("\n/opt/mpp/bin/python -c ", prepare)
        failed = subprocess.run(
            ["sh", "-c", prepare.replace("/opt/mpp/bin/python", "false")], cwd=folder, capture_output=True, timeout=60
        )
        self.assertEqual((failed.returncode, (folder / "web.yml").exists()), (1, False))
        prepare = prepare.replace("/opt/mpp/bin/python", sys.executable)
        subprocess.run(["sh", "-ec", prepare], cwd=folder, check=True, capture_output=True, timeout=60)
        self.assertEqual((folder / "web.yml").stat().st_mode & 0o077, 0)
        start, ask = run.strip().splitlines()
        port = free_port()
        options = start.replace("localhost:9091", simulated.address).removeprefix("mpp ").split()
        mpp = subprocess.Popen(
            [sys.executable, "-m", "mpp", *options, "--port", str(port)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        self.addCleanup(mpp.wait)
        self.addCleanup(mpp.terminate)
        command = ["sh", "-c", ask.replace("curl", "curl -s").replace(":9090", f":{port}")]

        def answer() -> str:
            return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20).stdout

        wait_until(lambda: '"status":"success"' in answer(), "a query is answered")


class AdminListenTests(WebConfigCase):
    """A listener of its own for mpp's pages."""

    def test_admin_pages_are_on_their_listener_only(self) -> None:
        """Metrics and status are there only, queries elsewhere only."""
        port = free_port()
        mpp = Mpp([self.simulated.url], "--admin-listen", f"tcp:{port}:interface=127.0.0.1").start_for(self)
        for where, target, status in (
            (mpp.port, "/mpp/metrics", 404),
            (mpp.port, "/mpp/health", 200),
            (mpp.port, QUERY, 200),
            (port, "/mpp/metrics", 200),
            (port, "/mpp/ready", 200),
            (port, QUERY, 404),
        ):
            found, _, body = fetch(where, target)
            self.assertEqual(found, status, target)
            if status == 404:
                self.assertEqual(json.loads(body)["errorType"], "not_found")
