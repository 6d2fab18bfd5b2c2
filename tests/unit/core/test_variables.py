"""Environment variables that look like mpp's."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.config.options import OPTIONS
from mpp.core.text.variables import unknown_names

KNOWN = tuple(name for option in OPTIONS for name in option.env)


def unknown(*names: str) -> list[tuple[str, str]]:
    """Return what is unknown among variables that are set."""
    return list(unknown_names(dict.fromkeys(names, "tcp://10.0.0.1:9090"), KNOWN))


class UnknownNamesTests(SynchronousTestCase):
    """Names that nothing reads."""

    def test_mistyped_name_comes_with_the_nearest_one(self) -> None:
        """A mistyped name comes with the nearest right one, if one is near."""
        for name, nearest in (
            ("MPP_ROUTNG_STRATEGY", "MPP_ROUTING_STRATEGY"),
            ("MPP_ENDPOINTS", "MPP_ENDPOINT"),
            ("MPP_INSECURE", "MPP_INSECURE_CERTS"),
            ("MPP_PLAINN", "MPP_PLAIN"),
            ("MPP_FROB", ""),
            ("MPP_", ""),
        ):
            with self.subTest(name=name):
                self.assertEqual(unknown(name), [(name, nearest)])

    def test_known_variables_are_not_reported(self) -> None:
        """The variables of options, of the tuned parts and of the tests are known; others are none of mpp's."""
        self.assertEqual(unknown(*KNOWN, "MPP_PLAIN", "MPP_TEST_PROMETHEUS", "MPPX", "PATH", "MY_MPP_PORT"), [])

    def test_empty_variable_counts_as_not_set(self) -> None:
        """A variable without a value counts as not set."""
        self.assertEqual(list(unknown_names({"MPP_ROUTNG_STRATEGY": ""}, KNOWN)), [])

    def test_service_links(self) -> None:
        """What Kubernetes sets for Services whose names begin with mpp is passed over."""
        for service in ("MPP", "MPP_CANARY"):
            endings = ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP_WEB", "PORT", "PORT_9090_TCP", "PORT_53_UDP_ADDR")
            with self.subTest(service=service):
                self.assertEqual(unknown(*(f"{service}_{ending}" for ending in endings)), [])

    def test_no_service_link(self) -> None:
        """A name that only looks like a Service's is none: Kubernetes always sets the host, too."""
        self.assertEqual(unknown("MPP_KUBE_SERVICE_PORT"), [("MPP_KUBE_SERVICE_PORT", "MPP_KUBE_SERVICE_NAME")])
        self.assertEqual(unknown("MPP_SERVICE_HOST", "MPP_PROT"), [("MPP_PROT", "MPP_PORT")])
