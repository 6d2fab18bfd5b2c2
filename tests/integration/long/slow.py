"""
Clients that are too slow, in real time. ``python -m tests.integration.long.slow``; takes a little more than a minute.

One stops in a head, one in a body, one takes nothing of a large answer, one takes a little of it every second and must not be
cut off.
Prints what became of each and when; ends with status 1 if it is not what it should be.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable

from tests.integration.processes import Mpp, Simulated, wait_until

LARGE = b"GET /big?bytes=50000000 HTTP/1.1\r\nHost: a\r\n\r\n"
PATIENCE = 75.0
"""Seconds after which whoever is still connected has not been cut."""


def stops(connection: socket.socket, sent: bytes) -> str:
    """Send something, then only wait."""
    connection.sendall(sent)
    answer = connection.recv(65536)
    return answer.split(b"\r\n", 1)[0].decode()


def takes(connection: socket.socket, each_second: int) -> str:
    """Ask for much, and take so many bytes of it each second."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(LARGE)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        time.sleep(1)
        try:
            if each_second:
                connection.recv(each_second)
            elif connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return "reset"
        except ConnectionResetError:
            return "reset"
    return "still connected"


CASES: tuple[tuple[str, Callable[[socket.socket], str], str, float, float], ...] = (
    ("stops in a head", lambda c: stops(c, b"GET / HTTP/1.1\r\nHo"), "HTTP/1.1 408 Request Timeout", 10, 13),
    (
        "stops in a body",
        lambda c: stops(c, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab"),
        "HTTP/1.1 408 Request Timeout",
        20,
        23,
    ),
    ("takes nothing", lambda c: takes(c, 0), "reset", 60, 66),
    ("takes 20 kB a second", lambda c: takes(c, 20_000), "still connected", PATIENCE, PATIENCE + 5),
)


def main() -> int:
    """Run all of them side by side; give the exit status."""
    simulated = Simulated("--version", "3.5.0").start()
    mpp = Mpp([simulated.url]).start()
    bad = []

    def run(title: str, act: Callable[[socket.socket], str], expected: str, least: float, most: float) -> None:
        with socket.create_connection(("127.0.0.1", mpp.port), timeout=PATIENCE) as connection:
            began = time.monotonic()
            outcome = act(connection)
            took = time.monotonic() - began
        good = outcome == expected and least - 1 <= took <= most
        print(f"{title:24} {outcome:32} after {took:.0f} s{'' if good else f' (expected: {expected})'}", flush=True)
        if not good:
            bad.append(title)

    try:
        threads = [threading.Thread(target=run, args=case) for case in CASES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: mpp.metric("mpp_requests_in_flight") == 0, "no request is left", 10)
        wait_until(lambda: mpp.metric("mpp_held_bytes") == 0, "no byte is held", 10)
        print("nothing is left")
    finally:
        mpp.close()
        simulated.close()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
