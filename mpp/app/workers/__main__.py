"""
The program of a worker process, ``python -m mpp.app.workers``. Only the parent starts it, and passes it the sockets.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Install the reactor, before modules that import it, and run the worker."""
    # Only the parent notifies the service manager.
    os.environ.pop("NOTIFY_SOCKET", None)
    from mpp.wire.tuned.reactor import install
    from mpp.wire.tuned.switch import is_tuned

    install(tuned=is_tuned())
    from twisted.internet import reactor

    from mpp.app.workers.worker import run

    run(reactor, *map(int, sys.argv[1:]))


if __name__ == "__main__":
    main()
