"""
A proxy in front of identical Prometheus servers.

A **backend** is one Prometheus server. **Locators** find backends, a **prober** observes them, and a **strategy** (pure) selects
among the observed ones. The **SelectionService** repeats these steps in rounds and publishes an immutable **Selection**. Each
client request becomes an **Exchange** of the **Forwarder**, which waits for a **Fetch**; identical requests share one. The fetch
chooses a backend from the current Selection (by affinity first) and sends the request over a pooled upstream connection, and the
exchange relays the response under back-pressure. If an attempt fails before a byte was sent to the client, the **retry policy**
(pure) decides whether to try again; a retry goes at once to the next untried backend, while a new Selection is made.

docs/development/architecture.rst describes the life of a request, of a round and of a reload, where mutable state is, and where
new things go. The docstring of each package describes its purpose. A package may import only packages to its left, never in a
cycle::

    _version < core < promql < wire < discovery < config < coverage < cache < selection < proxy < security
        < admin < app < tap < __main__
"""
