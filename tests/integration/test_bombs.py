"""The whole program in front of sources of servers whose answers are far larger than they look."""

from __future__ import annotations

import functools
import gzip
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import MIB
from tests.integration.processes import Mpp, wait_until
from tests.kubeconfigs import make_kubeconfig

UNPACKED_MIB = 600


class Bomb:
    """An HTTP server that answers everything with the same packed body."""

    def __init__(self, body: bytes, codings: str) -> None:
        self.asked: set[str] = set()
        told = self

        class Answer(BaseHTTPRequestHandler):
            """Gives the body."""

            def do_GET(self) -> None:
                told.asked.add(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Encoding", codings)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


@functools.cache
def packed_zeros() -> bytes:
    """Return gzip of very many zero bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(UNPACKED_MIB)) + packer.flush()


class BombTests(SynchronousTestCase):
    """HTTP service discovery, Kubernetes and Marathon."""

    def assert_unharmed(self, body: bytes, codings: str, problem: str) -> None:
        """All three sources fail with one line each, and the memory stays as it was."""
        bomb = Bomb(body, codings)
        self.addCleanup(bomb.close)
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        kubeconfig = make_kubeconfig(folder, {"token": "t"}, {"server": bomb.url})
        mpp = Mpp(
            ["# none"],
            *("--http-sd", f"{bomb.url}/sd", "--marathon-url", bomb.url, "--marathon-apps", "/a"),
            *("--kubeconfig", str(kubeconfig), "--kube-pod-label-selector", "app=prometheus"),
            interval="200ms",
        )
        mpp.start_for(self, wait=False)

        def all_refused() -> bool:
            lines = [line for line in mpp.log().splitlines() if problem in line]
            return all(any(where in line for line in lines) for where in ("/sd", "/v2/apps/a", "/api/v1/namespaces/"))

        wait_until(all_refused, f"each source is refused: {mpp.log()[-2000:]}")
        print(f"\n{codings} of {len(body)} bytes: at most {_peak(mpp) // MIB} MiB")
        self.assertLess(_peak(mpp), 200 * MIB)
        self.assertNotIn("Traceback", mpp.log())

    def test_two_layers(self) -> None:
        """Two layers of gzip, 2 KB that stand for 600 MB, are refused before anything is unpacked."""
        body = gzip.compress(packed_zeros())
        self.assertLess(len(body), 10_000)
        self.assert_unharmed(body, "gzip, gzip", "Content-Encoding 'gzip, gzip' is not supported")

    def test_one_layer(self) -> None:
        """One layer, 600 KB that stand for 600 MB, is unpacked up to the limit for any answer."""
        self.assert_unharmed(packed_zeros(), "gzip", "the response is larger than 32 MiB")


def _peak(mpp: Mpp) -> int:
    """Return the highest resident memory there was, in bytes."""
    status = Path(f"/proc/{mpp.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
