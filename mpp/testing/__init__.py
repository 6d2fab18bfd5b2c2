"""
A simulated Prometheus that can be made to fail, shared by tests, demo and benches.

- ``prometheus``, ``pages``, ``queries``: what a Prometheus of a given version answers; they know nothing of connections.
- ``faults`` and ``plan``: the ways in which a server goes wrong, and whom they strike.
- ``connection``, ``framing`` and ``server``: all of it behind HTTP/1.1, in memory or on a socket.
- ``control``: lets another process look at a simulation and change it.
- ``processes``: servers as processes.
- ``__main__``: ``python -m mpp.testing --port N`` runs one.
"""
