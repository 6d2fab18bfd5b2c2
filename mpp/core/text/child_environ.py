"""
The environment variables of the processes that mpp starts. Pure.

These processes must not import modules from the current folder: Python searches it first if it is run with ``-m`` or ``-c``, and
for each entry of ``PYTHONPATH`` that is empty or relative. And other programs must not get the variables of mpp, some of which
are secrets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from mpp.core.text.variables import PREFIX


def isolated(environ: Mapping[str, str]) -> dict[str, str]:
    """
    Return an environment in which Python imports nothing from the current folder.

    ``PYTHONSAFEPATH`` is set (for Python 3.11 and later), and only absolute entries stay in ``PYTHONPATH``.
    """
    kept = dict(environ)
    entries = [entry for entry in kept.pop("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(entry)]
    if entries:
        kept["PYTHONPATH"] = os.pathsep.join(entries)
    kept["PYTHONSAFEPATH"] = "1"
    return kept


def without_own(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the variables of mpp, for another program."""
    return {name: value for name, value in environ.items() if not name.startswith(PREFIX)}
