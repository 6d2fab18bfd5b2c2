"""Prometheus servers in Kubernetes: what is asked for, what is made of it, and what an operator is told."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import ConfigError, DiscoveryError
from mpp.core.interfaces import ILocator
from mpp.core.model import Backend, DiscoveredBackend
from mpp.discovery.http_api.json_api import JSONClient
from mpp.discovery.kinds.planner import LocatorPlanner
from mpp.discovery.kubernetes.cluster_access import ClusterAccess
from mpp.discovery.kubernetes.collections import PAGE
from mpp.discovery.kubernetes.locator import check
from mpp.discovery.kubernetes.settings import KubeSettings
from mpp.wire.tls import TLSPolicy
from tests.configured import configured
from tests.fake_kube import InMemory, endpoint, endpoint_slice, endpoints_object, pod
from tests.locator_contract import locator_tests
from tests.logged import logged

SERVICE = KubeSettings(service_name="prometheus")
PODS = KubeSettings(pod_label_selector="app=prometheus")
ACCESS = ClusterAccess("https://kube.example:6443", "monitoring", authorization="Bearer s3cr3t-token")


def ready(host: str, port: int = 9090) -> DiscoveredBackend:
    return DiscoveredBackend(Backend("http", host, port))


class _Source:
    """An API server in the hands of the contract."""

    secrets: Sequence[str] = ("s3cr3t-token",)
    watched = True
    resource = ""

    def __init__(self, kube: KubeSettings) -> None:
        self.world = InMemory(kube, ACCESS)
        self.world.fake.tokens = {"s3cr3t-token": "alice"}
        self.locator: ILocator = self.world.locator

    def repair(self) -> None:
        self.world.fake.fault(status=0, hanging=False)
        self.world.fake.release()

    def fail(self) -> None:
        self.world.fake.fault(status=503)

    def hang(self) -> None:
        self.world.fake.fault(hanging=True)

    def leftovers(self) -> Sequence[object]:
        return [*self.world.fake.watches, *self.world.clock.getDelayedCalls(), *range(self.world.fake.held)]

    def settle(self) -> None:
        self.world.settle()


class _SliceSource(_Source):
    """EndpointSlices; a server listed twice is in two slices."""

    def __init__(self, _: SynchronousTestCase) -> None:
        super().__init__(SERVICE)

    def have(self, *addresses: str) -> None:
        self.repair()
        fake = self.world.fake
        for number, address in enumerate(addresses):
            host, _, port = address.partition(":")
            name = f"prometheus-{addresses.index(address)}"
            ports = [{"name": "web", "port": int(port), "protocol": "TCP"}]
            fake.put("endpointslices", endpoint_slice(f"slice-{number}", [endpoint(host, name)], ports=ports))
        for name in fake.names_of("endpointslices")[len(addresses) :]:
            fake.delete("endpointslices", name)


class _PodSource(_Source):
    """Pods; two that share the network of a node share its address."""

    def __init__(self, _: SynchronousTestCase) -> None:
        super().__init__(PODS)

    def have(self, *addresses: str) -> None:
        self.repair()
        fake = self.world.fake
        for number, address in enumerate(addresses):
            fake.put("pods", pod(f"prometheus-{number}", address.partition(":")[0]))
        for name in fake.names_of("pods")[len(addresses) :]:
            fake.delete("pods", name)


class SliceContractTests(locator_tests(_SliceSource)):  # type: ignore[misc]
    """The endpoints of a service."""


class PodContractTests(locator_tests(_PodSource)):  # type: ignore[misc]
    """Pods by label."""


class _Located(SynchronousTestCase):
    """Base: a locator and a server."""

    kube = SERVICE

    def setUp(self) -> None:
        self.world = InMemory(self.kube, ACCESS)
        self.fake = self.world.fake
        self.logged = logged(self, lambda event: str(event.get("problem", "")))

    def located(self) -> tuple[DiscoveredBackend, ...]:
        return self.successResultOf(self.world.locator.locate())

    def refused(self) -> str:
        return str(self.failureResultOf(self.world.locator.locate(), DiscoveryError).value)


class ServiceTests(_Located):
    """``--kube-service-name``."""

    def test_what_is_asked(self) -> None:
        """Slices of the service are asked for, in the access's namespace, in pages."""
        self.located()
        (seen,) = self.fake.seen
        self.assertEqual(seen.path, "/apis/discovery.k8s.io/v1/namespaces/monitoring/endpointslices")
        self.assertEqual(seen.query, {"labelSelector": "kubernetes.io/service-name=prometheus", "limit": str(PAGE)})
        self.assertEqual((seen.fields["accept"], seen.fields["authorization"]), (("application/json",), ("Bearer s3cr3t-token",)))

    def test_nothing_is_found(self) -> None:
        """A service that does not exist is an empty list; what was looked for names service, namespace and port."""
        wrong = SERVICE, PODS, evolve(SERVICE, namespace="monitorin", port="web")
        expected = (
            "EndpointSlices in namespace 'monitoring' of the service 'prometheus'",
            "pods in namespace 'monitoring' with the labels 'app=prometheus'",
            "EndpointSlices in namespace 'monitorin' of the service 'prometheus', port 'web'",
        )
        for kube, sought in zip(wrong, expected, strict=True):
            world = InMemory(kube, ACCESS)
            self.assertEqual(self.successResultOf(world.locator.locate()), ())
            self.assertEqual(world.locator.sought, sought)

    def test_namespace_option(self) -> None:
        """``--kube-namespace`` counts more than the context's."""
        world = InMemory(evolve(SERVICE, namespace="other"))
        self.successResultOf(world.locator.locate())
        self.assertIn("/namespaces/other/", world.fake.seen[0].path)

    def test_service_wins(self) -> None:
        """The service counts more than the label selector."""
        world = InMemory(evolve(SERVICE, pod_label_selector="app=x"))
        self.successResultOf(world.locator.locate())
        self.assertIn("endpointslices", world.fake.seen[0].path)

    def test_other_services(self) -> None:
        """Other services' slices do not count."""
        self.fake.put("endpointslices", endpoint_slice("a", [endpoint("10.0.0.1", "prometheus-0")]))
        self.fake.put("endpointslices", endpoint_slice("b", [endpoint("10.0.0.2", "x")], service="prometheus-operated"))
        self.assertEqual(self.located(), (ready("10.0.0.1"),))

    def test_no_such_service(self) -> None:
        """A service without slices has no servers, which is not an error."""
        self.assertEqual(self.located(), ())

    def test_thousand_endpoints(self) -> None:
        """1,000 endpoints over 10 slices are found."""
        for number in range(10):
            each = [endpoint(f"10.1.{number}.{last}", f"prometheus-{number}-{last:02}") for last in range(100)]
            self.fake.put("endpointslices", endpoint_slice(f"prometheus-{number}", each))
        self.assertEqual(len(set(self.located())), 1000)

    def test_list_in_several_pages_is_read_to_its_end(self) -> None:
        """A list in several pages is read to its end."""
        for number in range(2 * PAGE + 1):
            each = [endpoint(f"10.1.{number // 200}.{number % 200}", f"prometheus-{number:03}")]
            self.fake.put("endpointslices", endpoint_slice(f"slice-{number:03}", each))
        self.assertEqual(len(self.located()), 2 * PAGE + 1)
        self.assertEqual(["continue" in seen.query for seen in self.fake.seen], [False, True, True])

    def test_page_expires(self) -> None:
        """When the rest of a list is no longer to be had (410), the list is begun anew."""
        for number in range(PAGE + 1):
            self.fake.put("endpointslices", endpoint_slice(f"slice-{number:03}", [endpoint("10.0.0.1", "prometheus-0")]))
        compact, expired = self.fake._list, []

        def list_and_forget(*arguments: object) -> object:
            answer = compact(*arguments)  # type: ignore[arg-type]
            if not expired:
                expired.append(self.fake.compact())
            return answer

        self.fake._list = list_and_forget  # type: ignore[method-assign,assignment]
        self.assertEqual(self.located(), (ready("10.0.0.1"),))
        self.assertEqual(["continue" in seen.query for seen in self.fake.seen], [False, True, False, True])

    def test_page_always_expires(self) -> None:
        """A server that forgets again and again is given up."""
        for number in range(PAGE + 1):
            self.fake.put("endpointslices", endpoint_slice(f"slice-{number:03}", []))
        self.fake._snapshots = _Forgetful()
        self.assertIn("status 410", self.refused())

    def test_endpoints_when_slices_are_forbidden(self) -> None:
        """Where slices are not allowed, or not served, Endpoints are used, and slices are not asked for at every look-up."""
        subset = {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"name": "web", "port": 9090}]}
        for faults in ({"forbidden": frozenset({("list", "endpointslices")})}, {"not_served": frozenset({"endpointslices"})}):
            world = InMemory(SERVICE)
            world.fake.fault(**faults)
            world.fake.put("endpoints", endpoints_object("prometheus", [subset]))
            world.fake.put("endpoints", endpoints_object("other", [subset, subset]))
            for _ in range(2):
                self.assertEqual(self.successResultOf(world.locator.locate()), (ready("10.0.0.1"),))
            asked = [seen.path.rpartition("/")[2] for seen in world.fake.seen]
            self.assertEqual(asked, ["endpointslices", "endpoints", "endpoints"])
            world.fake.fault(forbidden=frozenset(), not_served=frozenset())
            world.clock.advance(301)
            self.assertEqual(self.successResultOf(world.locator.locate()), ())

    def test_slices_are_refused_for_a_moment(self) -> None:
        """Once slices have been listed, a refusal fails the look-up, however empty the Endpoints are, and for that one only."""
        self.fake.put("endpointslices", endpoint_slice("by-hand", [endpoint("10.0.0.1", "prometheus-0")]))
        self.assertEqual(self.located(), (ready("10.0.0.1"),))
        for faults in ({"forbidden": frozenset({("list", "endpointslices")})}, {"not_served": frozenset({"endpointslices"})}):
            self.fake.fault(**faults)
            self.assertIn("EndpointSlices in namespace 'monitoring': status 40", self.refused())
            self.fake.fault(forbidden=frozenset(), not_served=frozenset())
            self.assertEqual(self.located(), (ready("10.0.0.1"),))

    def test_slices_are_refused_at_first(self) -> None:
        """While the Endpoints are empty, slices are asked for at every look-up: a refusal at the start is soon forgotten."""
        self.fake.put("endpointslices", endpoint_slice("by-hand", [endpoint("10.0.0.1", "prometheus-0")]))
        self.fake.fault(forbidden=frozenset({("list", "endpointslices")}))
        self.assertEqual(self.located(), ())
        self.fake.fault(forbidden=frozenset())
        self.assertEqual(self.located(), (ready("10.0.0.1"),))

    def test_rights_move_from_endpoints_to_slices(self) -> None:
        """When Endpoints are refused that have been listed in place of slices, slices are asked for at the next look-up."""
        subset = {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"name": "web", "port": 9090}]}
        self.fake.put("endpoints", endpoints_object("prometheus", [subset]))
        self.fake.put("endpointslices", endpoint_slice("a", [endpoint("10.0.0.2", "prometheus-0")]))
        self.fake.fault(forbidden=frozenset({("list", "endpointslices")}))
        self.assertEqual(self.located(), (ready("10.0.0.1"),))
        self.fake.fault(forbidden=frozenset({("list", "endpoints")}))
        self.assertIn("Endpoints in namespace", self.refused())
        self.assertEqual(self.located(), (ready("10.0.0.2"),))

    def test_nothing_is_allowed(self) -> None:
        """When neither is allowed, the server's words about slices are told, and it works as soon as it is."""
        self.fake.fault(forbidden=frozenset({("list", "endpointslices"), ("list", "endpoints")}))
        told = self.refused()
        self.assertIn("EndpointSlices in namespace 'monitoring': status 403: endpointslices is forbidden: User", told)
        self.assertIn("contrib/kubernetes/rbac.yaml", told)
        self.fake.fault(forbidden=frozenset())
        self.assertEqual(self.located(), ())

    def test_settings_of_the_servers(self) -> None:
        """``--kube-scheme``, ``--kube-path-prefix`` and ``--kube-port`` count for all servers."""
        kube = evolve(SERVICE, scheme="https", path_prefix="/prometheus", port="reloader-web")
        world = InMemory(kube)
        world.fake.put("endpointslices", endpoint_slice("a", [endpoint("2001:DB8::5", "prometheus-0")], family="IPv6"))
        (found,) = self.successResultOf(world.locator.locate())
        self.assertEqual(found.backend.url, "https://[2001:db8::5]:8080/prometheus")

    def test_not_ready(self) -> None:
        """A server that is not ready is listed as such."""
        not_ready = endpoint("10.0.0.2", "prometheus-1", conditions={"ready": False})
        self.fake.put("endpointslices", endpoint_slice("a", [endpoint("10.0.0.1", "prometheus-0"), not_ready]))
        self.assertEqual(
            self.located(), (ready("10.0.0.1"), DiscoveredBackend(Backend("http", "10.0.0.2", 9090), "prometheus-1 is not ready"))
        )

    def test_problems_are_told_once(self) -> None:
        """What has to be skipped is logged when it appears, and the rest counts."""
        self.fake.put("endpointslices", endpoint_slice("a", [endpoint("10.0.0.1", "prometheus-0")]))
        self.fake.put("endpointslices", endpoint_slice("b", [endpoint("prom.example", "x")], family="FQDN"))
        for _ in range(2):
            self.assertEqual(self.located(), (ready("10.0.0.1"),))
        self.assertEqual(self.logged, ["EndpointSlice b lists 'prom.example', which is not an IP address"])

    def test_nothing_can_be_used(self) -> None:
        """When there is something and nothing of it can be used, that is an error: rather a wrong option than no servers."""
        world = InMemory(evolve(SERVICE, port="wbe"))
        world.fake.put("endpointslices", endpoint_slice("a", [endpoint("10.0.0.1", "prometheus-0")]))
        error = self.failureResultOf(world.locator.locate(), DiscoveryError).value
        self.assertIn("EndpointSlice a has no TCP port named 'wbe' (--kube-port)", str(error))


