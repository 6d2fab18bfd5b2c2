"""
The credentials for Marathon: HTTP basic, or a token that DC/OS issues for a service account's secret.

Secrets in files are read again for each use; no error, log message or repr contains them.
DC/OS: "service login" and "authentication token" in the security chapter of its documentation (1.13).
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from typing import Any

from attrs import field, frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.internet.defer import DeferredLock

from mpp.core.errors import DiscoveryError
from mpp.core.secret_file import SecretFile
from mpp.core.text import bounds
from mpp.core.urls import basic, shown
from mpp.discovery.http_api.json_api import JSONClient, NoResponse

# A login token is used at once; this allows for clocks that differ.
LOGIN_TOKEN_S = 300
# The share of a token's lifetime after which it is refreshed.
_RENEW_AFTER = 0.9


@frozen
class Principal:
    """
    A service account of DC/OS.

    :ivar uid: the account's name.
    :ivar login_endpoint: the URL of the login.
    :ivar key: the key that signs login tokens; None if the account has a password.
    """

    uid: str
    login_endpoint: str
    key: RSAPrivateKey | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)

    def proof(self, now: float) -> dict[str, str]:
        """Return the body of a login request at a time (in seconds since the epoch), before it is written as JSON."""
        if self.key is None:
            return {"uid": self.uid, "password": self.password}
        return {"uid": self.uid, "token": sign({"uid": self.uid, "exp": int(now) + LOGIN_TOKEN_S}, self.key)}


def read_principal(text: str, auth_endpoint: str = "") -> Principal:
    """
    Parse a principal secret: a JSON object with ``uid``, ``login_endpoint``, and ``private_key`` (PEM) or ``password``.

    :param auth_endpoint: used instead of its ``login_endpoint``, if not empty.
    :raises ValueError: it is not valid; the message says what was expected and never contains the value.
    """
    try:
        secret = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("not JSON; expected the principal's secret, or @ and the path of a file that holds it") from None
    if not isinstance(secret, dict):
        raise ValueError("not a JSON object")
    uid = _text(secret, "uid")
    if not uid:
        raise ValueError("it has no uid")
    endpoint = auth_endpoint or _text(secret, "login_endpoint")
    if not endpoint:
        raise ValueError("it has no login_endpoint, and there is no --marathon-auth-endpoint")
    if not endpoint.startswith(("http://", "https://")):
        raise ValueError("its login_endpoint is no http or https URL")
    if "@" in endpoint:
        raise ValueError("its login_endpoint has a user or password in it")
    pem = _text(secret, "private_key")
    if pem:
        if secret.get("scheme", "RS256") != "RS256":
            raise ValueError("its scheme is not RS256, the only one supported")
        return Principal(uid, endpoint, _key(pem))
    password = _text(secret, "password")
    if not password:
        raise ValueError("it has neither a private_key nor a password")
    return Principal(uid, endpoint, password=password)


def _text(secret: dict[str, Any], name: str) -> str:
    value = secret.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"its {name} is not a text")
    return value


def _key(pem: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        raise ValueError("its private_key is encrypted; expected one without a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("its private_key is no PEM of an RSA key, neither PKCS#1 nor PKCS#8") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("its private_key is not an RSA key")
    return key


def sign(claims: dict[str, Any], key: RSAPrivateKey) -> str:
    """Return a JSON Web Token (RFC 7519), signed with RS256."""
    parts = [_base64url(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    signature = key.sign(".".join(parts).encode("ascii"), PKCS1v15(), SHA256())
    return ".".join([*parts, _base64url(signature)])


def expiry(token: str) -> float | None:
    """Return when a JSON Web Token expires, in seconds since the epoch; None if it does not say. The signature is not checked."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return bounds.point_in_time(claims["exp"])
    except (LookupError, ValueError, TypeError, RecursionError):
        return None


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def read_credentials_file(path: str) -> str:
    """
    Return the value of the ``Authorization`` header for the ``user:password`` in a file.

    :raises DiscoveryError: the file cannot be read, or has another content.
    """
    text = SecretFile(path).read()
    user, colon, password = text.partition(":")
    if not user or not colon or "\n" in text:
        raise DiscoveryError(f"{path}: expected one line, user:password")
    return basic(user, password)


@frozen
class _Token:
    """
    The token of a login.

    :ivar refresh_at: time at which it should be refreshed, None for never.
    :ivar expires_at: time at which it expires, None if unknown.
    """

    text: str = field(repr=False)
    refresh_at: float | None = None
    expires_at: float | None = None


class Login:
    """
    The token of a DC/OS service account, requested when it is needed.

    :param secret: called at each login; returns the JSON text that `read_principal` parses.
    :param auth_endpoint: the URL of the login; empty for the one in the secret.
    :param wall: returns the time in seconds since the epoch.
    """

    def __init__(self, api: JSONClient, secret: Callable[[], str], auth_endpoint: str, wall: Callable[[], float]) -> None:
        self._api = api
        self._secret = secret
        self._auth_endpoint = auth_endpoint
        self._wall = wall
        self._token: _Token | None = None
        self._lock = DeferredLock()

    async def authorization(self) -> str:
        """
        Return the value of the ``Authorization`` header. Logs in if there is no token, or if it will expire soon.

        :raise DiscoveryError: the secret cannot be read, or the login was rejected or got no response. A token that has not
            expired yet continues to be used when the login gets no response.
        """
        async with self._lock:
            token = self._token
            if token is None or (token.refresh_at is not None and self._wall() >= token.refresh_at):
                token = self._token = await self._refreshed(token)
        # Not "Bearer": DC/OS has its own scheme.
        return f"token={token.text}"

    def reject(self, authorization: str) -> None:
        """Discard the token if it is the one that Marathon rejected; the next call of `authorization` requests a new one."""
        if self._token is not None and authorization == f"token={self._token.text}":
            self._token = None

    async def _refreshed(self, old: _Token | None) -> _Token:
        try:
            return await self._log_in()
        except NoResponse as error:
            if old is not None and old.expires_at is not None and self._wall() < old.expires_at:
                return old
            raise DiscoveryError(f"--marathon-principal-secret: login at {error}") from error

    async def _log_in(self) -> _Token:
        try:
            principal = read_principal(self._secret(), self._auth_endpoint)
        except ValueError as error:
            raise DiscoveryError(f"--marathon-principal-secret: {error}") from None
        now = self._wall()
        proof = principal.proof(now)
        answer = await self._api.request(
            "POST",
            principal.login_endpoint,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            data=json.dumps(proof).encode(),
            hide=[value for name, value in proof.items() if name != "uid"],
        )
        where = f"--marathon-principal-secret: login as {principal.uid} at {shown(principal.login_endpoint)}"
        if answer.status != 200:
            raise answer.rejected(where)
        given = answer.json()
        text = given.get("token") if isinstance(given, dict) else None
        if not (isinstance(text, str) and text and text.isascii() and text.isprintable()):
            raise DiscoveryError(f"{where}: the response holds no token")
        expires = expiry(text)
        if expires is None or expires <= now:
            # It seems to be expired already, so mpp's clock cannot be trusted: Marathon will reject the token when it expires.
            return _Token(text)
        return _Token(text, now + (expires - now) * _RENEW_AFTER, expires)


def secret_reader(secret: str) -> Callable[[], str]:
    """
    Return a function that returns the secret with which mpp logs in.

    :param secret: the secret itself, or ``@`` and the path of a file from which the function reads it at each call. A relative
        path is resolved at once, because twistd may change the current directory before the file is read.
    """
    return SecretFile(os.path.abspath(secret[1:])).read if secret.startswith("@") else lambda: secret
