"""
``python -m mpp.app.workers``: one worker, on the global reactor. Started by the parent only, who passes it its sockets.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Install the reactor, then be a worker: what is imported after that may want one."""
    # What the service manager wants to hear it hears from the parent.
    os.environ.pop("NOTIFY_SOCKET", None)
    from mpp.wire.tuned.reactor import install
    from mpp.wire.tuned.switch import is_tuned

    install(tuned=is_tuned())
    from twisted.internet import reactor

    from mpp.app.workers.worker import run

    run(reactor, *map(int, sys.argv[1:]))


if __name__ == "__main__":
    main()
