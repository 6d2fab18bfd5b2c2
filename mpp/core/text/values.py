"""
Parses single values as operators write them: durations, sizes, networks, and so on. Pure.

Every parser returns the value of a text, or raises ValueError with one line that quotes the text and says what was expected.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from urllib.parse import unquote_plus, urlsplit

from mpp.core.text.linear_pattern import LinearPattern

MIN_INTERVAL = 0.1
"""Shortest selection interval: a round costs every backend a query, and may take that long on a slow network."""

MAX_INTERVAL = 3600.0
"""Longest selection interval: with a longer one, mpp seems faulty because it misses added and removed servers."""

MAX_TIMEOUT = 7 * 86400.0
"""Longest time limit: a longer one is most likely a mistake, such as "y" for "ms"."""

MAX_WORKERS = 256
"""Maximum number of worker processes: each takes some 60 MB, and more than one per core gain nothing."""

MIN_TIMEOUT = 0.01
"""Shortest time limit: an iteration of a busy reactor takes about as long."""

_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "\u00b5s": 1e-6,  # micro sign
    "\u03bcs": 1e-6,  # Greek letter mu; Go takes both
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 7 * 86400.0,
    "y": 365 * 86400.0,
}
_PART = re.compile(r"([0-9]{1,12}+\.?+[0-9]{0,12}+|\.[0-9]{1,12}+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h|d|w|y)")

_BYTES = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?([a-z]*)", re.IGNORECASE)
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)(%?)")

# A matcher's value is a string in double quotes, with escapes; "*+" as in `mpp.selection.probing.metrics_scanner`.
_MATCHER = r'[a-zA-Z_][a-zA-Z0-9_]*+\s*+(?:=~|!~|!=|=)\s*+"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SELECTOR = re.compile(rf"[a-zA-Z_:][a-zA-Z0-9_:]*+(?:\{{\s*+(?:{_MATCHER}\s*+(?:,\s*+{_MATCHER}\s*+)*+)?,?\s*+\}})?")
# RFC 3986 section 3.4.
_QUERY_STRING = re.compile(r"(?:[\w.~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})+", re.ASCII)
_OWN_PARAMETERS = ("query", "time", "timeout")
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def parse_duration(text: str) -> float:
    """
    Return the seconds of a duration in the notation of Go (``1h30m``, ``1.5h``, ``250ms``) or Prometheus (``15d``, ``1w``).

    A day has 24 hours, a year 365 days, as in Prometheus. ``0`` needs no unit.
    """
    if text == "0":
        return 0.0
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration such as 10s, 1h30m or 15d")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def parse_interval(text: str) -> float:
    """Return the seconds of an interval between selection rounds, from `MIN_INTERVAL` to `MAX_INTERVAL`."""
    return _between(text, MIN_INTERVAL, MAX_INTERVAL, "10s or 1m30s (100ms to 1h)")


def parse_idle_timeout(text: str) -> float:
    """Return the seconds that a connection may be idle, from `MIN_INTERVAL` to `MAX_TIMEOUT`."""
    return _between(text, MIN_INTERVAL, MAX_TIMEOUT, "5m or 1m30s (100ms to 7d)")


def parse_timeout(text: str) -> float:
    """Return the seconds of a time limit, from `MIN_TIMEOUT` to `MAX_TIMEOUT`."""
    return _between(text, MIN_TIMEOUT, MAX_TIMEOUT, "10s or 1m30s (10ms to 7d)")


def parse_delay(text: str) -> float:
    """Return the seconds of a delay, from 0 to `MAX_TIMEOUT`."""
    return _between(text, 0.0, MAX_TIMEOUT, "10s or 1m30s (0 to 7d)")


def _between(text: str, least: float, most: float, expected: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = -1.0
    if not least <= seconds <= most:
        raise ValueError(f"{text!r} is not a duration such as {expected}")
    return seconds


def parse_share(text: str) -> float:
    """Return a share of a whole, from 0 to 1: ``0.2`` or ``20%``."""
    match = _SHARE.fullmatch(text)
    share = float(match[1]) / (100 if match[2] else 1) if match else 2.0
    if share > 1:
        raise ValueError(f"{text!r} is not a share such as 20% or 0.2")
    return share


def parse_size(text: str) -> int:
    """Return a number of bytes: plain, or with KiB, MiB, GiB (powers of 1024) or KB, MB, GB (powers of 1000)."""
    match = _SIZE.fullmatch(text)
    factor = _BYTES.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a size such as 1048576, 512KiB or 10MiB")
    return int(float(match[1]) * factor)


def parse_count(text: str) -> int:
    """Return a whole number that is not negative."""
    return _whole(text, 0, 999_999, "a whole number (0 or more)")


def parse_positive(text: str) -> int:
    """Return a whole number above 0."""
    return _whole(text, 1, 9_999_999, "a whole number (1 or more)")


def parse_workers(text: str) -> int:
    """Return a number of worker processes, from 1 to `MAX_WORKERS`."""
    return _whole(text, 1, MAX_WORKERS, f"a number of workers (1 to {MAX_WORKERS})")


def parse_port(text: str) -> int:
    """Return a TCP port number."""
    return _whole(text, 1, 65535, "a port number (1 to 65535)")


def _whole(text: str, least: int, most: int, expected: str) -> int:
    # int() alone would accept "+1", "1_000" and digits of other scripts.
    if not re.fullmatch(r"[0-9]{1,7}", text) or not least <= int(text) <= most:
        raise ValueError(f"{text!r} is not {expected}")
    return int(text)


def parse_boolean(text: str) -> bool:
    """Return True for ``true``, ``1``, ``yes`` and False for ``false``, ``0``, ``no``, in any case."""
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise ValueError(f"{text!r} is neither true nor false (true, 1, yes, false, 0, no)")
    return value


def is_boolean(text: str) -> bool:
    """Return whether `parse_boolean` accepts a text."""
    return text.lower() in _BOOLEANS


def parse_path(text: str) -> str:
    """Return the path of a file."""
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is not the path of a file")
    return text


def parse_paths(text: str) -> str:
    """Return paths of files, with the separator of the system between them (a colon on Unix), unchanged."""
    return parse_path(text)


def parse_word(text: str) -> str:
    """Return a text that is not empty, without surrounding blanks."""
    if not text.strip():
        raise ValueError(f"{text!r} is empty")
    return text.strip()


def parse_parameters(text: str) -> str:
    """Return the query string of a URL; a parameter that probes set themselves is an error."""
    if not _QUERY_STRING.fullmatch(text):
        raise ValueError(f"{text!r} is no query string; expected name=value, several with & between them, percent-encoded")
    for name in (part.partition("=")[0] for part in text.split("&")):
        if unquote_plus(name) in _OWN_PARAMETERS:
            raise ValueError(f"{text!r} has {name!r}, which probes set themselves; expected other parameters")
    return text


def parse_selector(text: str) -> str:
    """Return a metric name, or a selector with its name before the braces, as in PromQL: ``up``, ``up{job="a"}``."""
    if not _SELECTOR.fullmatch(text.strip()):
        raise ValueError(f'{text!r} is no selector; expected a metric name, or one with matchers such as up{{job="a"}}')
    return text.strip()


def parse_affinity_options(text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated list, each once, in order; an empty tuple for ``none``. The names are not checked."""
    names = [name.strip() for name in text.split(",")]
    if names == ["none"]:
        return ()
    if "" in names or "none" in names:
        raise ValueError(f"{text!r} is not a comma-separated list of 'cookies', 'sourceip' and 'header:NAME', or 'none' alone")
    return tuple(dict.fromkeys(names))


