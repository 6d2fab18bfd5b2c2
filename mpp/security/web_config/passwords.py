"""
The verification of user names and passwords. This module knows nothing about connections and responses.

By design, bcrypt computes for a tenth of a second per password. So it runs in other threads, and verified credentials are cached
for a while. Wrong credentials are not cached, because their number is unlimited.

# Note [Flood]

Wrong passwords cost computing time. So the number of waiting verifications is limited, in total and per client network; further
credentials are rejected without verification. Clients with cached credentials never wait. Requests with credentials that are
being verified wait for the same result, as the requests of a dashboard do after a restart.

Verified credentials are *known* for `REMEMBERED_S` after each use: they are accepted without verification. They are *familiar*
for `FAMILIAR_S`: they are verified again, but in a separate queue, in which no unknown credentials can delay them. Both end at
once when the hash of the user changes or is removed. When anything else in the file changes, credentials are no longer known, but
still familiar: otherwise an added user would lock out all others during a flood.

The cache contains only a keyed digest of the credentials, with the name and the hash of the user. A password is in memory only
during its verification.

# Note [Spellings]

One pair of user and password can be written in very many ways: with blanks, in another case of ``Basic``, with other bytes after
the 72nd of the password. Only the digest of the usual one is cached: else one user, by many spellings of one password, could make
the credentials of all other users unknown. A client that writes it the usual way, as nearly all do, needs no decoding.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from txaio.tx import make_logger

_log = make_logger()

REMEMBERED_S = 600.0
"""Seconds after their last use for which verified credentials are accepted without another verification."""

FAMILIAR_S = 24 * 3600.0
"""Seconds after their last use for which verified credentials are verified in a separate queue."""

MOST_REMEMBERED = 1024
"""The largest number of cached credentials; each takes some 300 bytes."""

MOST_WAITING = 128
"""The largest number of running and waiting verifications of unknown credentials: eight seconds at bcrypt's usual cost of 10."""

MOST_OF_NETWORK = 8
"""The largest number of such verifications for one client network, see `mpp.proxy.decisions.client_address.network_of`."""

# bcrypt uses only the first 72 bytes of a password. Python's raises an error for more, Go's and Apache's ignore the rest.
_SIGNIFICANT = 72


class PasswordCheck(Enum):
    """The result of the verification of a request's credentials."""

    RIGHT = "right"
    WRONG = "wrong"
    TOO_MANY_OF_NETWORK = "too many of one network"
    TOO_MANY = "too many"


@frozen
class VerifiedCredentials:
    """Credentials that were verified: their digest, the name of the user, and the hash with which they were verified."""

    digest: bytes
    user: bytes
    hashed: bytes


@define(eq=False)
class _RememberedCredentials:
    """Cached credentials, with the times when they were last used and last shared with other processes."""

    familiar: VerifiedCredentials
    used_at: float
    shared_at: float


@define(eq=False)
class _Verification:
    """
    A running or waiting verification.

    :ivar credentials: the credentials, which become familiar if the password is right.
    :ivar network: the client network for which it counts; None for familiar credentials, which are not counted.
    :ivar waiting: the Deferreds of the requests that wait for the result.
    """

    credentials: VerifiedCredentials
    network: str | None
    waiting: list[Deferred[PasswordCheck]] = field(factory=list)


Verify = Callable[[bytes, bytes], Deferred[bool]]
"""Verifies a password (the first argument) with a hash (the second); the Deferred fires with the result."""


