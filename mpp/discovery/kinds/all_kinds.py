"""
The list of all kinds of discovery sources, in the order in which their backends are ranked and their options are listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mpp.discovery.kinds.dns import DNS
from mpp.discovery.kinds.endpoint import ENDPOINT
from mpp.discovery.kinds.endpoints_file import ENDPOINTS_FILE
from mpp.discovery.kinds.file_sd import FILE_SD
from mpp.discovery.kinds.http_sd import HTTP_SD
from mpp.discovery.kinds.kubernetes import KUBERNETES
from mpp.discovery.kinds.marathon import MARATHON
from mpp.discovery.kinds.source_kind import SourceKind

KINDS: tuple[SourceKind[Any], ...] = (ENDPOINTS_FILE, ENDPOINT, FILE_SD, HTTP_SD, DNS, MARATHON, KUBERNETES)

BY_NAME: Mapping[str, SourceKind[Any]] = {kind.name: kind for kind in KINDS}
