"""
A Marathon behind DC/OS' login, in memory: it speaks the real protocol, and is as strict as the real one.

What it answers has the shape of the examples in Marathon's API documentation and of its RAML, for several versions.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.web.http import Request
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

UID = "prometheus-proxy"
PASSWORD = "pa55-0f-the-principal"
LOGIN_PATH = "/acs/api/v1/auth/login"
# What the documentation of DC/OS calls short is five minutes.
LONGEST_LOGIN_TOKEN_S = 600


@functools.cache
def key() -> RSAPrivateKey:
    """Give the service account's key: one for all tests, since making one takes a while."""
    return generate_private_key(public_exponent=65537, key_size=2048)


def pem(form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    """Give that key as PEM: PKCS#8, or PKCS#1 (``TraditionalOpenSSL``)."""
    return key().private_bytes(Encoding.PEM, form, NoEncryption()).decode("ascii")


def principal_secret(endpoint: str = "https://leader.mesos" + LOGIN_PATH, **changes: Any) -> str:
    """Give a principal secret as ``dcos security secrets create-sa-secret`` makes it."""
    secret = {"scheme": "RS256", "uid": UID, "private_key": pem(), "login_endpoint": endpoint, **changes}
    return json.dumps({name: value for name, value in secret.items() if value is not None})


def task(host: str, ports: list[int], number: int = 0, **changes: Any) -> dict[str, Any]:
    """Give a running task, as of 1.4 and later."""
    return {
        "ipAddresses": [{"ipAddress": host, "protocol": "IPv4"}],
        "stagedAt": "2016-11-18T09:10:01.112Z",
        "state": "TASK_RUNNING",
        "ports": ports,
        "startedAt": "2016-11-18T09:10:03.391Z",
        "version": "2016-11-18T09:10:00.930Z",
        "id": f"monitoring_prometheus.instance-{number:08x}-ad6e-11e6-9d0c-70b3d5800001._app.1",
        "appId": "/monitoring/prometheus",
        "slaveId": "37a48a6c-4a4c-4b35-bd1b-8d0c5c4f1c9a-S0",
        "host": host,
        "healthCheckResults": [],
        **changes,
    }


def host_app(tasks: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """Give an app with host networking, as of 1.5 and later."""
    return {
        "id": "/monitoring/prometheus",
        "cmd": "prometheus --web.listen-address=:$PORT0",
        "cpus": 1,
        "mem": 2048,
        "disk": 0,
        "executor": "",
        "instances": len(tasks),
        "healthChecks": [],
        "networks": [{"mode": "host"}],
        "portDefinitions": [{"labels": {}, "name": "web", "port": 10000, "protocol": "tcp"}],
        "requirePorts": False,
        "tasksStaged": 0,
        "tasksRunning": len(tasks),
        "tasksHealthy": 0,
        "tasksUnhealthy": 0,
        "tasks": tasks,
        **changes,
    }


class FakeMarathon(Resource):
    """
    The state of the server, and the server.

    :param wall: gives the time since the epoch.
    :ivar apps: by id with the leading slash; put others in at will.
    :ivar prefix: where the API is.
    :ivar asks_for: the start of the ``Authorization`` that is asked for: ``token=``, ``Basic ...`` as a whole, or nothing.
    :ivar token_life: how long the tokens that are given are good for, in seconds.
    :ivar requests: method and target of each request, in order, logins too.
    :ivar logins: the body of each login.
    :ivar embeds: knows ``embed=app.tasks``, as all versions since 0.8 do.
    :ivar status: answers so instead, if not 0.
    :ivar hanging: does not answer.
    :ivar waiting: the requests that are not answered and whose connections are open.
    """

    isLeaf = True

    def __init__(self, wall: Callable[[], float]) -> None:
        Resource.__init__(self)
        self._wall = wall
        self.apps: dict[str, dict[str, Any]] = {}
        self.prefix = "/service/marathon"
        self.asks_for = ""
        self.token_life = 5 * 86400.0
        self.requests: list[str] = []
        self.logins: list[dict[str, Any]] = []
        self.tokens: dict[str, float] = {}
        self.embeds = True
        self.status = 0
        self.hanging = False
        self.login_status = 200
        self.waiting: list[Request] = []

    def render(self, request: Request) -> bytes | int:
        target = request.uri.decode("ascii")
        self.requests.append(f"{request.method.decode('ascii')} {target}")
        if self.hanging:
            self.waiting.append(request)
            request.notifyFinish().addErrback(lambda _: self.waiting.remove(request))
            return NOT_DONE_YET
        if target == LOGIN_PATH:
            return self._log_in(request)
        if self.status:
            return _html(request, self.status, "the proxy's own page")
        if not self._is_allowed(request):
            return _html(request, 401, "Authorization Required")
        path = urlsplit(target).path
        if not path.startswith(f"{self.prefix}/v2/apps/"):
            return _html(request, 404, "Not Found")
        return self._answer(request, "/" + unquote(path.removeprefix(f"{self.prefix}/v2/apps/")).lstrip("/"))

    def _is_allowed(self, request: Request) -> bool:
        authorization = (request.getHeader("authorization") or "") if self.asks_for else ""
        if self.asks_for == "token=":
            return self.tokens.get(authorization.removeprefix("token="), 0.0) > self._wall()
        return authorization == self.asks_for

    def _answer(self, request: Request, app: str) -> bytes:
        if app not in self.apps and app.endswith("/tasks") and app.removesuffix("/tasks") in self.apps:
            return self._answer_tasks(request, self.apps[app.removesuffix("/tasks")])
        if app not in self.apps:
            return _json(request, 404, {"message": f"App '{app}' does not exist"})
        described = dict(self.apps[app])
        if not self.embeds or b"app.tasks" not in request.args.get(b"embed", []):
            described.pop("tasks", None)
        return _json(request, 200, {"app": described})

    def _answer_tasks(self, request: Request, app: dict[str, Any]) -> bytes:
        if request.getHeader("accept") != "application/json":
            request.setHeader("content-type", "text/plain")
            return "".join(f"{app['id']}\t10000\t{task['host']}:{task['ports'][0]}\n" for task in app["tasks"]).encode()
        return _json(request, 200, {"tasks": app["tasks"]})

    def _log_in(self, request: Request) -> bytes:
        """Check a login as IAM does (POST /auth/login of its API)."""
        if request.method != b"POST" or request.getHeader("content-type") != "application/json":
            return _json(request, 400, {"title": "Bad Request", "description": "expected JSON", "code": "ERR_INVALID_DATA"})
        login = json.loads(request.content.read())
        self.logins.append(login)
        if self.login_status != 200 or not self._is_known(login):
            words = {"title": "Unauthorized", "description": "Invalid credentials", "code": "ERR_INVALID_CREDENTIALS"}
            return _json(request, 401 if self.login_status == 200 else self.login_status, words)
        claims = {"uid": UID, "exp": int(self._wall() + self.token_life)}
        token = f"{_base64({'alg': 'HS256', 'typ': 'JWT'})}.{_base64(claims)}.signature-{len(self.logins)}"
        self.tokens[token] = self._wall() + self.token_life
        return _json(request, 200, {"token": token})

    def _is_known(self, login: dict[str, Any]) -> bool:
        if login["uid"] != UID:
            return False
        if "password" in login:
            return bool(login["password"] == PASSWORD)
        signed, _, signature = login["token"].rpartition(".")
        header, claims = (json.loads(_unbase64(part)) for part in signed.split("."))
        try:
            key().public_key().verify(_unbase64(signature), signed.encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        now = self._wall()
        return (
            header == {"alg": "RS256", "typ": "JWT"}
            and claims["uid"] == UID
            and now < claims["exp"] <= now + LONGEST_LOGIN_TOKEN_S
        )


def _base64(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode("ascii")


def _unbase64(text: str) -> bytes:
    if "=" in text:
        raise ValueError("a JSON Web Token is not padded")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _json(request: Request, status: int, value: Any) -> bytes:
    request.setResponseCode(status)
    request.setHeader("content-type", "application/json; charset=UTF-8")
    return json.dumps(value).encode()


def _html(request: Request, status: int, text: str) -> bytes:
    request.setResponseCode(status)
    request.setHeader("content-type", "text/html")
    if status == 401:
        request.setHeader("www-authenticate", "acsjwt")
    return f"<html><head><title>{status} {text}</title></head></html>".encode()


@implementer(IAgent)
class FakeNetwork:
    """
    Hosts that answer, and hosts that do not.

    :ivar servers: by host name; every other host refuses connections.
    :ivar asked: the host of each request, in order.
    """

    def __init__(self, **servers: Resource) -> None:
        self.servers = {host: RequestTraversalAgent(resource) for host, resource in servers.items()}
        self.asked: list[str] = []

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Deferred[Any]:
        """Send a request, see `IAgent`."""
        host = str(urlsplit(uri.decode("ascii")).hostname)
        self.asked.append(host)
        if host not in self.servers:
            return fail(ConnectionRefusedError())
        answered: Deferred[Any] = self.servers[host].request(method, uri, headers, bodyProducer)
        return answered

    def flush(self) -> None:
        """Deliver what was written."""
        for server in self.servers.values():
            server.flush()