class _Forgetful(dict):  # type: ignore[type-arg]
    """Keeps nothing."""

    def __setitem__(self, key: object, value: object) -> None:
        """Forget it."""


class PodTests(_Located):
    """``--kube-pod-label-selector``."""

    kube = evolve(PODS, pod_label_selector="app in (prometheus, thanos),tier!=test, !canary")

    def test_selector_goes_out_verbatim(self) -> None:
        """The selector reaches the server as the operator wrote it, and counts there."""
        self.fake.put("pods", pod("prometheus-0", "10.0.0.1"))
        self.fake.put("pods", pod("prometheus-1", "10.0.0.2", labels={"app": "prometheus", "tier": "test"}))
        self.fake.put("pods", pod("prometheus-2", "10.0.0.3", labels={"app": "prometheus", "canary": ""}))
        self.fake.put("pods", pod("grafana-0", "10.0.0.4", labels={"app": "grafana"}))
        self.assertEqual(self.located(), (ready("10.0.0.1"),))
        self.assertEqual(self.fake.seen[0].query["labelSelector"], self.kube.pod_label_selector)

    def test_awkward_characters(self) -> None:
        """Characters that mean something in a URL reach the server as they are."""
        world = InMemory(evolve(PODS, pod_label_selector="a=b&limit=1#+%2C é"))
        self.failureResultOf(world.locator.locate(), DiscoveryError)
        self.assertEqual(world.fake.seen[0].query["labelSelector"], "a=b&limit=1#+%2C é")

    def test_refused_selector(self) -> None:
        """A selector that the server refuses is named, with the server's own words."""
        world = InMemory(evolve(PODS, pod_label_selector="a=(b"))
        expected = "--kube-pod-label-selector: the API server rejects 'a=(b': unable to parse requirement: found 'a=(b', "
        self.assertIn(expected, str(self.failureResultOf(world.locator.locate(), DiscoveryError).value))
        error = self.failureResultOf(world.locator.verify(), ConfigError).value
        self.assertEqual(error.option, "--kube-pod-label-selector")

    def test_only_a_refused_selector_can_never_work(self) -> None:
        """A server that is down, or forbids something, is not a wrong configuration."""
        for faults in ({"status": 503}, {"forbidden": frozenset({("list", "pods")})}, {}):
            self.fake.fault(**{"status": 0, **faults})
            self.assertIsNone(self.successResultOf(self.world.locator.verify()))
        self.assertEqual(self.fake.seen[-1].query["limit"], "1")

    def test_status_400_of_others(self) -> None:
        """What a proxy, or a TLS port that was spoken to without TLS, says with the same status is not about the selector."""
        world = InMemory(PODS)
        said = b"Client sent an HTTP request to an HTTPS server.\n"
        world.fake.render = lambda request: (request.setResponseCode(400), said)[1]  # type: ignore[method-assign]
        self.assertIsNone(self.successResultOf(world.locator.verify()))
        told = str(self.failureResultOf(world.locator.locate(), DiscoveryError).value)
        self.assertTrue(told.startswith("pods in namespace 'monitoring': status 400"), told)

    def test_service_needs_no_verification(self) -> None:
        """A service's name is a selector that every server understands: nobody is asked."""
        world = InMemory(SERVICE)
        self.assertIsNone(self.successResultOf(world.locator.verify()))
        self.assertEqual(world.fake.seen, [])

    def test_forbidden_list_is_reported_in_the_words_of_the_server(self) -> None:
        """A role that does not allow it is told in the server's own words."""
        self.fake.fault(forbidden=frozenset({("list", "pods")}))
        self.assertIn("pods in namespace 'monitoring': status 403: pods is forbidden: User", self.refused())

    def test_repr_shows_what_is_looked_for(self) -> None:
        """A locator tells what it looks for."""
        self.assertEqual(repr(InMemory(PODS).locator), "<KubeLocator pods 'app=prometheus'>")
        self.assertEqual(repr(InMemory(SERVICE).locator), "<KubeLocator service 'prometheus'>")


