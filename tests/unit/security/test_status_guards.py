"""What protects a listener, in words."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.security.web_config.protection import ListenerSecurity, describe, verdict
from mpp.security.web_config.values import ClientAuth

ASKED = "RequireAndVerifyClientCert"


class GuardsTests(SynchronousTestCase):
    """From nothing to all there is."""

    def test_missing_protection_is_shown_at_a_glance(self) -> None:
        """It is told at a glance whether there is anything, and what; what is no protection is not taken for one."""
        for guards, word, said in (
            (ListenerSecurity(), "not protected", "no TLS and no passwords."),
            (ListenerSecurity(rate_limit=True), "not protected", "no TLS and no passwords, only a rate limit."),
            (ListenerSecurity(certificates=ASKED), "not protected", "no TLS and no passwords."),
            (ListenerSecurity(True), "protected", "TLS. Clients are not authenticated."),
            (ListenerSecurity(True, "1.2"), "protected", "TLS 1.2 or newer. Clients are not authenticated."),
            (ListenerSecurity(True, "1.3", users=1), "protected", "TLS 1.3 or newer and passwords (1 user)."),
            (
                ListenerSecurity(True, "1.2", ASKED, 2, True),
                "protected",
                "TLS 1.2 or newer, client certificates (required and verified), passwords (2 users) and a rate limit.",
            ),
            (
                ListenerSecurity(True, "1.2", "RequireAnyClientCert"),
                "protected",
                "TLS 1.2 or newer and client certificates (required, not verified). Clients are not authenticated.",
            ),
            (
                ListenerSecurity(users=2),
                "protected, not encrypted",
                "passwords (2 users). Without TLS, passwords can be read in transit.",
            ),
        ):
            with self.subTest(guards=guards):
                self.assertEqual((verdict(guards)[0], describe(guards)), (word, f"This listener has {said}"))

    def test_not_in_force(self) -> None:
        """A change of the web configuration that is not in force is told, and does not change what protects the listener."""
        guards = ListenerSecurity(True, "1.2", users=1, problem="has no key at all")
        self.assertEqual(verdict(guards)[0], "protected")
        self.assertTrue(
            describe(guards).endswith("(1 user). A later change of the web configuration is not active: has no key at all.")
        )

    def test_every_word_of_the_web_configuration(self) -> None:
        """Each word that the web configuration has for client certificates is put into others."""
        for each in ClientAuth:
            self.assertNotIn(each.word, describe(ListenerSecurity(True, "1.2", each.word)))
