"""
Secrets kept in files: tokens, passwords, keys. Never repeats their content, in no message and no repr.

They are small and local, so they are read directly and anew at every use: whoever rotates them need not tell. Only regular
files are read: opening a named pipe would stop the reactor.
"""

from __future__ import annotations

import os
import stat

from attrs import frozen

from mpp.errors import LocateError
from mpp.model import MIB

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

        :raise LocateError: it is gone, not readable, not a regular file, larger than `MAX_BYTES`, not UTF-8, or empty.
        """
        try:
            text = self.read_bytes().decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise LocateError(f"{self.path}: not UTF-8 text") from None
        if not text:
            raise LocateError(f"{self.path}: empty")
        return text

    def read_bytes(self) -> bytes:
        """
        Give its content as it is now.

        :raise LocateError: it is gone, not readable, not a regular file, or larger than `MAX_BYTES`.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise LocateError(f"{self.path}: not a regular file")
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise LocateError(f"{self.path}: {error.strerror or error}") from None
        except ValueError:
            raise LocateError(f"{self.path!r}: not a path") from None
        if len(data) > MAX_BYTES:
            raise LocateError(f"{self.path}: larger than {MAX_BYTES // MIB} MiB, not a secret")
        return data
