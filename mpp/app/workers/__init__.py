"""
Several processes that serve one listening address (``--workers``): one *parent* and its *workers*.

The parent finds, probes and selects backends and starts the workers (`mpp.app.workers.supervisor`); it opens the listening
sockets but accepts no connection. A worker serves clients, but has no discovery and no probes: it gets the Selection
(`mpp.app.workers.remote_selections`) and the sockets (`mpp.app.workers.shared_sockets`) from the parent. The rest of mpp does not
know whether it runs in a parent or in a worker.

Because the parent serves no clients, a fault in a request cannot stop discovery and selection. This costs one more process and a
few percent of a core. When the parent ends for any reason, the workers end too.

Parent and worker send each other JSON messages over a pair of sockets (`mpp.app.workers.ipc`). The parent looks up each message
of a worker in a table, and replaces a worker that sends an unknown one.

# Note [One queue]

All workers accept from the same sockets. With a socket per worker (SO_REUSEPORT), the kernel would assign connections to a worker
that is dead or stuck, where they would wait although other workers are idle. With one queue any worker can accept the next
connection, but the first one to wake up would accept all of them. So a worker accepts one at a time, and only while no other
worker has fewer connections; a connection that waits for some milliseconds is accepted in any case
(`mpp.app.workers.accept_rotation`).
"""
