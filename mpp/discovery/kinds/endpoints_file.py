"""The option and settings for the endpoints file, which has one endpoint per line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import frozen

from mpp.core.text.values import parse_path
from mpp.discovery.kinds.option import DISCOVERY, Option
from mpp.discovery.kinds.source_kind import SourceContext, SourceKind

if TYPE_CHECKING:
    from mpp.core.interfaces import ILocator


@frozen
class EndpointsFileSettings:
    """The path of the endpoints file, or None."""

    path: str | None = None


def _make(name: str, own: EndpointsFileSettings, context: SourceContext) -> ILocator:
    from mpp.discovery.file import FileLocator

    assert own.path is not None
    return FileLocator(own.path, name)


def _file_problems(own: EndpointsFileSettings) -> Iterator[str]:
    from mpp.discovery.file import FileLocator

    if own.path is not None:
        yield from FileLocator(own.path).problems()


ENDPOINTS_FILE = SourceKind(
    "file",
    EndpointsFileSettings,
    (
        Option(
            "--endpoints-file",
            DISCOVERY,
            "A file path containing a list of endpoints to use, one per line: a URL or host:port. This file is re-read at every"
            " selection interval",
            parse_path,
            field="path",
            locates=True,
            chapter="Endpoints file",
        ),
    ),
    _make,
    file_problems=_file_problems,
)
