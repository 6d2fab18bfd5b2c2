"""
The addresses of the tasks of a Marathon app. Pure: knows the formats of Marathon's responses, old and new; sends no request.

See Note [Addresses].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import frozen

from mpp.core.backend_url import parse_endpoint
from mpp.core.model import Backend
from mpp.core.text import bounds

# Note [Addresses]
#
# The address of a task depends on the network mode of its app, which Marathon reports in three ways (RAML of the API, v2):
#
# - ``networks[].mode`` since 1.5: ``host``, ``container/bridge``, ``container``;
# - before, ``container.docker.network``: ``HOST``, ``BRIDGE``, ``USER``;
# - before that, for the Mesos containerizer, an ``ipAddress`` object meant a container network. Without any, it was host mode.
#
# In host and bridge mode a task has its agent's address, and the ports in ``tasks[].ports``, which are in the order of
# ``portDefinitions`` (host) or ``portMappings`` (bridge). These only provide names, and numbers where the task has none.
# In a container network a task has its own address, and the ports are the ``containerPort`` of the mappings, whatever host
# ports there are besides. ``portMappings`` moved from ``container.docker`` to ``container`` in 1.5.
#
# For a task in several container networks, Marathon lists the addresses without the names of their networks, in the order in
# which Mesos reports them. That is the order of a hash map (``containerNetworks`` in Mesos' isolators/network/cni/cni.hpp), not
# the order of the app. A host port is certain: Mesos forwards it from the agent to the network in ``networkNames`` of the
# mapping, which Marathon then requires for each mapping with a host port. Without one the address is picked by position, which
# is a guess; Marathon itself takes the first address in all cases.

_MODES = {"HOST": "host", "BRIDGE": "container/bridge", "USER": "container"}


@frozen
class ParsedTasks:
    """
    The addresses of an app's tasks.

    :ivar backends: backends of the running tasks, in Marathon's order, without duplicates.
    :ivar problems: one line for each running task that has no usable address.
    :ivar unhealthy: the backends whose health check fails, as Marathon reports.
    """

    backends: tuple[Backend, ...]
    problems: tuple[str, ...] = ()
    unhealthy: frozenset[Backend] = frozenset()


def read_tasks(app: dict[str, Any], tasks: list[Any], port: str) -> ParsedTasks:
    """
    Return the addresses of the tasks of an app.

    :param app: Marathon's JSON object of the app; ``tasks`` has the ones of its tasks.
    :param port: index or name of the port on which Prometheus listens.
    """
    # Keyed by backend: whether it is healthy.
    backends: dict[Backend, bool] = {}
    problems = []
    for task in _objects(tasks):
        if not _runs(task):
            continue
        try:
            backend = _backend(app, task, port)
            backends[backend] = backends.get(backend, False) or not _is_unhealthy(task)
        except ValueError as error:
            problems.append(f"task {task.get('id')!s} {error}")
    unhealthy = frozenset(backend for backend, healthy in backends.items() if not healthy)
    return ParsedTasks(tuple(backends), tuple(problems), unhealthy)


def _runs(task: dict[str, Any]) -> bool:
    """Return whether a task is running. Versions before 0.16 did not report its state."""
    state = task.get("state")
    return state == "TASK_RUNNING" if isinstance(state, str) else bool(task.get("startedAt"))


def _is_unhealthy(task: dict[str, Any]) -> bool:
    """Return whether a health check failed. No result yet, as in the grace period, is no failure."""
    return any(result.get("alive") is False and not _is_untried(result) for result in _objects(task.get("healthCheckResults")))


def _is_untried(result: dict[str, Any]) -> bool:
    """Return whether Marathon made a result before the first check: not alive, but without any failure."""
    return result.get("consecutiveFailures") == 0 and not result.get("lastFailure")


def _backend(app: dict[str, Any], task: dict[str, Any], port: str) -> Backend:
    host, number = _forwarded(app, task, port) or _address(app, task, port)
    if not host:
        raise ValueError("has no address")
    try:
        return parse_endpoint(f"[{host}]:{number}" if ":" in host else f"{host}:{number}")
    except ValueError as error:
        raise ValueError(f"has no usable address: {error}") from None


def _address(app: dict[str, Any], task: dict[str, Any], port: str) -> tuple[str, int]:
    """Return the host of a task, empty if it has none, and the number of the port."""
    mode = _mode(app)
    if mode == "container":
        return _own_address(task, _network(app, port)), _pick(_container_ports(app, task), port)
    return str(task.get("host") or ""), _pick(_host_ports(app, task, mode), port)


def _forwarded(app: dict[str, Any], task: dict[str, Any], port: str) -> tuple[str, int] | None:
    """Return where the agent forwards the port of a task in several container networks; None if it does not, or need not."""
    host = task.get("host")
    if _mode(app) != "container" or _network(app, port)[1] < 2 or not isinstance(host, str) or not host:
        return None
    for index, (mapping, number) in enumerate(_assigned(app, task)):
        if _is_wanted(index, mapping, port):
            return (host, number) if number and mapping.get("networkNames") else None
    return None


def _is_wanted(index: int, mapping: dict[str, Any], port: str) -> bool:
    return index == int(port) if port.isdecimal() else _name(mapping) == port


def _mode(app: dict[str, Any]) -> str:
    networks = _objects(app.get("networks"))
    if networks:
        # A container network is the default in the API's definition.
        return str(networks[0].get("mode") or "container")
    docker = _object(_object(app.get("container")).get("docker"))
    known = _MODES.get(str(docker.get("network")).upper())
    return known or ("container" if isinstance(app.get("ipAddress"), dict) else "host")


def _network(app: dict[str, Any], port: str) -> tuple[int, int]:
    """
    Return the index of the container network of the wanted port, and the number of the app's container networks.

    A port mapping names its network in ``networkNames`` (at most one). Without a name, or with an unknown one, it is the first.
    """
    names = [_name(each) for each in _objects(app.get("networks")) if str(each.get("mode") or "container") == "container"]
    wanted = [each for index, each in enumerate(_mappings(app)) if _is_wanted(index, each, port)]
    listed = wanted[0].get("networkNames") if wanted else None
    name = listed[0] if isinstance(listed, list) and listed else None
    return (names.index(name) if name in names else 0, len(names))


def _own_address(task: dict[str, Any], network: tuple[int, int]) -> str:
    """
    Return the address of a task in one of its container networks; empty if it has none.

    Marathon does not report which address belongs to which network: the one at the network's position is a guess, see Note
    [Addresses]. There is up to one of each family for each network. If the numbers do not match, the first address counts.
    """
    index, count = network
    families: dict[bool, list[str]] = {}
    for each in _objects(task.get("ipAddresses")):
        address = each.get("ipAddress")
        if isinstance(address, str) and address:
            families.setdefault(":" in address, []).append(address)
    for addresses in families.values():
        if len(addresses) == count:
            return addresses[index]
    return next((addresses[0] for addresses in families.values()), "")


_Ports = list[tuple[str, int]]
"""Pairs of name, empty if there is none, and number, 0 if there is none."""


def _host_ports(app: dict[str, Any], task: dict[str, Any], mode: str) -> _Ports:
    assigned = _numbers(task.get("ports"))
    if mode == "host":
        # Unless it is required, the number in a definition is not the task's port, but the service port of load balancers.
        fixed = bool(app.get("requirePorts"))
        declared = [(_name(each), _number(each.get("port")) if fixed else 0) for each in _objects(app.get("portDefinitions"))]
    else:
        declared = [(_name(each), _number(each.get("hostPort"))) for each in _mappings(app)]
    count = max(len(declared), len(assigned))
    declared += [("", 0)] * (count - len(declared))
    assigned += [0] * (count - len(assigned))
    return [(name, own or number) for (name, number), own in zip(declared, assigned, strict=True)]


def _container_ports(app: dict[str, Any], task: dict[str, Any]) -> _Ports:
    discovery = _object(_object(app.get("ipAddress")).get("discovery"))
    if not _mappings(app):
        return [(_name(each), _number(each.get("number"))) for each in _objects(discovery.get("ports"))]
    # A container port of 0 means the same number as the host port.
    return [(_name(mapping), _number(mapping.get("containerPort")) or number) for mapping, number in _assigned(app, task)]


def _assigned(app: dict[str, Any], task: dict[str, Any]) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each port mapping and its host port. Only a mapping that has one takes one of the task's ports; otherwise it is 0."""
    ports = iter(_numbers(task.get("ports")))
    for mapping in _mappings(app):
        yield mapping, next(ports, 0) if mapping.get("hostPort") is not None else 0


