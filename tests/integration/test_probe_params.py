"""Servers behind something that wants a parameter in each request, as prom-label-proxy does."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import Mpp, Simulated, fetch, wait_until

PARAMS = "namespace=monitoring"
QUERY = "/api/v1/query?query=up"


class ParameterTests(SynchronousTestCase):
    """Two servers; one that has more data, or both, wants a parameter."""

    def setUp(self) -> None:
        self.strict = Simulated("--version", "3.5.0", "--history", "30d", name="strict")
        self.other = Simulated("--version", "3.5.0", "--history", "10d", name="other")
        for server in (self.strict, self.other):
            server.start_for(self)
        self.strict.set(wants_parameter="namespace")

    def begin(self, *options: str, config: str = "") -> Mpp:
        """Start mpp."""
        mpp = Mpp([self.strict.url, self.other.url], "--affinity-options", "none", *options)
        self.addCleanup(mpp.close)
        if config:
            path = mpp.folder / "mpp.yaml"
            path.write_text(config)
            mpp._options += ("--config", str(path))
        return mpp.start()

    def assert_known(self, mpp: Mpp) -> None:
        """Require that the probes of the strict server are answered, and that it takes the traffic that is due to it."""
        self.assertEqual(mpp.standing_of(self.strict.address), "viable", mpp.log()[-2000:])
        self.assertTrue(mpp.is_selected(self.strict.address))
        status, fields, _ = fetch(mpp.port, f"{QUERY}&{PARAMS}")
        self.assertEqual((status, fields["mpp.servedby"]), (200, self.strict.address))

    def test_probe_params_are_sent_by_probes(self) -> None:
        """With the parameter in --probe-params the server is observed like any other."""
        self.assert_known(self.begin("--probe-params", PARAMS))

    def test_single_server(self) -> None:
        """The parameter may be given for one server, in the configuration file; the others are not asked with it."""
        self.other.set(wants_parameter="tenant")
        config = f"backends:\n- url: {self.strict.url}\n  probe-params: {PARAMS}\n"
        mpp = self.begin("--probe-params", "tenant=a", config=config)
        self.assert_known(mpp)
        self.assertEqual(mpp.standing_of(self.other.address), "viable", mpp.log()[-2000:])

    def test_without_it(self) -> None:
        """Without it the server ranks after one that is known to be good, and takes the traffic when that one is down."""
        mpp = self.begin()
        self.assertEqual(mpp.standing_of(self.strict.address), "busy", mpp.log()[-2000:])
        self.assertTrue(mpp.is_selected(self.other.address))
        self.assertIn("it rejects the probe's query (400:", mpp.log())
        self.assertIn("see --probe-params", mpp.log())
        self.other.kill()
        status, fields, _ = fetch(mpp.port, f"{QUERY}&{PARAMS}")
        self.assertEqual((status, fields["mpp.servedby"]), (200, self.strict.address), mpp.log()[-2000:])
        wait_until(lambda: mpp.is_selected(self.strict.address), "it takes the traffic", 5)
        self.assertEqual(fetch(mpp.port, "/mpp/ready")[0], 200)

    def test_both_without_it(self) -> None:
        """If all servers want it they serve, and the status page says what is not known of them."""
        self.other.set(wants_parameter="namespace")
        mpp = self.begin()
        for _ in range(10):
            self.assertEqual(fetch(mpp.port, f"{QUERY}&{PARAMS}")[0], 200, mpp.log()[-2000:])
        self.assertIn(b"they reject the probe's query", fetch(mpp.port, "/mpp/status?format=json")[2])

    def test_wrong_probe_params_are_rejected(self) -> None:
        """Parameters that cannot be are refused with the option and what was expected."""
        with self.assertRaises(Exception) as raised:
            self.begin("--probe-params", "a b")
        self.assertIn("--probe-params", str(raised.exception))
        self.assertIn("expected name=value", str(raised.exception))
