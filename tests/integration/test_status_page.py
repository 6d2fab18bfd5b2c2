"""The status page in a browser, in front of servers that are well, replay their WAL, fail, or differ."""

from __future__ import annotations

import json
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.browser import Browser, require_chromium
from tests.integration.clients import Ask, Load
from tests.integration.processes import Mpp, Simulated, fetch, wait_until
from tests.integration.servers import binaries, pair, require_binary

HOSTILE = "<script>document.title='taken'</script><img src=x onerror=document.title='taken'>"


class PairCase(SynchronousTestCase):
    """Two simulated servers; ``first`` has more data."""

    def setUp(self) -> None:
        self.first = Simulated("--version", "3.5.0", "--history", "15d", name="first")
        self.second = Simulated("--version", "3.5.0", "--history", "10d", name="second")
        for server in (self.first, self.second):
            server.start_for(self)
        self.mpp = Mpp([self.first.url, self.second.url])
        self.mpp.start_for(self).wait_selected(self.first.address)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{self.mpp.address}/mpp/status"

    def document(self) -> dict[str, Any]:
        """Return the page as JSON."""
        return dict(json.loads(fetch(self.mpp.port, "/mpp/status?format=json")[2]))

    def backend(self, server: Simulated) -> dict[str, Any]:
        """Return what the JSON says of one server."""
        return next(dict(each) for each in self.document()["backends"] if each["name"] == server.address)


class BrowserTests(PairCase):
    """What a person sees."""

    def setUp(self) -> None:
        require_chromium()
        super().setUp()
        self.browser = Browser()
        self.addCleanup(self.browser.close)
        self.browser.start().look()

    def test_page_is_confined_and_complete(self) -> None:
        """The browser loads the one page, has nothing to complain about, and shows the verdict and both servers."""
        self.browser.open(self.url)
        self.assertEqual(self.browser.text(".verdict p"), f"Both servers are healthy; {self.first.address} serves.")
        self.assertEqual(self.browser.value("document.querySelectorAll('.card').length"), 2)
        self.assertEqual([url for url in self.browser.requested if not url.startswith("data:")], [self.url])
        self.assertEqual(self.browser.complaints, [])
        self.assertNotEqual(self.browser.value("getComputedStyle(document.querySelector('.card')).borderTopStyle"), "none")

    def test_page_renews_itself(self) -> None:
        """Who leaves the page open sees a server being ejected and coming back, and that mpp has gone; what he types stays."""
        self.browser.open(self.url)
        self.browser.value("document.querySelector('input').value = '/graph'")
        self.first.spoil("refuse")
        self.browser.wait("document.title.includes('One server is ejected')", "the ejection is seen")
        self.assertIn(f"{self.second.address} serves", self.browser.text(".verdict"))
        self.assertIn("Out of service for", self.browser.text(".card.ejected"))
        self.assertIn(f"{self.first.address} is ejected, down", self.browser.text(".events"))
        self.first.mend()
        self.browser.wait("document.title.includes('Both servers are healthy')", "the return is seen")
        self.assertEqual(self.browser.value("document.querySelector('input').value"), "/graph")
        self.mpp.kill()
        self.browser.wait("!document.getElementById('lost').hidden", "it is seen that mpp does not answer")

    def test_selected_text_stays(self) -> None:
        """Text that is selected to be copied stays selected, its part says that it waits, and all other parts are renewed."""
        self.browser.open(self.url)
        self.browser.value("getSelection().selectAllChildren(document.querySelector('.card h3'))")
        name = self.browser.value("getSelection().toString()")
        self.assertIn(self.first.address, name)
        self.first.spoil("refuse")
        self.browser.wait(
            "document.querySelector('#verdict').innerText.includes('One server is ejected')", "the verdict is renewed"
        )
        self.assertIn(f"{self.first.address} is ejected, down", self.browser.text("#events"))
        self.browser.wait("!!document.querySelector('#servers.held')", "the part with the text says that it is not renewed")
        self.assertEqual(self.browser.value("getSelection().toString()"), name)
        self.assertNotIn("Out of service", self.browser.text("#servers"))
        self.browser.value("getSelection().removeAllRanges()")
        self.browser.wait("!!document.querySelector('.card.ejected') && !document.querySelector('.held')", "it is renewed again")
        self.assertEqual(self.browser.complaints, [])

    def test_scripts_off(self) -> None:
        """With scripts off the page is the same, and is loaded again by itself."""
        self.browser.look(scripts=False)
        self.browser.open(self.url)
        self.assertIn("Both servers are healthy", self.browser.text(".verdict"))
        self.first.spoil("refuse")
        self.browser.wait("document.title.includes('One server is ejected')", "the page is loaded again", 25)

    def test_phone_and_colors(self) -> None:
        """Nothing is wider than a phone, and the colors are those that the browser wants, with enough contrast."""
        backgrounds = []
        for dark in (False, True):
            self.browser.look(width=390, height=844, dark=dark)
            for path in ("status", "explain?/api/v1/query?query=" + "x" * 300):
                self.browser.open(f"http://{self.mpp.address}/mpp/{path}")
                self.assertLessEqual(self.browser.value("document.documentElement.scrollWidth"), 390, path)
            backgrounds.append(self.browser.value("getComputedStyle(document.body).backgroundColor"))
            self.assertGreaterEqual(self.browser.value(CONTRAST), 4.5)
        self.assertNotEqual(*backgrounds)

    def test_hostile_server(self) -> None:
        """What a server says is shown as text, and runs nothing."""
        self.first.set(version=f"3.5.0{HOSTILE}", config_at=time.time())
        self.browser.open(f"http://{self.mpp.address}/mpp/explain?url=/{HOSTILE}")
        self.assertIn("would answer this", self.browser.text(".verdict"))
        self.assertEqual(self.browser.value("document.images.length"), 0)
        mpp = Mpp([self.first.url, self.second.url])
        mpp.start_for(self).wait_selected(self.first.address)
        self.browser.open(f"http://{mpp.address}/mpp/status")
        self.assertIn("<script>document.title", self.browser.text(".card"))
        self.assertIn("different versions", self.browser.text())
        self.assertNotIn("taken", self.browser.value("document.title"))
        self.assertEqual((self.browser.value("document.images.length"), self.browser.complaints), (0, []))

    def test_replay_is_seen(self) -> None:
        """The progress of a WAL replay is shown, and how long it still takes."""
        self.first.set(ready=False, replayed=2)
        wait_until(lambda: self.backend(self.first)["wal_replay"], "the replay is known")
        self.first.set(replayed=6)
        wait_until(lambda: self.backend(self.first)["wal_replay"]["seconds_left"], "its end is estimated")
        self.browser.open(self.url)
        self.assertIn("One server replays its WAL.", self.browser.text(".verdict"))
        self.assertRegex(self.browser.text(".card.ejected"), r"replays its WAL: 6 of 10 segments \(60%\), about \d+m?s")
        self.assertEqual(self.browser.value("document.querySelector('progress').value"), 6)

    def test_explain_from_the_page(self) -> None:
        """Who types a request into the form is told who would answer it."""
        self.browser.open(self.url)
        self.browser.value("document.querySelector('input').value = '/api/v1/query?query=up{job=\"a b\"}&timeout=5s'")
        self.browser.value("document.querySelector('form').requestSubmit()")
        self.browser.wait("document.title.includes('would answer this')", "it is explained")
        self.assertEqual(self.browser.text(".verdict p"), f"{self.first.address} would answer this.")
        self.assertIn("within 6s", self.browser.text("ol"))
        self.assertEqual(self.browser.complaints, [])


