"""What Kubernetes' objects say."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.discovery.kubernetes.objects import (
    ParsedObjects,
    Port,
    choose_port,
    discovered,
    one_line,
    read_endpoints,
    read_pod,
    read_slice,
)
from mpp.discovery.kubernetes.settings import KubeSettings
from tests.fake_kube import endpoint, endpoint_slice, endpoints_object, pod


def urls(*readings: ParsedObjects) -> list[str]:
    """Return the ready backends that these make together, then those that are not."""
    found = discovered((each for reading in readings for each in reading.candidates), KubeSettings())
    return [each.backend.netloc + (" " + each.not_ready if each.not_ready else "") for each in found]


class PortTests(SynchronousTestCase):
    """``--kube-port`` and what counts without it."""

    def test_wanted_number_or_name_of_a_port_counts(self) -> None:
        """A wanted number counts as it is, a wanted name if it is there; else well-known names, 9090, the first."""
        many = (Port("reloader-web", 8080), Port("grpc", 10901), Port("http", 80), Port("", 9090))
        for ports, wanted, expected in (
            ((), "9091", 9091),
            (many, "9091", 9091),
            (many, "grpc", 10901),
            (many, "wbe", None),
            ((), "web", None),
            ((), "", None),
            (many, "", 80),
            ((*many, Port("prometheus", 1)), "", 80),
            ((*many, Port("http-web", 2)), "", 2),
            ((*many, Port("http-web", 2), Port("web", 3)), "", 3),
            ((Port("prometheus", 4), Port("x", 9090)), "", 4),
            ((Port("a", 1), Port("b", 9090)), "", 9090),
            ((Port("a", 1), Port("b", 2)), "", 1),
        ):
            self.assertEqual(choose_port(ports, wanted), expected, (ports, wanted))


class SliceTests(SynchronousTestCase):
    """EndpointSlices."""

    def test_endpoint_without_conditions_is_ready(self) -> None:
        """An endpoint without conditions is ready; one that terminates is listed as not ready, since it may still serve."""
        conditions: list[Any] = [{}, {"ready": None}, {"ready": True}, {"ready": False}, {"ready": True, "terminating": True}]
        conditions += [{"ready": False, "serving": True, "terminating": True}]
        each = [endpoint(f"10.0.0.{n}", f"p-{n}", conditions=condition) for n, condition in enumerate(conditions)]
        self.assertEqual(
            urls(read_slice(endpoint_slice("a", each), "")),
            [
                *("10.0.0.0:9090", "10.0.0.1:9090", "10.0.0.2:9090", "10.0.0.3:9090 p-3 is not ready"),
                *("10.0.0.4:9090 p-4 is terminating", "10.0.0.5:9090 p-5 is terminating"),
            ],
        )

    def test_ports_of_other_protocols_are_ignored(self) -> None:
        """Ports of other protocols and ports without a number do not count."""
        each = [endpoint("10.0.0.1", "p-0")]
        ports = [{"name": "web", "port": 1, "protocol": "UDP"}, {"name": "web", "port": None}, {"name": None, "port": 2}]
        self.assertEqual(urls(read_slice(endpoint_slice("a", each, ports=ports), "")), ["10.0.0.1:2"])
        nothing = read_slice(endpoint_slice("a", each, ports=ports[:2]), "")
        self.assertEqual(nothing.problems, ("EndpointSlice a declares no TCP port; set its number with --kube-port",))
        self.assertEqual(urls(read_slice(endpoint_slice("a", each, ports=[]), "9090")), ["10.0.0.1:9090"])

    def test_empty_slice(self) -> None:
        """A slice without endpoints is no problem, even if it has no ports: that of a service without pods is like that."""
        for endpoints in ([], None):
            item = {**endpoint_slice("a", [], ports=[]), "endpoints": endpoints, "ports": None}
            self.assertEqual(read_slice(item, ""), ParsedObjects())

    def test_dual_stack(self) -> None:
        """A server with an address of each family is one server, with the IPv4 one, even while only the other one is ready."""
        six = endpoint_slice("six", [endpoint("2001:db8::1", "p-0"), endpoint("2001:db8::2", "p-1")], family="IPv6")
        four = endpoint_slice("four", [endpoint("10.0.0.1", "p-0", conditions={"ready": False})])
        self.assertEqual(
            urls(read_slice(six, ""), read_slice(four, "")), ["10.0.0.1:9090 p-0 is not ready", "[2001:db8::2]:9090"]
        )

    def test_address_without_pod_in_two_slices(self) -> None:
        """An address of no known pod is ready if one of its slices says so, in whatever order their names are."""
        for conditions in (({"ready": False}, {"ready": True}), ({"ready": True}, {"ready": False})):
            both = [{"addresses": ["10.0.0.1"], "conditions": each} for each in conditions]
            readings = [read_slice(endpoint_slice(name, [each]), "") for name, each in zip("ab", both, strict=True)]
            self.assertEqual(urls(*readings), ["10.0.0.1:9090"])

    def test_in_two_slices(self) -> None:
        """An endpoint that is in two slices for a moment counts once, and is ready if one of them says so."""
        old = endpoint_slice("old", [endpoint("10.0.0.1", "p-0", conditions={"ready": False})])
        new = endpoint_slice("new", [endpoint("10.0.0.1", "p-0")])
        self.assertEqual(urls(read_slice(old, ""), read_slice(new, "")), ["10.0.0.1:9090"])

    def test_recreated_pod_is_another_server(self) -> None:
        """A pod that was made anew under its old name is another server: both addresses are listed while both are there."""
        old = endpoint_slice("old", [endpoint("10.0.0.1", "p-0", uid="1", conditions={"ready": False})])
        new = endpoint_slice("new", [endpoint("10.0.0.2", "p-0", uid="2")])
        self.assertEqual(len(urls(read_slice(old, ""), read_slice(new, ""))), 2)

    def test_without_pods(self) -> None:
        """Endpoints made by hand have no pod; each address is a server."""
        each: list[dict[str, Any]] = [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2", "10.0.0.3"]}]
        self.assertEqual(urls(read_slice(endpoint_slice("a", each), "")), ["10.0.0.1:9090", "10.0.0.2:9090"])

    def test_ipv6_is_normalized_and_nonsense_reported(self) -> None:
        """IPv6 in its one spelling; names, zones and nonsense are reported."""
        addresses = ("2001:DB8:0::5", "fe80::1%eth0", "prom.example", "10.0.0.300")
        reading = read_slice(endpoint_slice("a", [endpoint(each, f"p-{each}") for each in addresses]), "")
        self.assertEqual(urls(reading), ["[2001:db8::5]:9090"])
        self.assertEqual(len(reading.problems), 3)

    def test_order_is_that_of_pod_names(self) -> None:
        """The order is that of the pods' names, whatever that of the slices: it breaks ties, on every mpp alike."""
        each = [endpoint(f"10.0.0.{n}", f"p-{n}") for n in (2, 0, 1)]
        self.assertEqual(urls(read_slice(endpoint_slice("a", each), "")), [f"10.0.0.{n}:9090" for n in range(3)])


