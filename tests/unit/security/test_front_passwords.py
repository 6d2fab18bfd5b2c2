"""Who is known by his password, and who is not."""

from __future__ import annotations

import base64

import bcrypt
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mpp.security.web_config.bcrypt_pool import BcryptPool
from mpp.security.web_config.passwords import (
    FAMILIAR_S,
    MOST_OF_NETWORK,
    MOST_REMEMBERED,
    MOST_WAITING,
    REMEMBERED_S,
    PasswordCheck,
    Passwords,
)
from mpp.security.web_config.rate_limit import RateLimiter
from mpp.security.web_config.values import RateLimit


def basic(user: str, password: str) -> bytes:
    """Return an Authorization field."""
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


class PasswordsTests(SynchronousTestCase):
    """Passwords, with a verifier that the test answers for."""

    def setUp(self) -> None:
        self.asked: list[tuple[bytes, bytes, Deferred[bool]]] = []
        self.clock = Clock()
        self.again: list[Deferred[bool]] = []
        self.shared: list[bytes] = []
        self.passwords = Passwords(self.verify, self.verify_familiar, self.clock)
        self.passwords.share = lambda familiar: self.shared.append(familiar.user)
        self.passwords.use({b"alice": b"hash-a", b"bob": b"hash-b"})

    def verify(self, password: bytes, hashed: bytes) -> Deferred[bool]:
        answer: Deferred[bool] = Deferred()
        self.asked.append((password, hashed, answer))
        return answer

    def verify_familiar(self, password: bytes, hashed: bytes) -> Deferred[bool]:
        answer: Deferred[bool] = Deferred()
        self.again.append(answer)
        return answer

    def say(self, right: bool) -> None:
        """Answer the oldest question."""
        self.asked.pop(0)[2].callback(right)

    def make_known(self, authorization: bytes) -> None:
        self.passwords.verdict(authorization, "peer")
        self.say(True)

    def test_right_password_is_verified_once(self) -> None:
        """A right password is verified once, and known for a while."""
        verdict = self.passwords.verdict(basic("alice", "secret"), "peer")
        self.assertEqual(self.asked[0][:2], (b"secret", b"hash-a"))
        self.say(True)
        self.assertIs(self.successResultOf(verdict), PasswordCheck.RIGHT)
        self.assertEqual(self.passwords.known(basic("alice", "secret")), b"alice")
        self.assertIsNone(self.passwords.known(basic("alice", "other")))
        self.clock.advance(REMEMBERED_S)
        self.assertIsNone(self.passwords.known(basic("alice", "secret")))

    def test_renewed_by_use(self) -> None:
        """A password that is used all the time stays known."""
        self.make_known(basic("alice", "secret"))
        for _ in range(10):
            self.clock.advance(REMEMBERED_S - 1)
            self.assertEqual(self.passwords.known(basic("alice", "secret")), b"alice")

    def flood(self) -> None:
        """Have as many strangers wait as can."""
        for number in range(MOST_WAITING):
            self.passwords.verdict(basic("mallory", str(number)), f"network {number}")

    def test_familiar_password_is_verified_before_strangers(self) -> None:
        """A right password of the last day is verified before all strangers, whatever its network has sent, once for all."""
        self.make_known(basic("alice", "secret"))
        self.flood()
        self.clock.advance(FAMILIAR_S - 1)
        for number in range(MOST_OF_NETWORK):
            self.passwords.verdict(basic("alice", str(number)), "peer")
        verdicts = [self.passwords.verdict(basic("alice", "secret"), "peer") for _ in range(3)]
        self.assertEqual(len(self.again), 1)
        self.again.pop().callback(True)
        self.assertEqual({self.successResultOf(each) for each in verdicts}, {PasswordCheck.RIGHT})
        self.assertEqual(self.passwords.known(basic("alice", "secret")), b"alice")

    def test_no_longer_familiar(self) -> None:
        """After a day without use it is a stranger's, and so it is at once when the user's hash changes or goes."""
        for users in (None, {b"alice": b"hash-new"}, {b"bob": b"hash-b"}):
            self.make_known(basic("alice", "secret"))
            if users is None:
                self.clock.advance(FAMILIAR_S)
            else:
                self.passwords.use(users)
            with self.subTest(users=users):
                self.assertIsNone(self.passwords.known(basic("alice", "secret")))
                self.passwords.verdict(basic("alice", "secret"), "peer")
                self.assertEqual((len(self.asked), self.again), (1, []))
                self.say(False)

    def test_familiar_hash_changes_meanwhile(self) -> None:
        """A familiar password that is verified while its hash changes is wrong."""
        self.make_known(basic("alice", "secret"))
        self.clock.advance(REMEMBERED_S)
        verdict = self.passwords.verdict(basic("alice", "secret"), "peer")
        self.passwords.use({b"alice": b"hash-new"})
        self.again.pop().callback(True)
        self.assertIs(self.successResultOf(verdict), PasswordCheck.WRONG)
        self.assertEqual(self.passwords.verified, ())

    def test_another_password_of_a_familiar_user(self) -> None:
        """Only the credentials that were right are familiar, not the user."""
        self.make_known(basic("alice", "secret"))
        self.passwords.verdict(basic("alice", "guess"), "peer")
        self.assertEqual((len(self.asked), self.again), (1, []))

    def test_shared_with_others(self) -> None:
        """Other processes are told when a password was right, and now and then that it is in use; what they tell is known."""
        other = Passwords(self.verify, self.verify_familiar, self.clock, self.passwords.key)
        other.use({b"alice": b"hash-a", b"bob": b"hash-new"})
        self.passwords.share = other.learn
        for user in ("alice", "bob"):
            self.make_known(basic(user, "secret"))
        self.assertEqual(other.known(basic("alice", "secret")), b"alice")
        self.assertIsNone(other.known(basic("bob", "secret")))
        self.passwords.share = lambda familiar: self.shared.append(familiar.user)
        for _ in range(4):
            self.clock.advance(REMEMBERED_S / 2)
            self.passwords.known(basic("alice", "secret"))
        self.assertEqual(self.shared, [b"alice"] * 2)

    def test_inherited_entries_keep_their_age(self) -> None:
        """What another process begins with is as old as it was."""
        self.make_known(basic("alice", "secret"))
        self.clock.advance(FAMILIAR_S - 1)
        other = Passwords(self.verify, self.verify_familiar, self.clock, self.passwords.key)
        other.use({b"alice": b"hash-a"})
        for familiar, age in self.passwords.verified:
            other.learn(familiar, age)
        self.assertIsNone(other.known(basic("alice", "secret")))
        self.assertEqual(len(other.verified), 1)
        self.clock.advance(1)
        self.assertEqual(other.verified, ())

    def test_nothing_kept_of_a_password(self) -> None:
        """What is remembered has no password in it, and another process cannot tell which it was without the key."""
        self.make_known(basic("alice", "secret"))
        self.assertNotIn(b"secret", b"".join(each.digest + each.user + each.hashed for each, _ in self.passwords.verified))
        other = Passwords(self.verify, self.verify_familiar, self.clock)
        other.use({b"alice": b"hash-a"})
        other.learn(*self.passwords.verified[0])
        self.assertIsNone(other.known(basic("alice", "secret")))

    def test_wrong_password_is_verified_each_time(self) -> None:
        """A wrong password is wrong each time anew."""
        for _ in range(2):
            verdict = self.passwords.verdict(basic("alice", "x"), "peer")
            self.say(False)
            self.assertIs(self.successResultOf(verdict), PasswordCheck.WRONG)
        self.assertIsNone(self.passwords.known(basic("alice", "x")))

    def test_unknown_user(self) -> None:
        """A user that there is not takes the same computing, and is wrong even with somebody's password."""
        verdict = self.passwords.verdict(basic("mallory", "secret"), "peer")
        self.assertIn(self.asked[0][1], (b"hash-a", b"hash-b"))
        self.say(True)
        self.assertIs(self.successResultOf(verdict), PasswordCheck.WRONG)
        self.assertIsNone(self.passwords.known(basic("mallory", "secret")))

    def test_no_credentials(self) -> None:
        """What is no HTTP basic authentication is wrong without any computing."""
        for field in (b"", b"Bearer x", b"Basic", b"Basic !", b"Basic " + base64.b64encode(b"alice")):
            self.assertIs(self.successResultOf(self.passwords.verdict(field, "peer")), PasswordCheck.WRONG)
        self.assertEqual(self.asked, [])

    def test_case_of_scheme(self) -> None:
        """The scheme's case does not matter."""
        self.passwords.verdict(basic("alice", "secret").replace(b"Basic", b"bASIC"), "peer")
        self.assertEqual(len(self.asked), 1)

    def test_same_credentials_share_one_verification(self) -> None:
        """The same credentials again wait for the same answer."""
        verdicts = [self.passwords.verdict(basic("alice", "secret"), f"peer {n}") for n in range(1000)]
        self.assertEqual(len(self.asked), 1)
        self.say(True)
        self.assertEqual({self.successResultOf(each) for each in verdicts}, {PasswordCheck.RIGHT})

    def test_flood_of_one(self) -> None:
        """One network has so many passwords verified at a time; others still are."""
        for number in range(MOST_OF_NETWORK):
            self.assertNoResult(self.passwords.verdict(basic("alice", str(number)), "mallory"))
        self.assertIs(
            self.successResultOf(self.passwords.verdict(basic("alice", "x"), "mallory")), PasswordCheck.TOO_MANY_OF_NETWORK
        )
        self.assertNoResult(self.passwords.verdict(basic("alice", "secret"), "peer"))
        self.say(False)
        self.assertNoResult(self.passwords.verdict(basic("alice", "x"), "mallory"))

    def test_flood_of_many(self) -> None:
        """So many passwords wait, whoever sent them; who is known does not."""
        self.make_known(basic("bob", "b"))
        for number in range(MOST_WAITING):
            self.passwords.verdict(basic("alice", str(number)), f"peer {number}")
        self.assertIs(self.successResultOf(self.passwords.verdict(basic("alice", "x"), "another")), PasswordCheck.TOO_MANY)
        self.assertEqual(len(self.asked), MOST_WAITING)
        self.assertEqual(self.passwords.known(basic("bob", "b")), b"bob")

    def test_a_changed_file_ends_what_is_known(self) -> None:
        """A flood locks out nobody whose hash did not change; a user with another hash waits like strangers."""
        for user in ("alice", "bob"):
            self.make_known(basic(user, "secret"))
        self.passwords.use({b"alice": b"hash-a", b"bob": b"hash-new"})
        for user in ("alice", "bob"):
            self.assertIsNone(self.passwords.known(basic(user, "secret")))
        self.flood()
        verdict = self.passwords.verdict(basic("alice", "secret"), "peer")
        self.again.pop().callback(True)
        self.assertIs(self.successResultOf(verdict), PasswordCheck.RIGHT)
        self.assertEqual(self.passwords.known(basic("alice", "secret")), b"alice")
        self.assertIs(self.successResultOf(self.passwords.verdict(basic("bob", "secret"), "peer")), PasswordCheck.TOO_MANY)

    def test_changed_meanwhile(self) -> None:
        """A password that was right for a hash no more in force is wrong."""
        verdict = self.passwords.verdict(basic("alice", "secret"), "peer")
        self.passwords.use({b"alice": b"hash-new"})
        self.say(True)
        self.assertIs(self.successResultOf(verdict), PasswordCheck.WRONG)

    def test_number_of_known_credentials_is_bounded(self) -> None:
        """Of all credentials found right so many are known; what was used least lately is verified again."""
        self.passwords.use({b"%d" % number: b"hash" for number in range(MOST_REMEMBERED + 1)})
        for number in range(MOST_REMEMBERED + 1):
            if number == MOST_REMEMBERED:
                self.clock.advance(1)
                self.passwords.known(basic("0", "secret"))
            self.make_known(basic(str(number), "secret"))
        self.assertEqual(self.passwords.known(basic("0", "secret")), b"0")
        self.assertIsNone(self.passwords.known(basic("1", "secret")))
        self.assertIn(f"{MOST_REMEMBERED} known", repr(self.passwords))

    def test_spellings_of_one_password_are_one_entry(self) -> None:
        """However a client writes the right password, it is verified once, and makes no other user unknown."""
        long = "x" * 72
        usual = basic("alice", long)
        self.make_known(basic("bob", "b"))
        self.clock.advance(1)
        self.make_known(basic("alice", long + "yz"))
        padded = base64.b64encode(f"alice:{long}".encode())
        spellings = (
            usual,
            usual.replace(b"Basic", b"bASIC"),
            b"Basic    " + padded,
            b"Basic " + padded + b"\t ",
            basic("alice", long + "more"),
        )
        for spelling in spellings:
            self.assertEqual(self.passwords.known(spelling), b"alice", spelling)
        # The last digit has bits that do not count.
        for spelling in (b"Basic Ym9iOmI=", b"Basic Ym9iOmJ="):
            self.assertEqual(self.passwords.known(spelling), b"bob", spelling)
        self.assertEqual((len(self.passwords.verified), self.asked), (2, []))
        for wrong in (basic("alice", long[1:]), basic("Alice", long), basic("alice", " " + long)):
            self.assertIsNone(self.passwords.known(wrong))

    def test_another_spelling_waits_for_the_same_verification(self) -> None:
        """A user has no more verifications at a time by other spellings, and is familiar by each of them."""
        for spelling in (basic("alice", "secret"), basic("alice", "secret").replace(b" ", b"  ")):
            self.passwords.verdict(spelling, "peer")
        self.assertEqual(len(self.asked), 1)
        self.say(True)
        self.clock.advance(REMEMBERED_S)
        self.passwords.verdict(basic("alice", "secret").replace(b" ", b"   "), "peer")
        self.assertEqual((len(self.asked), len(self.again)), (0, 1))

    def test_only_72_bytes_of_a_password_count(self) -> None:
        """Of a very long password bcrypt's 72 bytes count."""
        self.passwords.verdict(basic("alice", "x" * 100), "peer")
        self.assertEqual(self.asked[0][0], b"x" * 72)

    def test_broken_verification_lets_no_client_in(self) -> None:
        """When a verification breaks, nobody is let in, and nothing hangs."""
        verdict = self.passwords.verdict(basic("alice", "secret"), "peer")
        self.asked.pop()[2].errback(MemoryError())
        self.assertIs(self.successResultOf(verdict), PasswordCheck.WRONG)
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)