class Passwords:
    """
    The verification of credentials with the active password hashes, and the cache of verified credentials. Note [Flood] explains
    the words *known* and *familiar*.

    :param verify: verifies credentials that are not familiar.
    :param verify_familiar: verifies familiar credentials; must not wait for calls of ``verify``.
    :param clock: the monotonic clock for the age of cached credentials.
    :param key: the key of the digests, the same in all processes that share familiar credentials; empty for a random one.
    :ivar share: called with credentials when they have become familiar, and again every `REMEMBERED_S` while they are in use.
    """

    def __init__(self, verify: Verify, verify_familiar: Verify, clock: IReactorTime, key: bytes = b"") -> None:
        self._verify = verify
        self._verify_familiar = verify_familiar
        self._clock = clock
        self.key = key or secrets.token_bytes(32)
        self.share: Callable[[VerifiedCredentials], object] = lambda familiar: None
        self._users: Mapping[bytes, bytes] = {}
        self._hashes: tuple[bytes, ...] = ()
        self._known: dict[bytes, _RememberedCredentials] = {}
        self._under_way: dict[bytes, _Verification] = {}
        self._of: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Passwords {len(self._users)} users, {len(self._known)} known, {len(self._under_way)} under way>"

    @property
    def verified(self) -> tuple[tuple[VerifiedCredentials, float], ...]:
        """All familiar credentials, each with the number of seconds since its last use."""
        now = self._clock.seconds()
        return tuple((each.familiar, now - each.used_at) for each in self._known.values() if now - each.used_at < FAMILIAR_S)

    def use(self, users: Mapping[bytes, bytes]) -> None:
        """
        Replace the password hashes.

        Cached credentials of a user whose hash has changed are dropped. The other ones are verified again at their next use, in
        the queue for familiar credentials; see Note [Flood].

        :param users: the hash for each user name.
        """
        self._users = users
        self._hashes = tuple(users.values())
        self._known = {digest: each for digest, each in self._known.items() if self._is_valid(each.familiar)}
        unknown_since = self._clock.seconds() - REMEMBERED_S
        for each in self._known.values():
            each.used_at = min(each.used_at, unknown_since)

    def known(self, authorization: bytes) -> bytes | None:
        """Return the user of an ``Authorization`` value that needs no verification now, else None; see Note [Flood]."""
        known = self._known.get(self._digest(authorization)) or self._spelled_otherwise(authorization)
        if known is None:
            return None
        now = self._clock.seconds()
        if now - known.used_at >= REMEMBERED_S:
            return None
        known.used_at = now
        if now - known.shared_at >= REMEMBERED_S:
            known.shared_at = now
            self.share(known.familiar)
        return known.familiar.user

    def _spelled_otherwise(self, authorization: bytes) -> _RememberedCredentials | None:
        """Return the cached credentials for an ``Authorization`` value that is not the usual spelling; see Note [Spellings]."""
        credentials = _credentials(authorization)
        usual = authorization if credentials is None else _usual_spelling(*credentials)
        return None if usual == authorization else self._known.get(self._digest(usual))

    def learn(self, familiar: VerifiedCredentials, age: float = 0.0) -> None:
        """
        Cache credentials that another process has verified, unless this process has another hash for the user.

        :param age: the number of seconds since their last use.
        """
        if self._is_valid(familiar):
            self._remember(familiar, age)

    def named(self, authorization: bytes) -> bytes:
        """Return the user name in an ``Authorization`` value, even if its password is wrong; empty if there is no such user."""
        user, _ = _credentials(authorization) or (b"", b"")
        # A name of no user may be a password that was entered in the wrong field.
        return user if user in self._users else b""

    def verdict(self, authorization: bytes, network: str) -> Deferred[PasswordCheck]:
        """
        Verify the credentials in an ``Authorization`` value for which `known` has returned None.

        :param network: the client network to whose limit the verification counts, if the credentials are not familiar.
        :return Deferred(PasswordCheck): fires at once when there is nothing to compute. Never fails.
        """
        credentials = _credentials(authorization)
        if credentials is None:
            return succeed(PasswordCheck.WRONG)
        user, password = credentials
        digest = self._digest(_usual_spelling(user, password))
        waiter: Deferred[PasswordCheck] = Deferred()
        running = self._under_way.get(digest)
        if running is not None:
            running.waiting.append(waiter)
            return waiter
        known = self._known.get(digest)
        if known is not None and self._clock.seconds() - known.used_at < FAMILIAR_S:
            self._begin(_Verification(known.familiar, None, [waiter]), password)
            return waiter
        if self._of[network] >= MOST_OF_NETWORK:
            return succeed(PasswordCheck.TOO_MANY_OF_NETWORK)
        if self._of.total() >= MOST_WAITING:
            return succeed(PasswordCheck.TOO_MANY)
        self._of[network] += 1
        stranger = VerifiedCredentials(digest, user, self._users.get(user) or self._stand_in(user))
        self._begin(_Verification(stranger, network, [waiter]), password)
        return waiter

    def _digest(self, data: bytes) -> bytes:
        # Keyed, so that the time of a look-up reveals nothing, and no password can be recovered from a core file.
        return hmac.digest(self.key, data, "sha256")

    def _is_valid(self, familiar: VerifiedCredentials) -> bool:
        return self._users.get(familiar.user) == familiar.hashed

    def _begin(self, running: _Verification, password: bytes) -> None:
        self._under_way[running.credentials.digest] = running
        verify = self._verify_familiar if running.network is None else self._verify
        answer = verify(password[:_SIGNIFICANT], running.credentials.hashed)
        answer.addErrback(_broken)
        answer.addCallback(self._ended, running)
        answer.addErrback(_broken)

    def _stand_in(self, user: bytes) -> bytes:
        """Return a hash for an unknown user, always the same, so that its verification takes as long as a real user's."""
        number = int.from_bytes(self._digest(user)[:8], "big")
        return self._hashes[number % len(self._hashes)]

    def _ended(self, right: bool, running: _Verification) -> None:
        del self._under_way[running.credentials.digest]
        if running.network is not None:
            self._of[running.network] -= 1
            if not self._of[running.network]:
                del self._of[running.network]
        # The result is valid only for the user's own hash (not for a stand-in), and only if this is still the active one.
        right = right and self._is_valid(running.credentials)
        if right:
            self._remember(running.credentials)
            self.share(running.credentials)
        for each in running.waiting:
            each.callback(PasswordCheck.RIGHT if right else PasswordCheck.WRONG)

    def _remember(self, familiar: VerifiedCredentials, age: float = 0.0) -> None:
        now = self._clock.seconds()
        self._known[familiar.digest] = _RememberedCredentials(familiar, now - age, now)
        if len(self._known) > MOST_REMEMBERED:
            # The least recently used credentials become unknown.
            del self._known[min(self._known, key=lambda digest: self._known[digest].used_at)]


def _broken(failure: Failure) -> bool:
    _log.failure("bug: the check of a password failed unexpectedly; the password counts as wrong", failure=failure)
    return False


def _credentials(authorization: bytes) -> tuple[bytes, bytes] | None:
    """Return the user and the password of an ``Authorization`` field, or None if it is invalid (RFC 7617 section 2)."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None


def _usual_spelling(user: bytes, password: bytes) -> bytes:
    """Return the ``Authorization`` value for all credentials that bcrypt takes for the same; see Note [Spellings]."""
    return b"Basic " + base64.b64encode(b"%b:%b" % (user, password[:_SIGNIFICANT]))
