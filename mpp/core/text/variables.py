"""
The names of environment variables that are mpp's, and those that only look like it. Pure; the values are not judged here.

A name that begins with ``MPP_`` and that nothing reads is most likely a slip of the pen: what it was to change keeps its default.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping

PREFIX = "MPP_"
"""What all names of mpp's variables begin with."""

PLAIN = "MPP_PLAIN"
"""The variable that has mpp run on Twisted's own reactor and transports, see `mpp.wire.tuned.switch`."""

TEST_PREFIX = "MPP_TEST_"
"""What the names of the variables that mpp's own tests read begin with."""

_HOST = "_SERVICE_HOST"

# What the kubelet sets for each Service beside the host; kept in step with pkg/kubelet/envvars/envvars.go of Kubernetes.
_LINK = re.compile(r"_SERVICE_HOST|_SERVICE_PORT(_[A-Z0-9_]+)?|_PORT|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?")


def unknown_names(environ: Mapping[str, str], known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """
    Return each name that looks like mpp's and that nothing reads, with the nearest known one, empty if none is near.

    A variable with an empty value counts as not set, as it does for options. Names that Kubernetes sets in each pod for a Service
    whose name begins with "mpp" are passed over.

    :param known: the names of all options' variables.
    """
    endings = [name.removeprefix(PREFIX) for name in (*known, PLAIN) if name.startswith(PREFIX)]
    services = [name.removesuffix(_HOST) for name in environ if name.startswith(PREFIX) and name.endswith(_HOST)]
    for name in sorted(environ):
        ending = name.removeprefix(PREFIX)
        if not name.startswith(PREFIX) or not environ[name] or ending in endings or name.startswith(TEST_PREFIX):
            continue
        if any(name.startswith(service) and _LINK.fullmatch(name[len(service) :]) for service in services):
            continue
        # Compared without the prefix, which would make any two short names similar.
        nearest = difflib.get_close_matches(ending, endings, n=1)
        yield name, PREFIX + nearest[0] if nearest else ""