CONTRAST = """
(() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map((x) => x / 255)
      .map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if (!color.endsWith(", 0)")) return color;
    }
  };
  const ratios = [...document.querySelectorAll("p, dt, dd, h1, h2, h3, span, td, th, li, button, a")]
    .filter((element) => element.innerText && element.offsetWidth)
    .map((element) => [light(getComputedStyle(element).color), light(behind(element))])
    .map(([one, other]) => (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05));
  return Math.min(...ratios);
})()
"""
"""The lowest contrast of all text on the page, as WCAG 2.1 (1.4.3) counts it."""


class DocumentTests(PairCase):
    """What programs get."""

    def test_last_minutes(self) -> None:
        """Requests, errors and retries of the last minutes are those that were made."""
        with Load(self.mpp.port, clients=2, asks=(Ask("/api/v1/query?query=up"),), pause=0.02) as load:
            self.first.spoil("half-reset", share=0.5, spare_probes=True)
            time.sleep(1.5)
            self.first.mend()
            tally = load.stop()
        self.assertEqual(tally.failures, [])

        def told() -> bool:
            recent = [self.backend(server)["recent"] for server in (self.first, self.second)]
            answered = sum(each["requests"] for each in recent)
            return bool(answered == sum(tally.served_by.values()) and recent[0]["retries"] and recent[0]["p99_seconds"])

        wait_until(told, "all requests are told", 20)

    def test_explained_is_done(self) -> None:
        """The server that is named is the one that answers, with a cookie and without."""
        for headers in ({}, {"Cookie": "MPP.Route=0123456789abcdef"}):
            asked = "/api/v1/query?query=up"
            told = json.loads(fetch(self.mpp.port, f"/mpp/explain?format=json&{asked}", headers=headers)[2])
            self.assertEqual(told["backends"], [fetch(self.mpp.port, asked, headers=headers)[1]["mpp.servedby"]])
        self.assertEqual(self.first.count("/mpp/explain"), 0)

    def test_drift_is_shown_with_its_values(self) -> None:
        """Servers that differ are told as no pair, each difference with its values."""
        changed = {"config": "scrape_configs: []\n", "targets": ["a:1"], "ahead": 30, "reload_ok": False, "retention": 86400}
        changed["flags"] = {"query.lookback-delta": "1s", "query.timeout": "1m"}
        self.first.set(started_at=time.time() - 3600)
        self.second.set(**changed, config_at=time.time(), started_at=time.time() - 3600)
        mpp = Mpp([self.first.url, self.second.url]).start_for(self)
        found = json.loads(fetch(mpp.port, "/mpp/status?format=json")[2])
        kinds = [each["kind"] for each in found["drift"]]
        self.assertEqual(kinds, ["reload", "configuration", "flags", "targets", "retention", "clock", "external_labels"])
        self.assertEqual(found["verdict"]["level"], "warn")