def parse_networks(text: str) -> tuple[str, ...]:
    """Return the networks (CIDR) and single addresses in a comma-separated list; an empty tuple for ``none``."""
    if text.strip() == "none":
        return ()
    return tuple(_network(item.strip()) for item in text.split(","))


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ValueError(f"{text!r} is not a network such as 10.0.0.0/8 or an address such as 192.0.2.1") from None


def parse_expression(text: str) -> str:
    """Return a regular expression unchanged if `mpp.core.text.linear_pattern` accepts it."""
    try:
        LinearPattern(text)
    except ValueError as error:
        expected = r"expected a regular expression such as https?://(a|b)\.example\.org"
        raise ValueError(f"{text!r} is not understood: {error}; {expected}") from None
    return text


def parse_url(text: str) -> str:
    """Return an http or https URL with a host; the error message does not repeat credentials."""
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or any(character.isspace() for character in text):
        # The whole text before the last @ may be a password, which may contain any character.
        shown = re.sub(r"(?s)\A(https?://)?.*@", r"\1...@", text)
        raise ValueError(f"{shown!r} is not a URL such as http://host:8080/path")
    return text


def parse_url_or_file(text: str) -> str:
    """Return an http or https URL with a host, or ``@`` and the path of a file that holds one."""
    if text.startswith("@") and not text[1:].strip():
        raise ValueError(f"{text!r} names no file; expected @ and the path of a file that holds a URL")
    return text if text.startswith("@") else parse_url(text)


def parse_urls(text: str) -> tuple[str, ...]:
    """Return the URLs in a comma-separated list."""
    if re.search(r",(?!\s*https?://)[^,]*@", text):
        raise ValueError("a comma in a user name or password must be written as %2C")
    return tuple(parse_url(item.strip()) for item in text.split(","))


def parse_apps(text: str) -> tuple[str, ...]:
    """Return the Marathon app ids in a comma-separated list, each with its leading slash, each once."""
    ids = [item.strip().strip("/") for item in text.split(",")]
    for app in ids:
        if not re.fullmatch(r"[a-z0-9.-]+(/[a-z0-9.-]+)*", app):
            raise ValueError(f"{app!r} is not a Marathon app id such as /monitoring/prometheus")
    return tuple(dict.fromkeys(f"/{app}" for app in ids))


def parse_scheme(text: str) -> str:
    """Return the scheme, ``http`` or ``https``."""
    return _one_of(text, ("http", "https"), "neither http nor https")


def parse_log_format(text: str) -> str:
    """Return the log format, ``logfmt`` or ``json``."""
    return _one_of(text, ("logfmt", "json"), "neither logfmt nor json")


def parse_log_level(text: str) -> str:
    """Return a log level in lower case."""
    return _one_of(text.lower(), ("debug", "info", "warn", "error"), "not a level (debug, info, warn, error)")


def _one_of(text: str, known: Collection[str], problem: str) -> str:
    if text not in known:
        raise ValueError(f"{text!r} is {problem}")
    return text


def parse_prefix(text: str) -> str:
    """Return a path prefix with a leading slash and without a trailing one; an empty text for ``/``."""
    if not re.fullmatch(r"/[A-Za-z0-9/._~%:@!$&'()*+,;=-]*", text):
        raise ValueError(f"{text!r} is not a path prefix such as /prometheus")
    return text.rstrip("/")


def parse_endpoint(text: str) -> str:
    """Return a Twisted server endpoint string; only its form is checked here."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.+-]*:.+", text):
        raise ValueError(f"{text!r} is not a Twisted server endpoint such as tcp:9090:interface=127.0.0.1")
    return text
