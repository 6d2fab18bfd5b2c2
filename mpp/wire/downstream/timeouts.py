"""
How long a client may take for what: pure numbers and decisions; the acts are `mpp.wire.downstream.channel`'s.

All of them are looked after in one sweep a second over all connections (`SWEEP_S`), so each may be exceeded by that much.
"""

from __future__ import annotations

SWEEP_S = 1.0
"""How often all connections are looked at: 10,000 of them take less than 10 ms."""

ACTIVE_S = 1.0
"""
For how long after an answer the client's next request is expected. Closing a connection while a request is on its way to us loses
that request; clients in a loop send the next one within milliseconds, and a second covers the slowest network between.
"""

HEAD_S = 10.0
"""
How long a request's head may take from its first byte: even one that is sent twice over a bad line (TCP retransmits after 1, 2
and 4 s) arrives in that time. HAProxy's manual recommends the same.
"""

BODY_S = 20.0
BODY_BYTES = 10_000
"""
While a body arrives, at least `BODY_BYTES` have to come in any `BODY_S` seconds: 500 bytes per second, the default of Apache's
mod_reqtimeout, but lately and not since the beginning. A client that sends steadily has all the time that it needs; one that
sends much at once, and then next to nothing, has not.
"""

TAKE_S = 60.0
"""How long a client may take nothing of an answer that waits for it (nginx' default): no network comes back after that."""

GONE_S = 2.0
"""
How long a client that has closed its sending side is answered. Who hangs up and who only says that no more requests follow look
the same (Prometheus takes both for gone): the one's query shall be cancelled soon, the other shall have a quick answer.
"""

LINGER_S = 5.0
"""
How long a refused client is listened to after the answer: closing while it still sends would reset the connection, and it might
never see why (RFC 9112 section 9.6).
"""