class CredentialTests(_Located):
    """Who one is, and what happens when that is not accepted."""

    def test_token_expires(self) -> None:
        """A token that is not accepted any more is read again, and the request repeated at once."""
        self.fake.tokens = {"new": "alice"}
        self.world.access = evolve(ACCESS, authorization="Bearer new")
        self.world.credentials._access = ACCESS
        self.assertEqual(self.located(), ())
        self.assertEqual((self.fake.refused, len(self.fake.seen)), (1, 1))

    def test_read_each_minute(self) -> None:
        """Files are read again after a minute."""
        self.located()
        self.world.access = evolve(ACCESS, authorization="Bearer new")
        self.world.clock.advance(59)
        self.located()
        self.world.clock.advance(1)
        self.located()
        sent = [seen.fields["authorization"][0] for seen in self.fake.seen]
        self.assertEqual(sent, ["Bearer s3cr3t-token"] * 2 + ["Bearer new"])

    def test_not_accepted(self) -> None:
        """Credentials that are not accepted are not sent again in vain."""
        self.fake.tokens = {"other": "alice"}
        told = self.refused()
        self.assertIn("status 401: Unauthorized (the credentials of --kubeconfig", told)
        self.assertNotIn("s3cr3t-token", told)
        self.assertEqual(self.fake.refused, 1)

    def test_impersonation_is_sent_in_headers(self) -> None:
        """In whose name one asks is said in headers, one for each group."""
        fields = (("Impersonate-User", "bob"), ("Impersonate-Group", "dev"), ("Impersonate-Group", "ops"))
        self.world.access = evolve(ACCESS, impersonation=fields)
        self.located()
        seen = self.fake.seen[0].fields
        self.assertEqual((seen["impersonate-user"], seen["impersonate-group"]), (("bob",), ("dev", "ops")))

    def test_certificates_change(self) -> None:
        """New certificates mean new connections; the old ones may finish what they do, and are closed at the next change."""
        connect, closed = self.world.client._connect, []

        def recorded(access: ClusterAccess) -> JSONClient:
            api = connect(access)
            api.close = lambda: succeed(closed.append(access.tls.server_name))  # type: ignore[method-assign,func-returns-value]
            return api

        self.world.client._connect = recorded
        for name in ("a", "a", "b", "c", "d"):
            self.world.access = evolve(ACCESS, tls=TLSPolicy(server_name=name))
            self.located()
            self.world.clock.advance(60)
        self.assertEqual(closed, ["a", "b"])
        self.world.locator.stop()
        self.assertEqual(closed, ["a", "b", "c", "d"])

    def test_files_become_bad(self) -> None:
        """Files that become unreadable while the program runs are told, and read again when they are mended."""

        def unreadable() -> ClusterAccess:
            raise ConfigError("--kubeconfig", "/config: No such file or directory")

        good = self.world.credentials._read
        self.world.credentials._read = unreadable
        self.assertEqual(self.refused(), "--kubeconfig: /config: No such file or directory")
        self.world.credentials._read = good
        self.assertEqual(self.located(), ())

    def test_response_that_is_no_list_is_an_error(self) -> None:
        """An answer that is no list is an error, whatever it is."""
        for answer in (7, [], {}, {"items": {}, "metadata": {}}, {"items": [], "metadata": 1}):
            self.fake._list = lambda *_, answer=answer: answer  # type: ignore[method-assign,misc,assignment]
            self.assertTrue(self.refused())
        self.fake._list = lambda *_: {"items": [], "metadata": {}}  # type: ignore[method-assign,assignment,return-value]
        self.world.locator.start(self.world.changed)
        self.assertEqual(self.world.changes, 0)
        self.world.locator.stop()
        self.fake._list = lambda *_: {"items": None, "metadata": {}}  # type: ignore[method-assign,assignment,return-value]
        self.assertEqual(self.located(), ())


