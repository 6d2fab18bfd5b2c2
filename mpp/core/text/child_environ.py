"""
The environment variables of the processes that mpp starts. Pure.

Nothing that lies in the folder that mpp was started in may be imported by them: a Python process looks for modules there first if
it is run with ``-m`` or ``-c``, and for each entry of ``PYTHONPATH`` that is empty or relative. And nothing but mpp itself may
read what its own variables hold, some of which are secrets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from mpp.core.text.variables import PREFIX


def isolated(environ: Mapping[str, str]) -> dict[str, str]:
    """
    Return an environment in which Python imports nothing from the current folder.

    ``PYTHONSAFEPATH`` is set (Python 3.11 and later obey it), and ``PYTHONPATH`` is left with its absolute entries.
    """
    kept = dict(environ)
    entries = [entry for entry in kept.pop("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(entry)]
    if entries:
        kept["PYTHONPATH"] = os.pathsep.join(entries)
    kept["PYTHONSAFEPATH"] = "1"
    return kept


def without_own(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without mpp's own variables, for a program that is none of mpp's."""
    return {name: value for name, value in environ.items() if not name.startswith(PREFIX)}
