"""
Where Marathon's tasks listen, in all networking modes and all versions.

The answers are put together from the examples in Marathon's documentation (networking, ports) of 1.5 and of 1.4 and before.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Backend
from mpp.discovery.marathon.tasks import ParsedTasks, read_tasks
from tests.fake_marathon import host_app, task

# Marathon 1.5 and later.
BRIDGE = {
    "networks": [{"mode": "container/bridge"}],
    "portDefinitions": [],
    "container": {
        "type": "DOCKER",
        "docker": {"image": "prom/prometheus:v2.42.0", "privileged": False, "parameters": [], "forcePullImage": False},
        "volumes": [],
        "portMappings": [
            {"containerPort": 9090, "hostPort": 0, "labels": {}, "name": "web", "protocol": "tcp", "servicePort": 10001},
            {"containerPort": 9091, "hostPort": 0, "labels": {}, "name": "push", "protocol": "tcp", "servicePort": 10002},
        ],
    },
}
CONTAINER = {
    "networks": [{"mode": "container", "name": "dcos"}],
    "portDefinitions": [],
    "container": {
        "type": "MESOS",
        "docker": {"image": "prom/prometheus:v2.42.0"},
        "portMappings": [
            {"containerPort": 8080, "hostPort": None, "labels": {}, "name": "reload", "protocol": "tcp"},
            {"containerPort": 9090, "hostPort": 0, "labels": {}, "name": "web", "protocol": "tcp"},
            {"containerPort": 0, "hostPort": 0, "labels": {}, "name": "dynamic", "protocol": "tcp"},
        ],
    },
}
# Marathon 1.4 and before.
OLD_BRIDGE = {
    "ports": [10001],
    "portDefinitions": [{"port": 10001, "protocol": "tcp", "labels": {}}],
    "container": {
        "type": "DOCKER",
        "volumes": [],
        "docker": {
            "image": "prom/prometheus",
            "network": "BRIDGE",
            "portMappings": [{"containerPort": 9090, "hostPort": 0, "servicePort": 10001, "protocol": "tcp", "name": "web"}],
        },
    },
}
OLD_USER = {
    "ipAddress": {"groups": [], "labels": {}, "discovery": {"ports": []}, "networkName": "dcos"},
    "container": {
        "type": "DOCKER",
        "volumes": [],
        "docker": {"image": "p", "network": "USER", "portMappings": [{"containerPort": 9090, "servicePort": 0, "name": "web"}]},
    },
}
OLD_HOST = {"ports": [10001], "container": {"type": "DOCKER", "docker": {"image": "p", "network": "HOST", "portMappings": None}}}
OLD_IP_PER_TASK = {
    "ipAddress": {"groups": ["dev"], "labels": {}, "discovery": {"ports": [{"number": 9090, "name": "web", "protocol": "tcp"}]}}
}


def old(app: dict[str, Any]) -> dict[str, Any]:
    """Return an app as versions before 1.5 describe it."""
    described = {**host_app([]), **app}
    del described["networks"]
    return described


def own(*addresses: str, **changes: Any) -> dict[str, Any]:
    """Return a task with addresses of its own, on the host 10.0.0.1."""
    listed = [{"ipAddress": address, "protocol": "IPv6" if ":" in address else "IPv4"} for address in addresses]
    return task("10.0.0.1", **{"ports": [31005, 31006], "ipAddresses": listed, **changes})


class PortsTests(SynchronousTestCase):
    """The address and the port of a task."""

    def assertListens(self, app: dict[str, Any], of: dict[str, Any], expected: str, port: str = "0") -> None:
        """Assert where a task listens."""
        host, _, number = expected.rpartition(":")
        backend = Backend("http", host.strip("[]"), int(number))
        self.assertEqual(read_tasks(app, [of], port), ParsedTasks((backend,)))

    def assertProblem(self, app: dict[str, Any], of: dict[str, Any], expected: str, port: str = "0") -> None:
        """Assert that a task cannot be reached, and why."""
        self.assertEqual(read_tasks(app, [{**of, "id": "t"}], port), ParsedTasks((), (f"task t {expected}",)))

    def test_host_mode_uses_the_assigned_port(self) -> None:
        """In host mode: the host's address and the assigned port."""
        definitions = [{"name": "push", "port": 0}, {"name": "web", "port": 0}]
        app = host_app([], portDefinitions=definitions)
        self.assertListens(app, task("10.0.0.1", [31005, 31006]), "10.0.0.1:31005")
        self.assertListens(app, task("10.0.0.1", [31005, 31006]), "10.0.0.1:31006", "1")
        self.assertListens(app, task("10.0.0.1", [31005, 31006]), "10.0.0.1:31006", "web")

    def test_host_name(self) -> None:
        """The host may be given by name, and is written in lower case."""
        self.assertListens(host_app([]), task("Agent-1.Example.com", [31005]), "agent-1.example.com:31005")

    def test_host_ipv6(self) -> None:
        """The host may be an IPv6 address."""
        self.assertListens(host_app([]), task("2001:db8::5", [31005]), "[2001:db8::5]:31005")

    def test_required_ports(self) -> None:
        """The number in a definition counts only where it is required; else it is the load balancer's."""
        app = host_app([], requirePorts=True, portDefinitions=[{"name": "web", "port": 9090}])
        self.assertListens(app, task("10.0.0.1", []), "10.0.0.1:9090")
        self.assertProblem(
            {**app, "requirePorts": False}, task("10.0.0.1", []), "has no port of index 0 (--marathon-port), it has 1"
        )

    def test_old_host(self) -> None:
        """Before 1.5 host mode is what is said of Docker, or nothing at all."""
        for app in (old(OLD_HOST), old({})):
            self.assertListens(app, task("10.0.0.1", [31005]), "10.0.0.1:31005")

    def test_bridge_mode_uses_the_assigned_host_port(self) -> None:
        """In bridge mode: the host's address and the assigned host port, not the container's."""
        self.assertListens(host_app([], **BRIDGE), own("172.17.0.2"), "10.0.0.1:31005")
        self.assertListens(host_app([], **BRIDGE), own("172.17.0.2"), "10.0.0.1:31006", "push")
        self.assertListens(old(OLD_BRIDGE), own("172.17.0.2"), "10.0.0.1:31005", "web")

    def test_container_network_uses_the_address_of_the_task(self) -> None:
        """In a container network: the task's own address and the container port, whatever host ports there are."""
        app = host_app([], **CONTAINER)
        self.assertListens(app, own("9.0.2.130"), "9.0.2.130:8080")
        self.assertListens(app, own("9.0.2.130"), "9.0.2.130:9090", "web")
        self.assertListens(app, own("9.0.2.130"), "9.0.2.130:31006", "dynamic")
        self.assertListens(old(OLD_USER), own("9.0.2.130", ports=[]), "9.0.2.130:9090")
        self.assertListens(old(OLD_IP_PER_TASK), own("9.0.2.130", ports=[]), "9.0.2.130:9090", "web")

    def test_container_network_by_default(self) -> None:
        """A network without a mode is a container network."""
        self.assertListens(host_app([], **{**CONTAINER, "networks": [{"name": "dcos"}]}), own("9.0.2.130"), "9.0.2.130:8080")

    def test_container_ipv6(self) -> None:
        """A task's own address may be IPv6; of several the first counts."""
        self.assertListens(host_app([], **CONTAINER), own("fd01:b::2:8000:2"), "[fd01:b::2:8000:2]:8080")
        self.assertListens(host_app([], **CONTAINER), own("9.0.2.130", "fd01:b::2:8000:2"), "9.0.2.130:8080")

    def test_no_address(self) -> None:
        """A task in a container network without an address of its own cannot be reached."""
        for of in (own(), task("10.0.0.1", [31005], ipAddresses=None), own(ipAddresses=[{"protocol": "IPv4"}])):
            self.assertProblem(host_app([], **CONTAINER), of, "has no address")

    def test_strange_address(self) -> None:
        """An address that is none is told."""
        problem = "has no usable address: expected one endpoint, found blanks or control characters inside it"
        self.assertProblem(host_app([]), task("a b", [31005]), problem)

    def test_no_ports(self) -> None:
        """A task without ports is told."""
        self.assertProblem(host_app([], portDefinitions=[]), task("10.0.0.1", []), "has no ports")
        self.assertProblem(host_app([], portDefinitions=None), {**task("10.0.0.1", []), "ports": None}, "has no ports")
        self.assertProblem(host_app([], networks=[{"mode": "container"}]), own("9.0.2.130"), "has no ports")

    def test_no_such_port(self) -> None:
        """A port that a task has not is told, with those that it has."""
        app = host_app([], **BRIDGE)
        self.assertProblem(app, own("172.17.0.2"), "has no port of index 2 (--marathon-port), it has 2", "2")
        self.assertProblem(app, own("172.17.0.2"), "has no port named 'http' (--marathon-port), only web, push", "http")
        unnamed = host_app([], portDefinitions=[])
        problem = "has no port named 'web' (--marathon-port), its ports have no names"
        self.assertProblem(unnamed, task("10.0.0.1", [31005]), problem, "web")

    def test_no_number(self) -> None:
        """A container port that got no number is told."""
        app = host_app([], **{**CONTAINER, "container": {"portMappings": [{"containerPort": 0, "name": "web"}]}})
        self.assertProblem(app, own("9.0.2.130", ports=[]), "has no port of index 0 (--marathon-port), it has 1")
        self.assertProblem(app, own("9.0.2.130", ports=[]), "has no port named 'web' (--marathon-port), only web", "web")