HAS_TARGETS = b'prometheus_target_scrape_pool_targets{scrape_job="prometheus"} 2'


class RealServersTests(SynchronousTestCase):
    """Real Prometheus servers, of each version there is."""

    def test_pair_is_a_pair(self) -> None:
        """A pair that differs in external labels only shows these as a note, and the values of both servers are on the page."""
        require_binary()
        for binary in binaries():
            servers = pair(binary)
            for server in servers:
                self.addCleanup(server.close)
                server.scrape([each.address for each in servers])
                server.kill()
                server.start()
                wait_until(lambda server=server: HAS_TARGETS in fetch(server.port, "/metrics")[2], "it has its targets")
                server.wait_scraped(2)
            mpp = Mpp([server.url for server in servers]).start_for(self)
            found = json.loads(fetch(mpp.port, "/mpp/status?format=json")[2])
            (note,) = found["drift"]
            self.assertEqual(
                (note["kind"], note["level"], found["verdict"]["level"]), ("external_labels", "note", "good"), binary
            )
            labels = sorted(note["values"].values())
            self.assertRegex(" ".join(labels), '^prometheus_replica="[^"]+" prometheus_replica="[^"]+"$')
            for backend in found["backends"]:
                self.assertEqual((backend["targets"], backend["configuration"]["reload_successful"]), (2, True))
                self.assertRegex(backend["configuration"]["hash"], "^[0-9a-f]{12}$")
                self.assertLess(abs(backend["clock_skew_seconds"]), 2)
                self.assertLess(backend["newest_sample_age_seconds"], 60)

    def test_flags_that_change_answers(self) -> None:
        """A server that was started with another look-back and other features than its twin is told to differ in these."""
        require_binary()
        options = ("--query.lookback-delta=1s", "--enable-feature=promql-experimental-functions")
        for binary in binaries():
            servers = pair(binary)
            for server in servers:
                self.addCleanup(server.close)
            servers[1].kill()
            servers[1].options = options
            servers[1].start()
            mpp = Mpp([server.url for server in servers]).start_for(self)
            page = json.loads(fetch(mpp.port, "/mpp/status?format=json")[2])
            (told,) = (each for each in page["drift"] if each["kind"] == "flags")
            expected = {
                servers[0].address: "query.lookback-delta=5m enable-feature=",
                servers[1].address: "query.lookback-delta=1s enable-feature=promql-experimental-functions",
            }
            self.assertEqual(told["values"], expected, binary)
            self.assertEqual(page["verdict"]["level"], "warn")
            self.assertIn(b"They run with different flags", fetch(mpp.port, "/mpp/status")[2])

    def test_replay_of_a_real_wal(self) -> None:
        """A server that replays its WAL tells how far it is."""
        server, other = pair(require_binary())
        for each in (server, other):
            self.addCleanup(each.close)
        server.kill()
        server.hold_replay()
        (server.folder / "data" / "wal" / "00000001").touch()
        server.start(wait=False)
        mpp = Mpp([server.url]).start_for(self)

        def replay() -> Any:
            return json.loads(fetch(mpp.port, "/mpp/status?format=json")[2])["backends"][0]["wal_replay"]

        wait_until(replay, "the replay is told", 10)
