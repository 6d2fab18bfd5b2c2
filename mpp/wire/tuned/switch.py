"""
Whether this process leans on private parts of Twisted: decided once, for the whole program.

Tuned, it has a reactor (`mpp.wire.tuned.reactor`) and transports (`mpp.wire.tuned.transports`) of its own. Plain, it has
Twisted's: slower, and what everybody else runs on. ``MPP_PLAIN=1`` in the environment makes it plain, for those who want to know
whether a fault is in these parts; and so does a Twisted that has changed in what they need.
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
    """Tell whether the environment asks for Twisted's own parts: with any word but those for no."""
    text = environ.get(VARIABLE, "")
    return bool(text) and (not is_boolean(text) or parse_boolean(text))


def changed_privates() -> tuple[str, ...]:
    """Name what is needed of Twisted's private parts and not found; empty when all is well."""
    return (*changed_in_reactor(), *transports.changed_privates())


@functools.cache
def is_tuned() -> bool:
    """Tell whether this process is tuned."""
    return not is_asked_for(os.environ) and not changed_privates()


def log_state(reactor: object | None) -> None:
    """
    Log which it is, and what it costs where somebody else has chosen the reactor.

    :param reactor: that of this process; None if no client is served on it.
    """
    if is_tuned() and reactor is not None and is_foreign(reactor):
        cost = "a request takes 20 to 50 % more processor time than under the mpp command, which brings a reactor of its own"
        _log.info("twistd has chosen {reactor}: " + cost, reactor=type(reactor).__name__)
    elif is_tuned():
        _log.debug("tuned reactor and transports are used where there is epoll")
    elif is_asked_for(os.environ):
        _log.info("Twisted's own reactor and transports are used, as {variable} asks for", variable=VARIABLE)
    else:
        changed = ", ".join(changed_privates())
        _log.warn("Twisted's own reactor and transports are used: this release differs in {changed}", changed=changed)
