"""
Builds strategies and affinities from the configured ``name`` or ``name:arguments``.

The built-in strategies and affinities are in tables here. Other names are looked up among the entry points of installed
distributions, in the groups ``mpp.strategies`` and ``mpp.affinities``. An entry point names a callable that takes the text after
the colon (empty without a colon) and returns an object that provides the interface. It raises ValueError with a message of one
line that says what was expected if the arguments are invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import metadata
from ipaddress import IPv4Network, IPv6Network
from typing import Any, TypeVar

from zope.interface import Interface
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from mpp.core.errors import ConfigError
from mpp.core.interfaces import IAffinity, IStrategy
from mpp.core.text.values import parse_duration
from mpp.proxy.decisions.affinity import MEMORY, CookieAffinity, HeaderAffinity, SourceIPAffinity
from mpp.selection.strategies import MinimumHistory, RandomStrategy, SingleMostData

STRATEGIES = "mpp.strategies"
AFFINITIES = "mpp.affinities"

T = TypeVar("T")
Network = IPv4Network | IPv6Network
Factory = Callable[[str], T]
"""Builds a strategy or an affinity from its arguments, or raises ValueError if they are invalid."""


Installed = Callable[[str], Iterable[metadata.EntryPoint]]
"""Returns the entry points of a group, such as ``mpp.strategies``."""


def installed(group: str) -> Iterable[metadata.EntryPoint]:
    """Return the entry points of a group in all installed distributions."""
    return metadata.entry_points(group=group)


def build_strategy(spec: str, *, entry_points: Installed = installed) -> IStrategy:
    """
    Build the routing strategy.

    :param spec: ``single-most-data``, ``minimum-history:15d``, ``random``, or a strategy of another distribution.
    :raises ConfigError: the strategy does not exist, or its arguments are invalid.
    """
    return _build(spec, _STRATEGIES, "--routing-strategy", IStrategy, partial(entry_points, STRATEGIES))


def build_affinities(
    names: Iterable[str],
    trusted: Sequence[Network],
    *,
    memory: int = MEMORY,
    entry_points: Installed = installed,
) -> tuple[IAffinity, ...]:
    """
    Build the affinities, in the order in which they are tried.

    :param names: ``cookies``, ``sourceip``, ``header:NAME``, or affinities of other distributions.
    :param trusted: networks of the proxies whose ``X-Forwarded-For`` is trusted.
    :param memory: the number of client addresses that ``sourceip`` remembers.
    :raises ConfigError: an affinity does not exist, or its arguments are invalid.
    """
    table: dict[str, tuple[str, Factory[IAffinity]]] = {
        "cookies": ("cookies", _alone(CookieAffinity)),
        "sourceip": ("sourceip", _alone(lambda: SourceIPAffinity(trusted, memory))),
        "header": ("header:NAME", HeaderAffinity),
    }
    points = partial(entry_points, AFFINITIES)
    return tuple(_build(name, table, "--affinity-options", IAffinity, points) for name in names)


def _alone(make: Callable[[], T]) -> Factory[T]:
    """Return a factory for an extension without arguments; it raises ValueError if there are any."""

    def factory(arguments: str) -> T:
        if arguments:
            raise ValueError(f"expected no arguments, not {arguments!r}")
        return make()

    return factory


def _minimum_history(arguments: str) -> IStrategy:
    if not arguments:
        raise ValueError("expected a duration, like minimum-history:15d")
    duration = parse_duration(arguments)
    if duration <= 0:
        raise ValueError(f"expected a duration above 0, not {arguments!r}")
    return MinimumHistory(duration)


# By name: the form that error messages show, and the factory.
_STRATEGIES: Mapping[str, tuple[str, Factory[IStrategy]]] = {
    "single-most-data": ("single-most-data", _alone(SingleMostData)),
    "minimum-history": ("minimum-history:DURATION", _minimum_history),
    "random": ("random", _alone(RandomStrategy)),
}


def _build(
    spec: str,
    table: Mapping[str, tuple[str, Factory[T]]],
    option: str,
    interface: type[Interface],
    points: Callable[[], Iterable[metadata.EntryPoint]],
) -> T:
    """
    Build the extension that ``spec`` names, from the table or else from an entry point.

    :param option: the option that errors name.
    :param interface: the interface that the extension must provide.
    :param points: returns the entry points of installed distributions.
    """
    name, _, arguments = spec.partition(":")
    if name in table:
        return _make(option, name, table[name][1], arguments)
    for point in points():
        if point.name == name:
            made: T = _make_verified(option, interface, point, arguments)
            return made
    choices = [written for written, _ in table.values()] + sorted(point.name for point in points())
    raise ConfigError(option, f"unknown {name!r}; expected one of {', '.join(dict.fromkeys(choices))}")


def _make(option: str, name: str, factory: Factory[T], arguments: str) -> T:
    try:
        return factory(arguments)
    except ValueError as error:
        raise ConfigError(option, f"{name}: {error}") from error


def _make_verified(option: str, interface: type[Interface], point: metadata.EntryPoint, arguments: str) -> Any:
    try:
        factory = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(option, f"{point.name}: {point.value} cannot be loaded: {error}") from error
    made = _make(option, point.name, factory, arguments)
    try:
        verifyObject(interface, made)
    except Invalid as error:
        problem = " ".join(str(error).split())
        text = f"{point.name}: {point.value} does not return an {interface.__name__}: {problem}"
        raise ConfigError(option, text) from error
    return made
