"""
Reads secrets from files: tokens, passwords, keys. No message and no repr contains a secret.

The files are small and local, so they are read again at every use: a rotated secret needs no reload.
"""

from __future__ import annotations

from attrs import frozen

from mpp.core.errors import DiscoveryError
from mpp.core.files import UnreadableFile, read_small
from mpp.core.model import MIB

# A kubeconfig with several embedded bundles of certificates is some 100 KiB.
MAX_BYTES = 1 * MIB


@frozen
class SecretFile:
    """
    A file that holds a secret.

    :ivar path: the file's path; a relative path is resolved against the current directory at each read.
    """

    path: str

    def read(self) -> str:
        """
        Return the current text of the file, without surrounding blanks and line ends.

        :raise DiscoveryError: the file is missing, unreadable, not a regular file, larger than `MAX_BYTES`, not UTF-8, or empty.
        """
        try:
            text = self.read_bytes().decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise DiscoveryError(f"{self.path}: not UTF-8 text") from None
        if not text:
            raise DiscoveryError(f"{self.path}: empty")
        return text

    def read_bytes(self) -> bytes:
        """
        Return the current content of the file.

        :raise DiscoveryError: the file is missing, not readable, not a regular file, or larger than `MAX_BYTES`.
        """
        try:
            return read_small(self.path, MAX_BYTES, "a secret")
        except UnreadableFile as error:
            # The message must stay one line, so a path with control characters is quoted.
            shown = self.path if self.path.isprintable() else repr(self.path)
            raise DiscoveryError(f"{shown}: {error}") from None
