"""Renders the active configuration, with the origin of each value, as a page and as JSON. Pure."""

from __future__ import annotations

import json
from typing import Any

from mpp._version import __version__
from mpp.admin.status.html import frame, text
from mpp.admin.status.identity import Identity
from mpp.config.configured import DEFAULT, DERIVED, ConfiguredValue, EffectiveConfig
from mpp.core.text.humanize import moment, quantity

SCHEMA = 1


def document(config: EffectiveConfig) -> dict[str, Any]:
    """Return the configuration as JSON values. docs/reference/pages.rst documents every key."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "read_at": config.read_at or None,
        "values": [
            {
                "name": each.name,
                "value": each.value,
                "written": each.written,
                "origin": each.origin,
                "place": each.place or None,
            }
            for each in config.values
        ],
    }


def as_json(config: EffectiveConfig) -> bytes:
    """Render the configuration as JSON, ASCII."""
    return json.dumps(document(config), indent=2, allow_nan=False).encode() + b"\n"


def as_page(config: EffectiveConfig, identity: Identity) -> bytes:
    """
    Render the configuration as a page, UTF-8: first the configured values, then the defaults.

    :param identity: the mpp that has this configuration.
    """
    given = [each for each in config.values if each.origin not in (DEFAULT, DERIVED)]
    others = [each for each in config.values if each.origin in (DEFAULT, DERIVED)]
    since = f" since {moment(config.read_at)}" if config.read_at else ""
    count = f"{quantity(len(given), 'value')} configured, {len(others)} by default"
    main = (
        f'<section class="verdict good"><p>The active configuration{since}</p><p>{count}. Secrets are shown as '
        "&lt;secret&gt;. A changed configuration file becomes active by a reload.</p></section>"
        f"<h2>Configured</h2>{_table(given)}<h2>By default</h2>{_table(others)}"
        '<p class="soft small">The same <a href="config?format=json">as JSON</a>; <a href="status">status of the servers</a>.</p>'
    )
    return frame("mpp: configuration", main, level="good", live=False, identity=identity.described)


def _table(values: list[ConfiguredValue]) -> str:
    rows = "".join(
        f'<tr><th>{text(each.name)}</th><td class="value">{text(each.written) or "&ndash;"}</td>'
        f'<td class="at">{text(_origin(each))}</td></tr>'
        for each in values
    )
    return f'<div class="scroll"><table class="config">{rows}</table></div>' if rows else '<p class="soft">Nothing.</p>'


def _origin(each: ConfiguredValue) -> str:
    return f"{each.origin}, {each.place}" if each.place else each.origin