class NetworksTests(SynchronousTestCase):
    """Tasks in several container networks."""

    def address(self, names: Any, *addresses: str, port: str = "web") -> str:
        """Return the host that is found for a port mapping with these ``networkNames``."""
        mappings = [
            {"containerPort": 8080, "name": "reload", "networkNames": ["storage"]},
            {"containerPort": 9090, "name": "web", "networkNames": names},
        ]
        networks = [{"mode": "container", "name": "storage"}, {"mode": "container", "name": "monitoring"}]
        app = host_app([], networks=networks, container={"type": "MESOS", "portMappings": mappings})
        return read_tasks(app, [own(*addresses)], port).backends[0].host

    def test_named_network(self) -> None:
        """The address is the one in the network that the port's mapping names, whether the port is given by name or index."""
        for names, addresses, expected in (
            (["monitoring"], ("10.1.0.1", "10.2.0.1"), "10.2.0.1"),
            (["storage"], ("10.1.0.1", "10.2.0.1"), "10.1.0.1"),
            (["monitoring"], ("10.1.0.1", "fd00:1::1", "10.2.0.1", "fd00:2::1"), "10.2.0.1"),
            (["monitoring"], ("fd00:1::1", "fd00:2::1"), "fd00:2::1"),
            (["monitoring"], ("10.1.0.1",), "10.1.0.1"),
            (["unknown"], ("10.1.0.1", "10.2.0.1"), "10.1.0.1"),
            ([], ("10.1.0.1", "10.2.0.1"), "10.1.0.1"),
            (None, ("10.1.0.1", "10.2.0.1"), "10.1.0.1"),
        ):
            self.assertEqual(self.address(names, *addresses), expected, (names, addresses))
            self.assertEqual(self.address(names, *addresses, port="1"), expected, (names, addresses))

    def test_host_port(self) -> None:
        """A host port surely leads to the network that its mapping names; its number is the next one of the task."""
        networks = [{"mode": "container", "name": "storage"}, {"mode": "container", "name": "monitoring"}]
        for first, second, expected in (
            ({}, {"hostPort": 0}, "10.0.0.1:31005"),
            ({"hostPort": 0}, {"hostPort": 0}, "10.0.0.1:31006"),
            ({"hostPort": 0}, {}, "10.2.0.1:9090"),
        ):
            mappings = [
                {"containerPort": 8080, "name": "reload", "networkNames": ["storage"], **first},
                {"containerPort": 9090, "name": "web", "networkNames": ["monitoring"], **second},
            ]
            container = {"type": "MESOS", "portMappings": mappings}
            app = host_app([], networks=networks, container=container)
            for port in ("web", "1"):
                found = read_tasks(app, [own("10.1.0.1", "10.2.0.1")], port).backends[0]
                self.assertEqual(f"{found.host}:{found.port}", expected)
        single = host_app([], networks=networks[1:], container=container)
        self.assertEqual(read_tasks(single, [own("10.2.0.1")], "web").backends[0].host, "10.2.0.1")


