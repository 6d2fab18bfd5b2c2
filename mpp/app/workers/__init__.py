"""
More processes on one listening address (``--workers``).

One *parent* and some *workers*. The parent is the whole program, but its sockets accept nobody: it finds, probes and selects
backends as ever, and looks after the workers (`mpp.app.workers.supervisor`). A worker is the whole program, but it finds and
probes nobody: the Selection comes from the parent (`mpp.app.workers.remote_selections`), and its sockets, too
(`mpp.app.workers.shared_sockets`). Nothing else of mpp knows.

The parent does not serve clients itself, so that nothing that happens to a client's request can harm what all depend on; it
costs one more process, and a few percent of a core. When it ends, however it does, the workers end with it.

Parent and worker talk over a pair of sockets (`mpp.app.workers.ipc`), in JSON. What a worker says goes through the same checks as
what a backend says: its words are looked up in a table, and who says something else is cut off, and started anew.

# Note [One queue]

All workers accept from the same sockets, the parent's. The alternative, a socket for each (SO_REUSEPORT), gives each connection
to a worker before it is known whether that worker gets to it: whoever comes while one is dead or stuck would wait for it, in
its queue, though others are idle. With one queue whoever can takes the next client. What that lacks is evenness, since the
first one to wake up takes all there is. So each takes one at a time, and only while it has no more connections than another
one; a client whom nobody else takes within a few milliseconds is taken nevertheless (`mpp.app.workers.accept_rotation`).
"""
