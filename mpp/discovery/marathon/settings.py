"""The settings of the Marathon locator."""

from __future__ import annotations

from attrs import field, frozen


@frozen
class MarathonSettings:
    """
    The settings of the Marathon locator.

    :ivar urls: base URLs of Marathon's masters, tried one after the other; they may have a path such as ``/service/marathon``.
    :ivar apps: app ids, with the leading slash.
    :ivar principal_secret: the service account's JSON, or ``@`` and the path of a file that holds it; empty for none.
    :ivar auth_endpoint: login URL that overrides the secret's, or empty.
    :ivar credentials_file: path of a file that holds ``user:password`` for HTTP basic, or empty.
    :ivar port: index or name of a task's port on which Prometheus listens; by default the first.
    """

    urls: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    principal_secret: str = field(default="", repr=False)
    auth_endpoint: str = ""
    credentials_file: str = ""
    port: str = "0"
