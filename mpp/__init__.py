"""
A proxy in front of identical Prometheus servers.

A **Backend** is one Prometheus. **Locators** find backends; a **probe** observes them; a **strategy** (pure) selects among what
was observed. The **SelectionService** does that round on a LoopingCall and publishes an immutable **Selection**. Each client
request becomes an **Exchange**; the **Forwarder** picks a backend from the current Selection (affinity first), sends it over a
pooled upstream connection, and relays the answer under back-pressure. If an attempt fails before any byte went to the client,
**policy** (pure) says retry or stop; a retry goes at once to the next untried backend while a fresh Selection is made beside it.

Nothing else has state. All that is mutable lives in: ``publication.Publication`` (the current Selection),
``updates.Updates`` (what is published next), ``roster.Roster`` (who failed, who is ejected),
``damage.StorageErrors`` (who cannot read its storage), ``forward.unreadable.Unreadable`` (for what),
``locators`` (each its last good list), ``addresses.AddressBook`` (last good DNS answers), ``wire.pool.Pool`` and
``wire.channels.Channels`` (open connections), ``wire.gate.Gate`` (whether clients are let in), ``wire.budget.Budget`` (bytes
held), ``affinity.SourceIPAffinity`` (recent clients), ``forward.suspicion.Suspicions`` (doubts),
``forward.allowance.RetryBudget``, ``query_of_death.SuspectQueries`` (what servers may have died of lately),
``probe.background.BackgroundReads`` (what is being read of the state of servers, and when it is read again),
``credentials.ClusterCredentials`` (files read, who finds whom), ``keyring.Keyring`` (which of them are in force), ``web_config``
(the web configuration in force, who is known by his password), ``metrics.Metrics`` (counters), ``upkeep.SeriesExpiry`` (whose
counters are about to go), ``recorder.Recorder`` and
``journal.Journal`` (the last minutes), ``problems.Problems`` (what was wrong when it was looked at last),
``status_log.StatusLog`` (the errors that clients get, what it logged last),
``survey.Survey`` (which servers to ask for their newest data, and when) and ``coverage.lacks.Lacks`` (what they lack),
``notify.Notices`` (what it told last), ``descriptor.Descriptor`` (lines of the log
that nobody has taken yet), ``repeats.RepeatFilter`` (lines of the log that were written in the last minute), ``service.Program``
and ``backends.Backends`` (the current Wiring: all that is made of the settings, replaced as a whole when they are read again),
``listeners.Listeners`` (the open sockets), ``renewable.Renewable`` (an endpoint's certificate), ``workers.crew.Crew`` (the
workers, if there are any), ``workers.remote.RemoteSelections`` (in a worker, what the parent has published),
``kube_probes.KubeProbes`` (whether a probe was reported), and, for as long as one request lives, its Exchange.

Each room says in its ``__init__.py`` what it is for. Imports go down in this order, and never in a circle::

    _version < core < config < wire < discovery < coverage < selection < proxy < security < admin < app < tap < __main__
"""
