"""
mpp in one process with a witness, who writes down what cannot be seen from outside.

``python -m tests.integration.long.measured READINGS OPTIONS...``: options as for ``mpp``; one JSON object per line goes into the
file READINGS: ``at`` (seconds since the epoch), ``delayed`` calls, ``threads``, ``objects`` known to the garbage collector.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from typing import Any, TextIO

from twisted.internet.task import LoopingCall
from twisted.logger import globalLogBeginner, textFileLogObserver

from mpp.app.program import Program
from mpp.config.loader import read

EVERY_S = 2.0


class Witness:
    """Takes readings."""

    def __init__(self, reactor: Any, file: TextIO) -> None:
        self._reactor, self._file = reactor, file

    def write(self) -> None:
        """Write a reading."""
        reading = {
            "at": time.time(),
            # This one's own is not among them: it is not due while it runs.
            "delayed": len(self._reactor.getDelayedCalls()),
            "threads": threading.active_count(),
            "objects": len(gc.get_objects()),
        }
        print(json.dumps(reading), file=self._file, flush=True)


def main() -> int:
    """Run until SIGTERM."""
    from twisted.internet import reactor as typeless

    reactor: Any = typeless  # the module's type in Twisted's annotations is too narrow
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    settings = read(sys.argv[2:], os.environ).settings
    program = Program(settings, reactor)
    program.privilegedStartService()
    program.startService()
    reactor.addSystemEventTrigger("before", "shutdown", program.stopService)
    with open(sys.argv[1], "w") as file:
        LoopingCall(Witness(reactor, file).write).start(EVERY_S)
        reactor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
