"""
The ``mpp`` command: ``twistd --nodaemon --pidfile= mpp``, with the simple answers given before Twisted is imported.

There is one way to run: everything but those answers, and the choice of the reactor, is left to twistd and our plugin.
"""

from __future__ import annotations

import os
import sys

from mpp.app.early_interrupt import end_silently


def main() -> None:
    """Run mpp with the arguments of this process, until it is told to stop."""
    # Before the other imports, which take the longest.
    end_silently()
    if not _answered():
        _run()


def _answered() -> bool:
    """Print what the command line asks for, if that can be known already, and return whether that was all."""
    from mpp.config.command_line import answer, wants_check
    from mpp.config.loader import read
    from mpp.core.errors import ConfigError

    try:
        text = answer(sys.argv[1:])
        # What is checked more closely needs more of mpp, and a reactor.
        if text is None and not wants_check(sys.argv[1:]):
            read(sys.argv[1:], os.environ)
    except ConfigError as error:
        from mpp.app.fatal import fatal

        raise fatal(error) from None
    if text is not None:
        print(text)
    return text is not None


def _run() -> None:
    from twisted.scripts.twistd import run

    from mpp.wire.tuned.reactor import install
    from mpp.wire.tuned.switch import is_tuned

    install(tuned=is_tuned())

    sys.argv[1:1] = ["--nodaemon", "--pidfile=", "mpp"]
    run()


if __name__ == "__main__":
    main()
