"""
The parts that all pages share: the frame, the stylesheet and the escaping. Pure.

A page is one file that loads nothing, works without scripts, and is served with a Content-Security-Policy that allows its
own style and script only, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from urllib.parse import quote

from mpp._version import __version__
from mpp.admin.status.stylesheet import SCRIPT, STYLE

_REFRESH = '<noscript><meta http-equiv="refresh" content="10"></noscript>'
_COLORS = {"good": "#2a9d5c", "warn": "#d69a2d", "bad": "#d9363e"}


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_hash(STYLE)}'; script-src 'sha256-{_hash(SCRIPT)}'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
).encode()


def frame(title: str, main: str, *, level: str, live: bool, below: str = "", identity: str = "") -> bytes:
    """
    Return a whole page, UTF-8.

    :param title: plain text.
    :param main: HTML that the script refreshes on a ``live`` page.
    :param below: HTML below it that is not refreshed.
    :param identity: the host, addresses and process of this mpp, plain text; if empty, the page shows its version only.
    """
    icon = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="3.5" fill="{_COLORS[level]}"/></svg>'
    )
    lost = '<p id="lost" role="status" hidden>mpp does not respond; this is its last known state.</p>\n' if live else ""
    which = f"<span>{text(identity)}</span>" if identity else ""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>{text(title)}</title>
<link rel="icon" href="data:image/svg+xml,{quote(icon)}">
{_REFRESH if live else ""}<style>{STYLE}</style></head><body>
<header><h1>mpp</h1><span>multi-Prometheus proxy {text(__version__)}</span>{which}</header>
{lost}<main>{main}</main>
{below}{f"<script>{SCRIPT}</script>" if live else ""}</body></html>
""".encode()


def text(value: str) -> str:
    """
    Return text from outside as HTML that fits in content and in quoted attributes.

    Unprintable characters are replaced: lone surrogates cannot be encoded, and control characters or a change of the reading
    direction would make the text look like another.
    """
    return escape("".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in value))


def pairs(listed: list[tuple[str, str]], kind: str = "") -> str:
    """Return a description list of names (plain text) and values (HTML) as HTML."""
    inner = "".join(f"<dt>{text(name)}</dt><dd>{value}</dd>" for name, value in listed)
    return f'<dl class="{kind}">{inner}</dl>' if kind else f"<dl>{inner}</dl>"


EXPLAIN_FORM = (
    '<form action="explain" method="get"><input name="url" aria-label="Path and query" value="{value}" '
    'placeholder="/api/v1/query?query=up" autocomplete="off" spellcheck="false"><button>Explain</button></form>'
)


def explain_form(value: str = "") -> str:
    """Return the form that asks which backend would receive a request, as HTML."""
    return EXPLAIN_FORM.replace("{value}", text(value))
