"""What may stand behind mpp: a server that notes what reaches it, and gateways in front of it that normalize paths."""

from __future__ import annotations

import contextlib
import re
import shutil
import socketserver
import textwrap
import threading
from typing import ClassVar
from unittest import SkipTest

from tests.integration.processes import Process, fetch


class Recorder(socketserver.ThreadingTCPServer):
    """
    A server that notes the head of each request and answers all alike.

    :ivar heads: of the requests that are none of mpp's own probes.
    :ivar answer: the whole answer.
    """

    daemon_threads = True
    allow_reuse_address = True
    OK: ClassVar[bytes] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.heads: list[bytes] = []
        self.answer = self.OK
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    @property
    def paths(self) -> list[bytes]:
        """The targets that were asked for."""
        return [head.split(b" ")[1] for head in self.heads]


class _Conversation(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.converse()

    def converse(self) -> None:
        recorder = self.server
        assert isinstance(recorder, Recorder)
        while True:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = self.rfile.readline()
                if not line:
                    return
                head += line
            length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
            self.rfile.read(int(length[1]) if length else 0)
            own = b"\r\nuser-agent: mpp/" in head.lower()
            if not own:
                recorder.heads.append(head)
            self.wfile.write(recorder.OK if own else recorder.answer)


class Gateway(Process):
    """HAProxy or nginx in front of a server, as it normalizes paths."""

    HAPROXY = """
        global
          expose-experimental-directives
        defaults
          mode http
          timeout connect 2s
          timeout client 10s
          timeout server 10s
        listen gateway
          bind 127.0.0.1:{port}
          http-request normalize-uri percent-decode-unreserved
          http-request normalize-uri path-strip-dotdot full
          http-request normalize-uri path-merge-slashes
          server behind 127.0.0.1:{behind}
    """
    NGINX = """
        daemon off;
        pid {folder}/pid;
        error_log {folder}/error;
        events {{}}
        http {{
          access_log off;
          client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
          uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
          server {{
            listen 127.0.0.1:{port};
            merge_slashes off;
            location / {{ proxy_pass http://127.0.0.1:{behind}/; }}
          }}
        }}
    """

    def __init__(self, program: str, behind: int) -> None:
        if shutil.which(program) is None:
            raise SkipTest(f"no {program}")
        super().__init__(program)
        text = self.HAPROXY if program == "haproxy" else self.NGINX
        self.configuration = self.folder / "configuration"
        self.configuration.write_text(textwrap.dedent(text).format(port=self.port, behind=behind, folder=self.folder))

    def command(self) -> list[str]:
        """Return the command line."""
        return [self.name, *(["-f"] if self.name == "haproxy" else ["-e", "stderr", "-c"]), str(self.configuration)]

    def is_ready(self) -> bool:
        """Tell whether it serves."""
        return fetch(self.port, "/")[0] == 200
