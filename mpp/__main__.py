"""
The ``mpp`` command: ``twistd --nodaemon --pidfile= mpp``. Options like ``--help`` and ``--version``, and errors on the command
line, are handled before Twisted is imported; everything else but the choice of the reactor is left to twistd and mpp's plugin.
"""

from __future__ import annotations

import os
import sys

from mpp.app.early_interrupt import end_silently, print_or_end, record_hangup


def main() -> None:
    """Run mpp with the arguments of this process, until it is stopped."""
    # Before the other imports, which take most of the time.
    end_silently()
    record_hangup()
    if not _answered():
        _run()


def _answered() -> bool:
    """Print the text that the command line asks for, if any, and return whether there was one."""
    from mpp.config.command_line import answer, wants_check
    from mpp.config.loader import read
    from mpp.core.errors import ConfigError

    try:
        text = answer(sys.argv[1:])
        # ``--check-config`` needs more of mpp, and a reactor.
        if text is None and not wants_check(sys.argv[1:]):
            read(sys.argv[1:], os.environ)
    except ConfigError as error:
        from mpp.app.fatal import fatal

        raise fatal(error) from None
    if text is not None:
        print_or_end(text)
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