class EndpointsTests(SynchronousTestCase):
    """Endpoints."""

    def test_all_subsets_count(self) -> None:
        """All subsets count, each with its own ports; addresses that are not ready are listed as such."""
        pods = [{"ip": f"10.0.0.{n}", "targetRef": {"name": f"p-{n}", "uid": f"u-{n}"}} for n in range(3)]
        subsets = [
            {"addresses": pods[:1], "ports": [{"name": "web", "port": 1}]},
            {"addresses": pods[1:2], "notReadyAddresses": pods[2:], "ports": [{"name": "web", "port": 2}]},
        ]
        self.assertEqual(
            urls(read_endpoints(endpoints_object("prometheus", subsets), "")),
            ["10.0.0.0:1", "10.0.0.1:2", "10.0.0.2:2 p-2 is not ready"],
        )

    def test_subset_without_the_port_is_reported(self) -> None:
        """A subset without the port is reported, the others count."""
        subsets = [{"addresses": [{"ip": "10.0.0.1"}]}, {"addresses": [{"ip": "10.0.0.2"}], "ports": [{"port": 9090}]}]
        reading = read_endpoints(endpoints_object("prometheus", subsets), "")
        self.assertEqual(urls(reading), ["10.0.0.2:9090"])
        problem = "Endpoints prometheus declares no TCP port; set its number with --kube-port"
        self.assertEqual(reading.problems, (problem,))
        self.assertEqual(read_endpoints({"metadata": {"name": "x"}, "subsets": None}, ""), ParsedObjects())


