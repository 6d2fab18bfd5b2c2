"""Finds secrets in the values of options, and masks them. Pure."""

from __future__ import annotations

import re

SECRET = "<secret>"
"""The replacement of a secret, as on Prometheus' own configuration page."""

# Greedy: a password may contain any character, so it may extend to the last "@".
_USERINFO = re.compile(r"(?<=://).*@")
_PARAMETER = re.compile(r"(?<==)[^&#]+")


def secret_in_text(text: str) -> str:
    """
    Return an error unless a text is ``@`` and the path of a file that holds the secret; otherwise an empty text.

    The errors of this module end in the middle of a sentence: the caller adds the variable that may contain the secret.
    """
    return "" if text.startswith("@") else "a secret has no place in this file; give it as @ and the path of a file, or"


def secret_in_urls(text: str) -> str:
    """Return an error for URLs with a user and password; an empty text for other URLs. The caller completes the sentence."""
    # Searched for everywhere, because a password may contain the characters that end the host.
    return "a user and password (an @) have no place in this file; give the URL" if "@" in text else ""


def secret_in_url_or_file(text: str) -> str:
    """Return an error for a URL with a user and password; empty for other URLs, and for ``@`` and the path of a file."""
    if text.startswith("@") or not secret_in_urls(text):
        return ""
    return "a user and password (an @) have no place in this file; give the URL in a file, as @ and its path, or"


def unmasked(text: str) -> str:
    """Return a text unchanged, for options whose values are no secrets."""
    return text


def mask_unless_file(text: str) -> str:
    """Mask a secret; ``@`` and the path of the secret's file stay as they are."""
    return text if not text or text.startswith("@") else SECRET


def mask_url(text: str) -> str:
    """Mask user, password and parameter values (which may be tokens) in a URL; ``@`` and the path of a file stay as they are."""
    if text.startswith("@"):
        return text
    address, mark, query = _USERINFO.sub(f"{SECRET}@", text).partition("?")
    return address + mark + _PARAMETER.sub(SECRET, query)
