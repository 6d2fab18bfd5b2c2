"""nginx in front of a server, as a limiter or as a gateway that rejects requests."""

from __future__ import annotations

import shutil
from unittest import SkipTest

from tests.integration.processes import Process, fetch

_CONFIGURATION = """\
daemon off;
master_process off;
worker_processes 1;
pid {folder}/pid;
error_log stderr crit;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    limit_req_zone $server_port zone=all:1m rate=20r/s;
    limit_req_status {status};
    server {{
        listen 127.0.0.1:{port};
        location = /alive {{ return 200 "yes"; }}
        {locations}
        location / {{ {rule} proxy_pass http://{server}; }}
    }}
}}
"""


class Nginx(Process):
    """
    nginx in front of a server.

    :param server: ``host:port``.
    :param rule: what it does beside passing requests on.
    :param locations: further locations; SERVER stands for the server.
    :param status: what a limiter says.
    """

    def __init__(self, server: str, rule: str = "", locations: str = "", status: int = 503) -> None:
        found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if found is None:
            raise SkipTest("no nginx on the PATH")
        super().__init__("nginx")
        self._binary = found
        self._server, self._status = server, status
        self.configure(rule, locations)

    def configure(self, rule: str, locations: str = "") -> None:
        """Write the configuration; counts from the next start on."""
        (self.folder / "nginx.conf").write_text(
            _CONFIGURATION.format(
                folder=self.folder,
                port=self.port,
                server=self._server,
                rule=rule,
                locations=locations.replace("SERVER", self._server),
                status=self._status,
            )
        )

    def command(self) -> list[str]:
        """Return the command line."""
        return [self._binary, "-p", str(self.folder), "-e", "stderr", "-c", str(self.folder / "nginx.conf")]

    def is_ready(self) -> bool:
        """Tell whether it serves."""
        return fetch(self.port, "/alive", timeout=2)[0] == 200
