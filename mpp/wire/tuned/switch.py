"""
The decision whether this process uses private parts of Twisted, made once for the whole program.

A tuned process has a reactor (`mpp.wire.tuned.lean`) and transports (`mpp.wire.tuned.transports`) of its own. A plain process has
Twisted's, which are slower, and widely used. ``MPP_PLAIN=1`` in the environment makes it plain, to find out whether a fault is in
the tuned parts. A release of Twisted that lacks something they need makes it plain, too.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping

from txaio.tx import make_logger

from mpp.core.text.values import is_boolean, parse_boolean
from mpp.core.text.variables import PLAIN as VARIABLE
from mpp.wire.tuned import transports
from mpp.wire.tuned.reactor import changed_privates as changed_in_reactor
from mpp.wire.tuned.reactor import is_foreign

_log = make_logger()


def is_asked_for(environ: Mapping[str, str]) -> bool:
    """Return whether ``MPP_PLAIN`` in the environment asks for Twisted's own reactor: any value but one that means no."""
    text = environ.get(VARIABLE, "")
    return bool(text) and (not is_boolean(text) or parse_boolean(text))


def changed_privates() -> tuple[str, ...]:
    """Return the names of the private parts of Twisted that are needed and not found; empty if all are there."""
    return (*changed_in_reactor(), *transports.changed_privates())


@functools.cache
def is_tuned() -> bool:
    """Return whether this process uses mpp's own transports, and its own reactor where possible."""
    return not is_asked_for(os.environ) and not changed_privates()


def log_state(reactor: object | None) -> None:
    """
    Log whether the process uses mpp's own reactor and transports, and why not; or what another reactor costs under twistd.

    :param reactor: the reactor of this process; None if no client is served on it.
    """
    if is_tuned() and reactor is not None and is_foreign(reactor):
        cost = "a request takes 20 to 50 % more processor time than under the mpp command, which brings a reactor of its own"
        _log.info("twistd runs mpp on {reactor}: " + cost, reactor=type(reactor).__name__)
    elif is_tuned():
        _log.debug("mpp uses its own transports, which are faster than the ones of Twisted")
    elif is_asked_for(os.environ):
        _log.info("mpp uses Twisted's own reactor and transports, because {variable} is set", variable=VARIABLE)
    else:
        changed = ", ".join(changed_privates())
        _log.warn(
            "mpp uses Twisted's own reactor and transports, which are slower: this release of Twisted has changed what the fast"
            " ones use: {changed}",
            changed=changed,
        )
