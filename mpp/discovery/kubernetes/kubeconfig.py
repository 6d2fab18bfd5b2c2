"""
The reader of kubeconfig files: reads and merges them, and returns typed values with errors that name file and key. Knows the
form of a kubeconfig, not the meaning of its entries.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from mpp.core.errors import ConfigError, DiscoveryError
from mpp.core.secret_file import SecretFile
from mpp.core.yaml.events import PlainYAMLError, as_typed, read_yaml

OPTION = "--kubeconfig"

# The variables of a plugin are on the seventh level; clusters may have extensions with any content.
_MAX_DEPTH = 32


def read_bytes(path: str) -> bytes:
    """
    Return the content of a small file.

    :raise ConfigError: it does not exist, is not readable, not a regular file, or too large.
    """
    try:
        return SecretFile(path).read_bytes()
    except DiscoveryError as error:
        raise ConfigError(OPTION, str(error)) from None


def read_text(path: str) -> str:
    """Return the text of a small file, such as a token; fails like `read_bytes`, and when the file is empty or not UTF-8."""
    try:
        return SecretFile(path).read()
    except DiscoveryError as error:
        raise ConfigError(OPTION, str(error)) from None


@frozen
class KubeconfigEntry:
    """
    One entry of a kubeconfig: a mapping with its position in the file.

    :ivar path: the file of the entry; relative paths in it are relative to that file's folder.
    :ivar label: its place in the file, ``users[alice].user``.
    """

    path: str
    label: str
    value: Mapping[str, Any] = field(repr=False)

    def named(self, key: str) -> str:
        """Return the file and place of a key, for messages."""
        return f"{self.path}: {self.label}.{key}"

    def error(self, key: str, problem: str) -> ConfigError:
        """Return an error that names a key, but not its value, which may be a secret."""
        return ConfigError(OPTION, f"{self.named(key)}: {problem}")

    def refuse(self, key: str, why: str) -> None:
        """Raise ConfigError if a key that mpp does not support is set."""
        if self.value.get(key):
            raise self.error(key, why)

    def text(self, key: str) -> str:
        """Return the text of a key, empty if it is not set."""
        found = self._typed(key, str, "text (a number or a date needs quotes)")
        return "" if found is None else found

    def flag(self, key: str) -> bool:
        """Return the boolean of a key, False if it is not set."""
        return bool(self._typed(key, bool, "true or false"))

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the list of texts at a key, empty if it is not set."""
        found = self._typed(key, list, "a list") or []
        if not all(isinstance(each, str) for each in found):
            raise self.error(key, "expected a list of strings")
        return tuple(found)

    def section(self, key: str) -> KubeconfigEntry | None:
        """Return the mapping at a key as an entry, or None if it is not set."""
        found = self._typed(key, dict, "a mapping")
        return None if found is None else KubeconfigEntry(self.path, f"{self.label}.{key}", found)

    def sections(self, key: str) -> tuple[KubeconfigEntry, ...]:
        """Return the mappings in the list at a key as entries."""
        found = self._typed(key, list, "a list") or []
        if not all(isinstance(each, dict) for each in found):
            raise self.error(key, "expected a list of mappings")
        return tuple(KubeconfigEntry(self.path, f"{self.label}.{key}[{number}]", each) for number, each in enumerate(found))

    def file(self, key: str) -> str:
        """Return the path at a key, joined to the folder of the kubeconfig if it is relative; empty if it is not set."""
        path = self.text(key)
        return os.path.join(os.path.dirname(self.path), path) if path else ""

    def data_or_file(self, key: str) -> tuple[bytes | None, str]:
        """Return the decoded data at ``key-data``, or else the content of the file at ``key``, or else None; and the key used."""
        text = self.text(f"{key}-data")
        if text:
            try:
                return base64.b64decode("".join(text.split()), validate=True), f"{key}-data"
            except (binascii.Error, ValueError):
                raise self.error(f"{key}-data", "not base64") from None
        path = self.file(key)
        if not path:
            return None, key
        try:
            return read_bytes(path), key
        except ConfigError as error:
            raise self.error(key, error.problem) from error

    def _typed(self, key: str, kind: type, expected: str) -> Any:
        found = self.value.get(key)
        if found is not None and not isinstance(found, kind):
            raise self.error(key, f"expected {expected}")
        return found


@frozen
class Kubeconfig:
    """
    The merged content of some kubeconfig files.

    :ivar current_context: the name of the current context, and the path of the file that sets it.
    """

    current_context: tuple[str, str] = ("", "")
    contexts: Mapping[str, KubeconfigEntry] = field(factory=dict)
    clusters: Mapping[str, KubeconfigEntry] = field(factory=dict)
    users: Mapping[str, KubeconfigEntry] = field(factory=dict)


def read_kubeconfig(paths: str) -> Kubeconfig:
    """
    Read and merge kubeconfigs like kubectl: the first file that has an entry wins; an entry is never combined from two files.

    :param paths: paths separated by colons. If there are several, some may be missing.
    :raise ConfigError: all are missing, or one is unreadable or no kubeconfig.
    """
    listed = [os.path.abspath(path) for path in paths.split(os.pathsep) if path]
    present = [path for path in listed if os.path.exists(path)] or listed[:1]
    current = ("", "")
    tables: dict[str, dict[str, KubeconfigEntry]] = {"contexts": {}, "clusters": {}, "users": {}}
    for path in present:
        whole = KubeconfigEntry(path, "", _parse(path))
        if not current[0]:
            current = (_top(whole).text("current-context"), path)
        for key, table in tables.items():
            for name, section in _entries(whole, key):
                table.setdefault(name, section)
    return Kubeconfig(current, **tables)


def _parse(path: str) -> Mapping[str, Any]:
    try:
        # YAML contains JSON.
        found = read_yaml(read_bytes(path).decode("utf-8-sig"), depth=_MAX_DEPTH, scalar=as_typed)
    except UnicodeDecodeError:
        raise ConfigError(OPTION, f"{path}: not UTF-8 text") from None
    except PlainYAMLError as error:
        # Without the error's text, which quotes the file.
        where = path if error.line is None else f"{path}: line {error.line}"
        raise ConfigError(OPTION, f"{where}: {error.problem}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(OPTION, f"{path}: not a kubeconfig")
    return found


def _top(whole: KubeconfigEntry) -> KubeconfigEntry:
    return KubeconfigEntry(whole.path, "kubeconfig", whole.value)


def _entries(whole: KubeconfigEntry, key: str) -> list[tuple[str, KubeconfigEntry]]:
    """Return the entries of ``clusters``, ``users`` or ``contexts``; each holds its name, and its content under the singular."""
    found = []
    for entry in _top(whole).sections(key):
        name = entry.text("name")
        content = entry.value.get(key[:-1])
        if content is not None and not isinstance(content, dict):
            raise entry.error(key[:-1], "expected a mapping")
        found.append((name, KubeconfigEntry(whole.path, f"{key}[{name}].{key[:-1]}", content or {})))
    return found
