"""Settings with discovery sources, as tests write them: the settings of all kinds beside the general ones."""

from __future__ import annotations

from typing import Any

from mpp.core.settings import DiscoverySettings, Settings
from mpp.discovery.kinds.dns import DNSSettings
from mpp.discovery.kinds.endpoint import EndpointSettings
from mpp.discovery.kinds.endpoints_file import EndpointsFileSettings
from mpp.discovery.kinds.file_sd import FileSDSettings
from mpp.discovery.kinds.http_sd import HTTPSDSettings
from mpp.discovery.kubernetes.settings import KubeSettings
from mpp.discovery.marathon.settings import MarathonSettings


def configured(
    *,
    endpoints_file: str | None = None,
    endpoints: tuple[str, ...] = (),
    file_sd: tuple[str, ...] = (),
    http_sd: tuple[str, ...] = (),
    dns: tuple[str, ...] = (),
    marathon: MarathonSettings | None = None,
    kube: KubeSettings | None = None,
    **general: Any,
) -> Settings:
    """Return the settings."""
    sources = EndpointsFileSettings(endpoints_file), EndpointSettings(endpoints), FileSDSettings(file_sd), HTTPSDSettings(http_sd)
    return Settings(
        discovery=DiscoverySettings(*sources, DNSSettings(dns), marathon or MarathonSettings(), kube or KubeSettings()), **general
    )