class ComputingTests(TestCase):
    """bcrypt itself, on its thread."""

    async def test_password_matches_its_own_hash_only(self) -> None:
        """A password has its own hash and no other, in the spelling of htpasswd, too; nonsense is nobody's hash."""
        computing = BcryptPool(reactor)
        computing.start()
        hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4))
        for password, against, right in (
            (b"secret", hashed, True),
            (b"secret", hashed.replace(b"$2b$", b"$2y$"), True),
            (b"Secret", hashed, False),
            (b"", hashed, False),
            (b"secret\0", hashed, False),
            (b"secret", b"nonsense", False),
        ):
            with self.subTest(password=password, against=against):
                self.assertIs(await computing.verify(password, against), right)
                self.assertIs(await computing.verify_familiar(password, against), right)
        computing.stop()

    async def test_two_familiar_passwords_are_verified_at_a_time(self) -> None:
        """Two familiar passwords are verified at a time, and none of them waits for a stranger's."""
        computing = BcryptPool(reactor)
        computing.start()
        ended: list[str] = []
        slow, quick = bcrypt.hashpw(b"secret", bcrypt.gensalt(9)), bcrypt.hashpw(b"secret", bcrypt.gensalt(4))
        strangers = [computing.verify(b"secret", slow).addCallback(lambda _: ended.append("stranger")) for _ in range(4)]
        familiar = [computing.verify_familiar(b"secret", quick).addCallback(lambda _: ended.append("familiar")) for _ in range(2)]
        for each in familiar:
            await each
        self.assertLess(ended.count("stranger"), 4)
        for each in strangers:
            await each
        computing.stop()


class BucketTests(SynchronousTestCase):
    """The rate limit."""

    def test_burst_passes_and_then_one_per_interval(self) -> None:
        """A burst passes at once, then one request for each interval."""
        bucket = RateLimiter(RateLimit(0.5, 2), 0.0)
        self.assertEqual([bucket.take(at) for at in (0, 0, 0, 0.5, 0.6, 1.0)], [True, True, False, True, False, True])

    def test_pause_saves_up_no_more_than_a_burst(self) -> None:
        """A long pause saves up no more than a burst."""
        bucket = RateLimiter(RateLimit(0.5, 2), 0.0)
        self.assertEqual([bucket.take(100.0) for _ in range(3)], [True, True, False])
