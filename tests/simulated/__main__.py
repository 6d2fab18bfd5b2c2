"""``python -m tests.simulated``: run one simulated Prometheus until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from tests.simulated.control import Control
from tests.simulated.faults import FAULTS
from tests.simulated.prometheus import SimulatedPrometheus
from tests.simulated.queries import BadQuery, duration
from tests.simulated.server import SimulatedServer, listen


def _duration(text: str) -> float:
    try:
        return duration(text)
    except BadQuery as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulated", description="Run a simulated Prometheus, for tests and demos."
    )
    parser.add_argument("--port", type=int, default=0, help="TCP port; 0 (default) picks a free one")
    parser.add_argument("--interface", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--control-port", type=int, help="also serve the control pages there (see tests/simulated/control.py)")
    parser.add_argument("--version", default="2.42.0", help="simulated version of Prometheus (default: %(default)s)")
    parser.add_argument("--name", default="a", help="value of its external label (default: %(default)s)")
    parser.add_argument("--prefix", default="", help="route prefix, like /prometheus")
    parser.add_argument(
        "--history", type=_duration, default=duration("15d"), help="length of its history, 0s for none (default: 15d)"
    )
    parser.add_argument("--not-ready", action="store_true", help="start as a server that replays its WAL")
    parser.add_argument("--busy", action="store_true", help="start as a server with no free query slot")
    parser.add_argument("--fault", choices=FAULTS, help="the way in which it fails")
    parser.add_argument("--share", type=float, default=1.0, help="share of the requests that fail, from 0 to 1 (default: all)")
    return parser


def main() -> int:
    """Run the command and return its exit status."""
    from twisted.internet import error
    from twisted.internet import reactor as typeless

    reactor: Any = typeless  # the module's type in Twisted's annotations is too narrow
    options = _arguments().parse_args()
    sim = SimulatedPrometheus(
        now=time.time,
        version=options.version,
        name=options.name,
        prefix=options.prefix.rstrip("/"),
        history=options.history or None,
        ready=not options.not_ready,
        busy=options.busy,
    )
    try:
        served = listen(reactor, sim, port=options.port, interface=options.interface)
        if options.control_port is not None:
            control = SimulatedServer(Control(sim, served.server), reactor)
            where = reactor.listenTCP(options.control_port, control, interface=options.interface).getHost()
            print(f"control on http://{where.host}:{where.port}", flush=True)
    except error.CannotListenError as problem:
        print(f"python -m tests.simulated: --port {problem.port}: cannot listen: {problem.socketError}", file=sys.stderr)
        return 1
    if options.fault:
        sim.spoil(FAULTS[options.fault](), share=options.share)
    print(f"simulated Prometheus {sim.version} on http://{served.interface}:{served.port}{sim.prefix}", flush=True)
    reactor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
