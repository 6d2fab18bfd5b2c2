"""
A simulated Prometheus that can be made to fail, shared by tests, ``script/demo`` and benches. It uses nothing of mpp.

- ``prometheus``, ``pages``, ``queries``: the responses of a Prometheus of a given version; they know nothing about connections.
- ``faults`` and ``plan``: the ways in which a server fails, and the requests that they affect.
- ``connection``, ``framing`` and ``server``: the HTTP/1.1 server around it, in memory or on a socket.
- ``control``: lets another process look at a simulation and change it.
- ``__main__``: ``python -m tests.simulated --port N`` runs one.
"""