class StateTests(SynchronousTestCase):
    """Which tasks count."""

    def count(self, *tasks: Any, **app: Any) -> int:
        """Return how many of the tasks are listed; none may be a problem."""
        reading = read_tasks(host_app([], **app), list(tasks), "0")
        self.assertEqual(reading.problems, ())
        return len(reading.backends)

    def test_only_running_tasks_count(self) -> None:
        """Only running tasks count."""
        for state in ("TASK_STAGING", "TASK_STARTING", "TASK_KILLING", "TASK_UNREACHABLE", "TASK_LOST", "TASK_FAILED"):
            self.assertEqual(self.count(task("10.0.0.1", [31005], state=state)), 0, state)
        self.assertEqual(self.count(task("10.0.0.1", [31005], state="TASK_RUNNING")), 1)

    def test_old_states(self) -> None:
        """A version that does not tell a task's state tells when it was started."""
        started = task("10.0.0.1", [31005])
        del started["state"]
        self.assertEqual(self.count(started), 1)
        self.assertEqual(self.count({**started, "startedAt": None}), 0)
        del started["startedAt"]
        self.assertEqual(self.count(started), 0)

    def test_staged_task_without_ports(self) -> None:
        """A task that is being started needs no ports yet."""
        staged = task("", [], state="TASK_STAGING", startedAt=None)
        self.assertEqual(self.count(staged, portDefinitions=[]), 0)

    def test_failing_check_marks_a_task_unhealthy(self) -> None:
        """A task that fails one of its checks is listed as unhealthy, not left out; one that was not checked yet is healthy."""
        alive = {
            "alive": True,
            "consecutiveFailures": 0,
            "firstSuccess": "2016-11-18T09:12:01.112Z",
            "lastFailure": None,
            "lastFailureCause": None,
            "lastSuccess": "2016-11-18T09:14:01.112Z",
            "instanceId": "monitoring_prometheus.instance-1",
        }
        failed = {**alive, "alive": False, "consecutiveFailures": 3, "lastFailure": "2016-11-18T09:15:01.112Z"}
        untried = {**alive, "alive": False, "firstSuccess": None, "lastSuccess": None}
        checks = [{"protocol": "MESOS_HTTP", "path": "/-/ready", "gracePeriodSeconds": 300, "maxConsecutiveFailures": 3}]
        for results, ill in (([alive], 0), ([alive, failed], 1), ([failed], 1), ([untried], 0), ([], 0), (None, 0), ([{}], 0)):
            checked = task("10.0.0.1", [31005], healthCheckResults=results)
            reading = read_tasks(host_app([], healthChecks=checks), [checked], "0")
            self.assertEqual((len(reading.backends), len(reading.unhealthy)), (1, ill), results)
        without_count = task("10.0.0.1", [31005], healthCheckResults=[{"alive": False}])
        self.assertEqual(len(read_tasks(host_app([]), [without_count], "0").unhealthy), 1)

    def test_what_is_no_task_is_ignored(self) -> None:
        """What is no task is passed over; members of the wrong kind count as missing."""
        self.assertEqual(self.count(None, 7, "task", [], {}, task("10.0.0.1", [31005])), 1)
        app = host_app([], networks="host", container=7, portDefinitions={}, ipAddress="x")
        self.assertEqual(read_tasks(app, [task("10.0.0.1", [31005])], "0").backends, (Backend("http", "10.0.0.1", 31005),))
        strange = read_tasks(host_app([]), [task("10.0.0.1", [True, "9090"], id="t")], "0")  # type: ignore[list-item]
        self.assertEqual(strange.problems, ("task t has no port of index 0 (--marathon-port), it has 2",))
