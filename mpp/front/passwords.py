"""
Tells whether a request has the name and password of a user. Knows nothing of connections and answers.

bcrypt takes a tenth of a second of pure computing for each password, by design. So it runs elsewhere, one at a time for each
thread there, and what was right once is known for a while. What was wrong is forgotten: there would be no end of it.

# Note [Flood]

Whoever sends wrong passwords makes mpp compute. That is bounded: so many wait at most, and so many of one address; what comes
beyond is refused unseen. Users who are known already never wait. The same credentials that come again while they are being
verified wait for the same answer, as the requests of a dashboard do after a restart.
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
"""For how long right credentials are known."""

MOST_REMEMBERED = 1024
"""How many: each takes some 200 bytes."""

MOST_WAITING = 128
"""How many verifications may be under way or wait: eight seconds of them at the usual cost of 10."""

MOST_OF_ONE = 32
"""How many of them for one address, which may be that of a proxy with many users behind it."""

# bcrypt takes no notice of more; Python's would raise an error, Go's and Apache's do not.
_SIGNIFICANT = 72


class Verdict(Enum):
    """What became of a request's credentials."""

    RIGHT = "right"
    WRONG = "wrong"
    TOO_MANY_OF_ONE = "too many of one address"
    TOO_MANY = "too many"


@frozen
class _Known:
    """Credentials that were right: until when that is known, and of which user with which hash."""

    until: float
    user: bytes
    hashed: bytes


@define(eq=False)
class _Verification:
    """What is under way for certain credentials: on whose account it goes, and who waits for it."""

    digest: bytes
    user: bytes
    hashed: bytes
    peer: str
    waiting: list[Deferred[Verdict]] = field(factory=list)


class Passwords:
    """
    Verifies credentials against the hashes in force.

    :param verify: tells, some time later, whether a password (the first argument) has a hash (the second).
    :param clock: for what is known how long.
    """

    def __init__(self, verify: Callable[[bytes, bytes], Deferred[bool]], clock: IReactorTime) -> None:
        self._verify = verify
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._users: Mapping[bytes, bytes] = {}
        self._hashes: tuple[bytes, ...] = ()
        self._known: dict[bytes, _Known] = {}
        self._under_way: dict[bytes, _Verification] = {}
        self._of: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Passwords {len(self._users)} users, {len(self._known)} known, {len(self._under_way)} under way>"

    def use(self, users: Mapping[bytes, bytes]) -> None:
        """Verify against these hashes from now on; who is known and has another one now is known no more."""
        self._users = users
        self._hashes = tuple(users.values())
        self._known = {digest: known for digest, known in self._known.items() if users.get(known.user) == known.hashed}

    def known(self, authorization: bytes) -> bytes | None:
        """Give the user of these credentials (an ``Authorization`` field) if they were right a while ago, else None."""
        known = self._known.get(self._digest(authorization))
        return known.user if known is not None and self._clock.seconds() < known.until else None

    def named(self, authorization: bytes) -> bytes:
        """Give the user that credentials are for, be they right or not; nothing when there is no such user."""
        user, _ = _credentials(authorization) or (b"", b"")
        # Any other name may be a password that was typed into the wrong field.
        return user if user in self._users else b""

    def verdict(self, authorization: bytes, peer: str) -> Deferred[Verdict]:
        """
        Find out about credentials that are not known.

        :param peer: on whose account it goes.
        :return Deferred(Verdict): fires at once when there is nothing to compute. Never fails.
        """
        credentials = _credentials(authorization)
        if credentials is None:
            return succeed(Verdict.WRONG)
        digest = self._digest(authorization)
        waiter: Deferred[Verdict] = Deferred()
        running = self._under_way.get(digest)
        if running is not None:
            running.waiting.append(waiter)
            return waiter
        if self._of[peer] >= MOST_OF_ONE:
            return succeed(Verdict.TOO_MANY_OF_ONE)
        if len(self._under_way) >= MOST_WAITING:
            return succeed(Verdict.TOO_MANY)
        user, password = credentials
        running = _Verification(digest, user, self._users.get(user) or self._stand_in(user), peer, [waiter])
        self._begin(running, password)
        return waiter

    def _digest(self, data: bytes) -> bytes:
        # Keyed, so that the time a look-up takes tells nothing, and no password can be read out of a core file.
        return hmac.digest(self._key, data, "sha256")

    def _begin(self, running: _Verification, password: bytes) -> None:
        self._under_way[running.digest] = running
        self._of[running.peer] += 1
        answer = self._verify(password[:_SIGNIFICANT], running.hashed)
        answer.addErrback(_broken)
        answer.addCallback(self._ended, running)
        answer.addErrback(_broken)

    def _stand_in(self, user: bytes) -> bytes:
        """Give a hash for a user that there is not: always the same, so that he takes as long as one that there is."""
        number = int.from_bytes(self._digest(user)[:8], "big")
        return self._hashes[number % len(self._hashes)]

    def _ended(self, right: bool, running: _Verification) -> None:
        del self._under_way[running.digest]
        self._of[running.peer] -= 1
        if not self._of[running.peer]:
            del self._of[running.peer]
        # The right password of somebody else's hash is wrong, and so is that of a hash no more in force.
        right = right and self._users.get(running.user) == running.hashed
        if right:
            self._remember(running)
        for each in running.waiting:
            each.callback(Verdict.RIGHT if right else Verdict.WRONG)

    def _remember(self, running: _Verification) -> None:
        self._known.pop(running.digest, None)
        self._known[running.digest] = _Known(self._clock.seconds() + REMEMBERED_S, running.user, running.hashed)
        if len(self._known) > MOST_REMEMBERED:
            # The one that was verified first; it is verified again when it comes back.
            del self._known[next(iter(self._known))]


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
