"""
Secrets kept in files: tokens, passwords, keys. Never repeats their content, in no message and no repr.

They are small and local, so they are read directly and anew at every use: whoever rotates them need not tell.
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

    :ivar path: where; a relative path is taken from the current directory of the moment.
    """

    path: str

    def read(self) -> str:
        """
        Give its text as it is now, without surrounding blanks and line ends.

        :raise DiscoveryError: it is gone, not readable, not a regular file, larger than `MAX_BYTES`, not UTF-8, or empty.
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
        Give its content as it is now.

        :raise DiscoveryError: it is gone, not readable, not a regular file, or larger than `MAX_BYTES`.
        """
        try:
            return read_small(self.path, MAX_BYTES, "a secret")
        except UnreadableFile as error:
            # What does not fit into one line has quotes.
            shown = self.path if self.path.isprintable() else repr(self.path)
            raise DiscoveryError(f"{shown}: {error}") from None