class PodTests(SynchronousTestCase):
    """Pods."""

    def test_only_running_pods_count(self) -> None:
        """Only running pods count; those that are being deleted may still serve, and count as not ready."""
        for phase in ("Pending", "Succeeded", "Failed", "Unknown"):
            self.assertEqual(read_pod(pod("p-0", "10.0.0.1", phase=phase), ""), ParsedObjects())
        deleted = pod("p-0", "10.0.0.1")
        deleted["metadata"]["deletionTimestamp"] = "2024-05-01T10:00:00Z"
        self.assertEqual(urls(read_pod(deleted, "")), ["10.0.0.1:9090 p-0 is terminating"])
        self.assertEqual(urls(read_pod(pod("p-0", "10.0.0.1"), "")), ["10.0.0.1:9090"])

    def test_not_ready(self) -> None:
        """A pod without the condition is not ready; one with it says why."""
        item = pod("p-0", "10.0.0.1", ready=False)
        (found,) = read_pod(item, "").candidates
        self.assertEqual(found.not_ready, "p-0 is not ready: containers with unready status: [prometheus]")
        item["status"]["conditions"] = [{"type": "Initialized", "status": "True"}]
        (found,) = read_pod(item, "").candidates
        self.assertEqual(found.not_ready, "p-0 is not ready")

    def test_first_address_of_a_pod_counts(self) -> None:
        """The first address counts; without any the pod is reported."""
        item = pod("p-0", "2001:db8::1")
        item["status"]["podIPs"].append({"ip": "10.0.0.1"})
        self.assertEqual(urls(read_pod(item, "")), ["[2001:db8::1]:9090"])
        del item["status"]["podIP"]
        self.assertEqual(urls(read_pod(item, "")), ["[2001:db8::1]:9090"])
        del item["status"]["podIPs"]
        self.assertEqual(read_pod(item, "").problems, ("Pod p-0 runs and has no IP address",))

    def test_ports_of_containers_and_sidecars_count(self) -> None:
        """Ports of all containers count, and of native sidecars; not those of init containers that end."""
        item = pod("p-0", "10.0.0.1")
        item["spec"]["containers"].insert(0, {"name": "reloader", "ports": [{"name": "reloader-web", "containerPort": 8080}]})
        sidecar = {"name": "proxy", "restartPolicy": "Always", "ports": [{"name": "tls", "containerPort": 9443}]}
        item["spec"]["initContainers"] = [{"name": "init", "ports": [{"name": "init", "containerPort": 1}]}, sidecar]
        for wanted, expected in (("", 9090), ("tls", 9443), ("reloader-web", 8080), ("1234", 1234)):
            self.assertEqual(urls(read_pod(item, wanted)), [f"10.0.0.1:{expected}"])
        self.assertEqual(read_pod(item, "init").problems, ("Pod p-0 has no TCP port named 'init' (--kube-port)",))


KEYS = (
    *("metadata", "name", "uid", "endpoints", "addresses", "conditions", "ports", "port", "subsets", "ip", "targetRef"),
    *("notReadyAddresses", "status", "phase", "podIP", "podIPs", "spec", "containers", "initContainers", "containerPort"),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=20,
)


class HostileTests(SynchronousTestCase):
    """Objects from somebody who means no good."""

    @given(
        st.dictionaries(st.sampled_from(["metadata", "endpoints", "ports", "subsets", "spec", "status"]), ANYTHING, max_size=5)
    )
    def test_any_json_is_read_without_an_exception(self, item: dict[str, Any]) -> None:
        """Whatever JSON comes, it is read without an exception."""
        for read in (read_slice, read_endpoints, read_pod):
            urls(read(item, ""))

    def test_one_line(self) -> None:
        """Somebody else's words fit into one line of a log."""
        self.assertEqual(one_line("a\n\x1b[31mb \t c"), "a [31mb c")
        self.assertEqual(len(one_line("x" * 5000)), 303)
