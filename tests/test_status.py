"""The status page, as text."""

from twisted.trial.unittest import SynchronousTestCase

from mpp import status
from mpp.model import Backend, Choice, Facts, Observation, Selection, Standing
from mpp.settings import Settings
from mpp.status import StatusView

NOW = 1_700_000_000.0
A, B = Backend("http", "prom-a", 9090), Backend("https", "prom-b", 9090, "/x")


def page(*observations: Observation, selected: tuple[Backend, ...] = (A,), degraded: str = "") -> str:
    standbys = tuple(o.backend for o in observations if o.backend not in selected)
    selection = Selection(3, Choice(selected, standbys, degraded), observations, NOW - 60)
    view = StatusView(selection, Settings(), (("file", True, 2),), NOW - 7200, NOW)
    return status.page(view).decode()


class PageTests(SynchronousTestCase):
    """What an operator reads."""

    def test_every_backend_has_a_row_that_says_how_it_is(self) -> None:
        """Role, standing, version, uptime, history and last probe of each backend are on the page."""
        facts = Facts("2.42.0", NOW - 3600, NOW - 15 * 86400)
        html = page(
            Observation(A, Standing.VIABLE, "", facts, NOW - 4, 0.012), Observation(B, Standing.NOT_READY, "replaying its WAL")
        )
        for words in ("http://prom-a:9090", "selected", "viable", "2.42.0", "1h", "15d", "4s ago, 12 ms"):
            self.assertIn(words, html)
        for words in ("https://prom-b:9090/x", "standby", "not ready", "replaying its WAL", "1 of 2 backends viable"):
            self.assertIn(words, html)

    def test_a_standby_that_is_well_says_why_it_stands_by(self) -> None:
        """A healthy standby does not look like a fault."""
        self.assertIn("another one was chosen", page(Observation(A, Standing.VIABLE), Observation(B, Standing.VIABLE)))

    def test_ejected_server_says_since_when(self) -> None:
        """Of a server that was taken out of service the page tells when and why, whatever its last probe said."""
        html = page(
            Observation(A, Standing.SUSPECT, "reset", ejected_at=NOW - 90), Observation(B, Standing.VIABLE), selected=(B,)
        )
        self.assertIn("ejected 1m 30s ago; reset", html)
        self.assertEqual(html.count("ejected"), 1)

    def test_server_that_is_down_has_no_uptime(self) -> None:
        """The page does not tell for how long a server runs that does not run."""
        html = page(Observation(A, Standing.DOWN, "refused", Facts("2.42.0", NOW - 5 * 86400), NOW))
        self.assertNotIn("<td>5d</td>", html)

    def test_configuration_is_shown(self) -> None:
        """The page tells which strategy and affinity are in force, and where backends come from."""
        html = page()
        for words in ("single-most-data", "cookies", "10s", "file: 2 backends", "generation 3, changed 1m ago", "2h"):
            self.assertIn(words, html)

    def test_trouble_is_told_first(self) -> None:
        """No backend, or a choice that is not what was asked for, is said in the first line."""
        self.assertIn("No backend is known", page(selected=()))
        self.assertIn("none has enough", page(Observation(A, Standing.VIABLE), degraded="none has enough"))

    def test_foreign_words_are_escaped(self) -> None:
        """Nothing a server says becomes markup."""
        html = page(Observation(A, Standing.DOWN, '<script>alert("x")</script>', Facts("<b>")))
        self.assertNotIn("<script", html)
        self.assertNotIn("<b></", html)

    def test_page_is_self_contained(self) -> None:
        """The page loads nothing from anywhere."""
        html = page(Observation(A, Standing.VIABLE))
        for word in ("src=", "href=", "@import", "url("):
            self.assertNotIn(word, html)


class DurationTests(SynchronousTestCase):
    """Durations for humans."""

    def test_two_largest_units(self) -> None:
        """A duration is as exact as a human needs it."""
        for seconds, text in (
            (0.25, "250ms"),
            (-5, "0ms"),
            (1, "1s"),
            (61, "1m 1s"),
            (3600, "1h"),
            (93784, "1d 2h"),
            (86405, "1d"),
        ):
            self.assertEqual(status.duration(seconds), text)
