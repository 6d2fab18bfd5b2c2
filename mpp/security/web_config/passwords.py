"""
Tells whether a request has the name and password of a user. Knows nothing of connections and answers.

bcrypt takes a tenth of a second of pure computing for each password, by design. So it runs elsewhere, one at a time for each
thread there, and what was right once is known for a while. What was wrong is forgotten: there would be no end of it.

# Note [Flood]

Wrong passwords make mpp compute. That is bounded: so many verifications wait at most, and so many of one network; what comes
beyond is refused unseen. Clients that are known already never wait. The same credentials that come again while they are being
verified wait for the same answer, as the requests of a dashboard do after a restart.

Right credentials stay known for `REMEMBERED_S` after each use, and familiar for `FAMILIAR_S`: when they come back in that time
they are verified again, but in a lane of their own. No stranger can be before them there, since only credentials that were right
get into it. Both end at once when the user's hash changes or goes.

Of credentials nothing is kept but a keyed digest, with the user's name and hash. The passwords themselves live as long as their
verification.
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
"""Seconds after their last use for which right credentials are known."""

FAMILIAR_S = 24 * 3600.0
"""Seconds after their last use for which right credentials are verified in the lane of their own."""

MOST_REMEMBERED = 1024
"""How many credentials are remembered: each takes some 300 bytes."""

MOST_WAITING = 128
"""How many verifications of strangers may be under way or wait: eight seconds of them at the usual cost of 10."""

MOST_OF_NETWORK = 8
"""How many of them for one network of clients, see `mpp.proxy.decisions.client_address.network_of`."""

# bcrypt takes no notice of more; Python's would raise an error, Go's and Apache's do not.
_SIGNIFICANT = 72


class PasswordCheck(Enum):
    """What became of a request's credentials."""

    RIGHT = "right"
    WRONG = "wrong"
    TOO_MANY_OF_NETWORK = "too many of one network"
    TOO_MANY = "too many"


@frozen
class VerifiedCredentials:
    """Credentials that were right: their digest, of which user they are, and the hash that they were verified against."""

    digest: bytes
    user: bytes
    hashed: bytes


@define(eq=False)
class _RememberedCredentials:
    """Familiar credentials: when they were last used, and when other processes were last told of them."""

    familiar: VerifiedCredentials
    used_at: float
    shared_at: float


@define(eq=False)
class _Verification:
    """
    A verification under way.

    :ivar credentials: what becomes familiar if the password is right.
    :ivar network: on whose account it goes; None for familiar credentials, which count for nobody.
    :ivar waiting: the requests that wait for it.
    """

    credentials: VerifiedCredentials
    network: str | None
    waiting: list[Deferred[PasswordCheck]] = field(factory=list)


Verify = Callable[[bytes, bytes], Deferred[bool]]
"""Finds out, some time later, whether a password (the first argument) has a hash (the second)."""


class Passwords:
    """
    Verifies credentials against the hashes in force.

    :param verify: for strangers.
    :param verify_familiar: for familiar credentials; must not wait for what was asked of the other one.
    :param clock: for what is known how long.
    :param key: of the digests; processes that share familiar credentials have the same.
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
        """All familiar credentials, and for how many seconds each has not been used."""
        now = self._clock.seconds()
        return tuple((each.familiar, now - each.used_at) for each in self._known.values() if now - each.used_at < FAMILIAR_S)

    def use(self, users: Mapping[bytes, bytes]) -> None:
        """Verify against these hashes from now on; who is known and has another one now is known no more."""
        self._users = users
        self._hashes = tuple(users.values())
        self._known = {digest: each for digest, each in self._known.items() if self._is_valid(each.familiar)}

    def known(self, authorization: bytes) -> bytes | None:
        """Return the user of these credentials (an ``Authorization`` field) if they were in use a while ago, else None."""
        known = self._known.get(self._digest(authorization))
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

    def learn(self, familiar: VerifiedCredentials, age: float = 0.0) -> None:
        """
        Know credentials that another process has found to be right, unless the user's hash is another one here.

        :param age: for how many seconds they have not been used.
        """
        if self._is_valid(familiar):
            self._remember(familiar, age)

    def named(self, authorization: bytes) -> bytes:
        """Give the user that credentials are for, be they right or not; nothing when there is no such user."""
        user, _ = _credentials(authorization) or (b"", b"")
        # Any other name may be a password that was typed into the wrong field.
        return user if user in self._users else b""

    def verdict(self, authorization: bytes, network: str) -> Deferred[PasswordCheck]:
        """
        Find out about credentials that are not known.

        :param network: on whose account it goes, if they are not familiar.
        :return Deferred(PasswordCheck): fires at once when there is nothing to compute. Never fails.
        """
        credentials = _credentials(authorization)
        if credentials is None:
            return succeed(PasswordCheck.WRONG)
        digest = self._digest(authorization)
        waiter: Deferred[PasswordCheck] = Deferred()
        running = self._under_way.get(digest)
        if running is not None:
            running.waiting.append(waiter)
            return waiter
        user, password = credentials
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
        # Keyed, so that the time a look-up takes tells nothing, and no password can be read out of a core file.
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
        """Give a hash for a user that there is not: always the same, so that he takes as long as one that there is."""
        number = int.from_bytes(self._digest(user)[:8], "big")
        return self._hashes[number % len(self._hashes)]

    def _ended(self, right: bool, running: _Verification) -> None:
        del self._under_way[running.credentials.digest]
        if running.network is not None:
            self._of[running.network] -= 1
            if not self._of[running.network]:
                del self._of[running.network]
        # The right password of somebody else's hash is wrong, and so is that of a hash no more in force.
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
            # What was used least lately; it is a stranger's when it comes back.
            del self._known[min(self._known, key=lambda digest: self._known[digest].used_at)]


def _broken(failure: Failure) -> bool:
    _log.failure("a password could not be verified", failure=failure)
    return False


def _credentials(authorization: bytes) -> tuple[bytes, bytes] | None:
    """Take an ``Authorization`` field apart: user and password, or None (RFC 7617 section 2)."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None