def _mappings(app: dict[str, Any]) -> list[dict[str, Any]]:
    container = _object(app.get("container"))
    return _objects(container.get("portMappings")) or _objects(_object(container.get("docker")).get("portMappings"))


def _pick(ports: _Ports, wanted: str) -> int:
    """
    Return the number of the wanted port.

    :raise ValueError: there is no such port.
    """
    if not ports:
        raise ValueError("has no ports")
    if wanted.isdecimal():
        number = ports[int(wanted)][1] if int(wanted) < len(ports) else 0
        problem = f"has no port of index {int(wanted)} (--marathon-port), it has {len(ports)}"
    else:
        number = next((number for name, number in ports if name == wanted), 0)
        names = ", ".join(name for name, _ in ports if name)
        problem = f"has no port named {wanted!r} (--marathon-port), " + (f"only {names}" if names else "its ports have no names")
    if not number:
        raise ValueError(problem)
    return number


def _object(value: Any) -> dict[str, Any]:
    """Return a JSON object, an empty one for any other value: missing and null are the same in Marathon's responses."""
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _number(value: Any) -> int:
    """Return the number of a port, 0 for an invalid value."""
    return bounds.port(value) or 0


def _numbers(value: Any) -> list[int]:
    return [_number(each) for each in value] if isinstance(value, list) else []


def _name(value: dict[str, Any]) -> str:
    return str(value.get("name") or "")
