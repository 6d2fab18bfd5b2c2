"""The options for backends that run as tasks of apps in Marathon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mpp.core.text.secrets import mask_unless_file, mask_url, secret_in_text, secret_in_urls
from mpp.core.text.values import parse_apps, parse_path, parse_url, parse_urls
from mpp.discovery.kinds.option import MARATHON as IN_MARATHON
from mpp.discovery.kinds.option import Option
from mpp.discovery.kinds.source_kind import SourceContext, SourceKind
from mpp.discovery.marathon.settings import MarathonSettings

if TYPE_CHECKING:
    from mpp.core.interfaces import ILocator


def _make(name: str, own: MarathonSettings, context: SourceContext) -> ILocator:
    from mpp.discovery.marathon.locator import build

    return build(own, context.reactor, insecure=context.settings.insecure)


def _secret_files(own: MarathonSettings) -> Iterator[str]:
    yield from filter(None, (own.credentials_file, own.principal_secret[1:] if own.principal_secret.startswith("@") else ""))


MARATHON = SourceKind(
    "marathon",
    MarathonSettings,
    (
        Option(
            "--marathon-url",
            IN_MARATHON,
            "The URL for the marathon API endpoint used to locate prometheus instances; several, separated by commas, are tried"
            " in turn",
            parse_urls,
            field="urls",
            locates=True,
            secret=secret_in_urls,
            mask=mask_url,
            unseen="by --marathon-credentials-file",
            metavar="URLS",
            chapter="Marathon",
        ),
        Option(
            "--marathon-apps",
            IN_MARATHON,
            "A comma-separated list of marathon app IDs whose tasks will be queried for prometheus endpoints",
            parse_apps,
            metavar="IDS",
        ),
        Option(
            "--marathon-principal-secret",
            IN_MARATHON,
            "The principal secret used to handle authentication with marathon: the JSON, or @ and the path of a file that holds"
            " it",
            secret=secret_in_text,
            mask=mask_unless_file,
            unseen="as @ and the path of a file that holds it",
            metavar="JSON",
        ),
        Option(
            "--marathon-auth-endpoint",
            IN_MARATHON,
            "The authentication endpoint to use with the 'marathon-principal-secret', overriding the value contained within the"
            " secret",
            parse_url,
            mask=mask_url,
        ),
        Option(
            "--marathon-credentials-file",
            IN_MARATHON,
            "A file that holds user:password for HTTP basic authentication with marathon",
            parse_path,
        ),
        Option(
            "--marathon-port",
            IN_MARATHON,
            "The port, by index or name, where prometheus is listening in marathon tasks",
            not_ours="tcp://",
            metavar="PORT",
        ),
    ),
    _make,
    depends_on=("insecure",),
    # Apps alone are an error that the locator's construction reports.
    is_configured=lambda own: bool(own.urls or own.apps),
    secret_files=_secret_files,
)
