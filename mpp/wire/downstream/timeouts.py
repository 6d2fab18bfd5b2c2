"""
The time limits of client connections, in seconds. `mpp.wire.downstream.channel` applies them.

One periodic check a second (`SWEEP_S`) enforces all of them, so each may be exceeded by that much.
"""

from __future__ import annotations

SWEEP_S = 1.0
"""Time between two checks of all connections. A check of 10,000 connections takes less than 10 ms."""

ACTIVE_S = 1.0
"""
Time after a response in which the client's next request is expected. Closing a connection while a request is on its way loses
that request; clients in a loop send the next one within milliseconds, and a second covers the slowest network.
"""

HEAD_S = 10.0
"""
Time that a request's head may take from its first byte. Even a head that is retransmitted over a bad line (TCP does so after 1, 2
and 4 s) arrives in that time. HAProxy's manual recommends the same.
"""

BODY_S = 20.0
BODY_BYTES = 10_000
"""
While a body arrives, at least `BODY_BYTES` have to arrive in any `BODY_S` seconds: 500 bytes per second, the default of Apache's
mod_reqtimeout, but as the recent rate and not as the average. A client that sends steadily has all the time that it needs; a
client that sends much at once, and then next to nothing, is rejected.
"""

TAKE_S = 60.0
"""Time in which a client may read nothing of its response (nginx' default). No network recovers after that."""

GONE_S = 2.0
"""
Time for the response to a client that has closed its sending side. A client that has disconnected, and one that only sends no
more requests, look the same (Prometheus treats both as disconnected): the first one's query has to be cancelled soon, and the
second one still gets a quick response.
"""

LINGER_S = 5.0
"""
Time in which mpp reads and discards bytes of a rejected client after the response: closing while the client sends would reset the
connection, and the client might never see the response (RFC 9112 section 9.6).
"""
