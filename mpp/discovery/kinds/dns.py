"""The options and settings for backends that are found by names in DNS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from mpp.discovery.kinds.option import DISCOVERY, Option
from mpp.discovery.kinds.source_kind import SourceContext, SourceKind

if TYPE_CHECKING:
    from mpp.core.interfaces import ILocator


@frozen
class DNSSettings:
    """The names to look up: ``name:port`` (A and AAAA) or ``srv+name`` (SRV, fully qualified)."""

    names: tuple[str, ...] = ()


def _make(name: str, own: DNSSettings, context: SourceContext) -> ILocator:
    from mpp.discovery.dns import DNSLocator

    (spec,) = own.names
    return DNSLocator(spec, context.reactor.nameResolver, context.name_servers() if spec.startswith("srv+") else None, name)


DNS = SourceKind(
    "dns",
    DNSSettings,
    (
        Option(
            "--dns",
            DISCOVERY,
            "A host name with a port, all of whose addresses (A, AAAA) are endpoints; or srv+NAME for a fully qualified SRV"
            " record; may be repeated. Looked up at every selection interval",
            field="names",
            repeatable=True,
            locates=True,
            metavar="NAME:PORT",
            chapter="DNS",
        ),
    ),
    _make,
    several="names",
    source=lambda name: name,
)