class CheckTests(SynchronousTestCase):
    """What ends the program at its start."""

    def problem(self, **kube: str) -> str:
        """Return why these settings can never work."""
        return str(self.assertRaises(ConfigError, check, KubeSettings(**kube), {}))

    def test_not_configured(self) -> None:
        """Without a service or a selector there is no locator, and nothing is checked."""
        self.assertEqual(LocatorPlanner(None, {}).plans(configured(kube=KubeSettings(kubeconfig="/nowhere"))), ())

    def test_impossible_value_names_its_option(self) -> None:
        """A value that can never be right is named with its option."""
        for option, value in (
            *(("--kube-service-name", name) for name in ("Prometheus", "a/b", "a,b=c", "-a")),
            *(("--kube-namespace", name) for name in ("a/b", "..", "A")),
            *(("--kube-port", name) for name in ("0", "65536", "Web", "9090/tcp", "-")),
        ):
            key = option.removeprefix("--kube-").replace("-", "_")
            told = self.problem(**{"service_name": "prometheus", key: value})
            self.assertTrue(told.startswith(f"{option}: {value!r} "), told)

    def test_neither_kubeconfig_nor_pod(self) -> None:
        """Without a kubeconfig, outside of a cluster, the option is named."""
        self.assertIn("--kubeconfig: missing, and this is no pod of a cluster", self.problem(service_name="prometheus"))

    def test_no_kubeconfig(self) -> None:
        """A kubeconfig that is not there is named."""
        told = self.problem(service_name="prometheus", kubeconfig="/nowhere/config")
        self.assertEqual(told, "--kubeconfig: /nowhere/config: No such file or directory")
