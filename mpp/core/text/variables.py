"""
The names of mpp's environment variables, and the search for mistyped ones. Pure; the values are not used.

An unused variable whose name begins with ``MPP_`` is most likely a typing error, which leaves an option at its default.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping

PREFIX = "MPP_"
"""The beginning of the names of all variables of mpp."""

PLAIN = "MPP_PLAIN"
"""The variable that makes mpp use Twisted's own reactor and transports, see `mpp.wire.tuned.switch`."""

TEST_PREFIX = "MPP_TEST_"
"""The beginning of the names of the variables that the tests of mpp read."""

_HOST = "_SERVICE_HOST"

# The variables that the kubelet sets for each Service (pkg/kubelet/envvars/envvars.go of Kubernetes).
_LINK = re.compile(r"_SERVICE_HOST|_SERVICE_PORT(_[A-Z0-9_]+)?|_PORT|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?")


def unknown_names(environ: Mapping[str, str], known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """
    Yield each unused name that begins with `PREFIX`, with the most similar known name, or an empty text if none is similar.

    A variable with an empty value is not set, as for options. Names that Kubernetes sets in each pod for a Service whose name
    begins with "mpp" are ignored.

    :param known: the names of the variables of all options.
    """
    endings = [name.removeprefix(PREFIX) for name in (*known, PLAIN) if name.startswith(PREFIX)]
    services = [name.removesuffix(_HOST) for name in environ if name.startswith(PREFIX) and name.endswith(_HOST)]
    for name in sorted(environ):
        ending = name.removeprefix(PREFIX)
        if not name.startswith(PREFIX) or not environ[name] or ending in endings or name.startswith(TEST_PREFIX):
            continue
        if any(name.startswith(service) and _LINK.fullmatch(name[len(service) :]) for service in services):
            continue
        # Compared without the prefix, which would make all short names similar.
        nearest = difflib.get_close_matches(ending, endings, n=1)
        yield name, PREFIX + nearest[0] if nearest else ""
