"""The part of the contract that passes over the wire: paths, methods, header fields, cookies."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mpp.admin import base_page as pages
from mpp.admin import resource as admin
from mpp.admin.status import query_string as question
from mpp.core.model import Backend, RequestInfo
from mpp.core.prometheus.unsafe_paths import FORWARDED_METHODS
from mpp.proxy.decisions.affinity import CookieAffinity
from tests.contract import source

_HYPHENATED = "[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)+"


def lines() -> set[str]:
    """Return a line for each name."""
    return {
        *(f"path: /mpp/{name}" for name in source.passed("putChild", 0)),
        *(f"path: {path}" for path in source.constants(r"^/mpp(?:/[a-z]+)?(?=$|\?)")),
        *(f"page format: {name}" for name in {*question.FORMATS, *admin._EXPLAINED}),
        *(f"page parameter: {name}" for name in _parameters()),
        *(f"page method: {method.decode()}" for method in (*pages.CHECKS, *_methods_of_reload())),
        *(f"forwarded method: {method.decode()}" for method in FORWARDED_METHODS),
        *(f"field: {name}" for name in _field_names()),
        *(f"cookie: {name}" for name in source.constants(r"(?i)^mpp\.[a-z]+(?=$|=)", bytes)),
        *(f"affinity cookie: {part.strip()}" for part in _cookie().split(";")),
    }


def _parameters() -> set[str]:
    """Return the parameters that mpp's own pages understand."""
    patterns = (question._LEADING.pattern, question._TRAILING.pattern)
    found = {name for pattern in patterns for name in _words(pattern.decode()) if name not in question.FORMATS}
    for module in source.modules():
        for node in module.nodes:
            if isinstance(node, ast.Subscript) and ast.unparse(node.value).split(".")[-1] == "args":
                key = node.slice.value if isinstance(node.slice, ast.Constant) else None
                found |= {key.decode()} if isinstance(key, bytes) else set()
    return found | source.passed("args.get", 0)


def _words(pattern: str) -> Iterator[str]:
    word = ""
    for character in f"{pattern} ":
        if character.isalpha():
            word += character
        else:
            if word:
                yield word
            word = ""


def _methods_of_reload() -> tuple[bytes, ...]:
    return tuple(name.encode() for name in source.passed("reject_method", 1))


def _field_names() -> set[str]:
    """Return the names of header fields as they stand in the code, names without a hyphen only where fields are made."""
    pairs = {name.decode("latin-1") for name, _ in source.pairs(bytes, bytes)}
    return {
        *source.constants(rf"^{_HYPHENATED}(?=$|: )", bytes),
        *source.constants(r"^(?:[A-Z][A-Za-z]+-)+[A-Z][A-Za-z]+$", str),
        *(name for name in pairs if re.fullmatch("[A-Z][A-Za-z-]*[a-z]", name)),
        *source.passed("setHeader", 0),
    }


def _cookie() -> str:
    """Return the affinity cookie that a client gets."""
    backend = Backend("http", "prom-a", 9090)
    cookie = CookieAffinity().remember(RequestInfo(b"GET", b"/", ()), backend, 0.0)
    assert cookie is not None
    return cookie.replace(backend.route, b"*").decode()
