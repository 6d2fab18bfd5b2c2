"""
A proxy in front of identical Prometheus servers.

A **backend** is one Prometheus server. **Locators** find backends, a **prober** observes them, and a **strategy** (pure) selects
among the observed ones. The **SelectionService** repeats these steps in rounds and publishes an immutable **Selection**. Each
client request becomes an **Exchange**: the **Forwarder** chooses a backend from the current Selection (by affinity first), sends
the request over a pooled upstream connection, and relays the response under back-pressure. If an attempt fails before a byte was
sent to the client, the **retry policy** (pure) decides whether to try again; a retry goes at once to the next untried backend,
while a new Selection is made.

Mutable state is only in these objects, by package:

- ``core``: ``metrics.Metrics`` (counters).
- ``wire``: ``upstream.pool.Pool`` and ``downstream.channels.Channels`` (open connections), ``downstream.connection_limit``
  (accepting or not), ``memory_budget.MemoryBudget`` (buffered bytes), ``address_book.AddressBook`` (last valid DNS responses).
- ``discovery``: the locators (the last valid list of each), ``kubernetes.credentials.ClusterCredentials`` (files).
- ``coverage``: ``survey.Survey`` and ``lacks.Lacks`` (servers to ask for their newest data, and the data that they lack).
- ``selection``: ``publication.Publication`` (the current Selection), ``updates.Updates`` (the next one),
  ``membership.Membership`` (failures and ejections), ``damage.StorageErrors``, ``query_of_death.SuspectQueries``,
  ``probing.background.BackgroundReads``, ``event_log.EventLog``, ``problems.Problems`` (problems logged last).
- ``proxy``: ``decisions.affinity.SourceIPAffinity`` (recent clients), ``liveness.LivenessChecks``,
  ``decisions.retry_budget.RetryBudget``, ``decisions.unreadable.UnreadableQueries``, ``site.kube_probes.KubeProbes``, and the
  Exchange of each request while it is handled.
- ``security``: ``upstream.active_credentials.ActiveCredentials``, ``web_config.active_config.ActiveConfig``,
  ``web_config.passwords.Passwords`` (verified credentials).
- ``admin``: ``recorder.Recorder`` (traffic of the last minutes).
- ``app``: ``program.Program`` and ``backends.Backends`` (the current ``components.Components``, replaced by a reload),
  ``listen.listeners.Listeners`` (open sockets), ``listen.certificate.ReloadableCertificate``, ``upkeep.SeriesExpiry``,
  ``status_log.StatusLog``, ``systemd.SystemdNotifier``, ``logs.stdout.BufferedOutput``, ``logs.repeats.RepeatFilter``,
  ``workers.supervisor.WorkerSupervisor``, and in a worker ``workers.remote_selections.RemoteSelections``.

The docstring of each package describes its purpose. A package may import only packages to its left, never in a cycle::

    _version < core < config < wire < discovery < coverage < selection < proxy < security < admin < app < tap < __main__
"""
