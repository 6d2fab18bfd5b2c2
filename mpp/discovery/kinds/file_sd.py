"""The option and settings for files in the format of Prometheus' file_sd."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import frozen

from mpp.core.text.values import parse_path
from mpp.discovery.kinds.option import DISCOVERY, Option
from mpp.discovery.kinds.source_kind import SourceContext, SourceKind

if TYPE_CHECKING:
    from mpp.core.interfaces import ILocator


@frozen
class FileSDSettings:
    """The paths of files in the format of file_sd; the last element of each may have wildcards."""

    patterns: tuple[str, ...] = ()


def _make(name: str, own: FileSDSettings, context: SourceContext) -> ILocator:
    from mpp.discovery.file_sd import FileSDLocator

    return FileSDLocator(own.patterns, name)


def _file_problems(own: FileSDSettings) -> Iterator[str]:
    from mpp.discovery.file_sd import FileSDLocator

    yield from FileSDLocator(own.patterns).problems()


FILE_SD = SourceKind(
    "file-sd",
    FileSDSettings,
    (
        Option(
            "--file-sd",
            DISCOVERY,
            "A file in Prometheus' file_sd format, JSON or YAML, whose targets to use; its name may be a pattern such as"
            " targets/*.json; may be repeated. Re-read at every selection interval",
            parse_path,
            field="patterns",
            repeatable=True,
            locates=True,
            metavar="PATTERN",
            chapter="Files and HTTP",
        ),
    ),
    _make,
    source=os.path.abspath,
    file_problems=_file_problems,
)
