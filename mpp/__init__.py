"""
A proxy in front of identical Prometheus servers.

A **Backend** is one Prometheus. **Locators** find backends; a **probe** observes them; a **strategy** (pure) selects among what
was observed. The **SelectionService** does that round on a LoopingCall and publishes an immutable **Selection**. Each client
request becomes an **Exchange**; the **Forwarder** picks a backend from the current Selection (affinity first), sends it over a
pooled upstream connection, and relays the answer under back-pressure. If an attempt fails before any byte went to the client,
**policy** (pure) says retry or stop; a retry goes at once to the next untried backend while a fresh Selection is made beside it.

Nothing else has state. All that is mutable lives in: ``publication.Publication`` (the current Selection),
``updates.Updates`` (what is published next), ``roster.Roster`` (who failed, who is ejected),
``damage.Damage`` (who cannot read its storage), ``forward.unreadable.Unreadable`` (for what),
``locators`` (each its last good list), ``addresses.AddressBook`` (last good DNS answers), ``wire.pool.Pool`` and
``wire.channels.Channels`` (open connections), ``wire.gate.Gate`` (whether clients are let in), ``wire.budget.Budget`` (bytes
held), ``affinity.SourceIPAffinity`` (recent clients), ``forward.suspicion.Suspicions`` (doubts),
``forward.allowance.RetryBudget``, ``query_of_death.SuspectQueries`` (what servers may have died of lately),
``probe.background.BackgroundReads`` (what is being read of the state of servers, and when it is read again),
``credentials.Credentials`` (files read, who finds whom), ``keyring.Keyring`` (which of them are in force), ``front`` (the web
configuration in force, who is known by his password), ``metrics.Metrics`` (counters), ``upkeep.Upkeep`` (whose
counters are about to go), ``recorder.Recorder`` and
``journal.Journal`` (the last minutes), ``problems.Problems`` (what was wrong when it was looked at last),
``status_log.StatusLog`` (the errors that clients get, what it logged last),
``survey.Survey`` (which servers to ask for their newest data, and when) and ``coverage.lacks.Lacks`` (what they lack),
``notify.Notices`` (what it told last), ``descriptor.Descriptor`` (lines of the log
that nobody has taken yet), ``repeats.Repeats`` (lines of the log that were written in the last minute), ``service.Program``
and ``backends.Backends`` (the current Wiring: all that is made of the settings, replaced as a whole when they are read again),
``listeners.Listeners`` (the open sockets), ``renewable.Renewable`` (an endpoint's certificate), ``workers.crew.Crew`` (the
workers, if there are any), ``workers.remote.RemoteSelections`` (in a worker, what the parent has published),
``kube_probes.KubeProbes`` (whether a probe was reported), and, for as long as one request lives, its Exchange.

Layers; imports go downwards only, and never sideways except from ``forward`` to ``wire`` and ``metrics``, from ``metrics`` to
``tally``, from ``locators`` to ``tls`` and ``addresses``, and from ``addresses`` to ``pacing``:

- L0 words: ``errors facts model http_config settings interfaces url_pattern instance variables``
- L1 decisions, pure: ``headers paths timeouts policy strategies ejection affinity exposition fingerprint runtime origin
  readings drift external_labels stickiness recent server_name subject_names status/ plain_yaml values logs access bounds
  child_environ api_errors storage_errors responses limiting vouching query_of_death flags placement progress page_limits
  unsafe_paths cross_site route_cookie coverage/ written spans own_requests series linear_pattern cors demotion
  largest log_components``
- L2 acts: ``wire/ locators/ tls addresses probe/ forward metrics tally notify descriptor repeats pacing``
- L3 living: ``selection evidence publication updates roster rounds round_steps follow_ups journal recorder snapshot credentials
  keyring authorized serving proxy site pages admin housekeeping front/ damage problems kube_probes upkeep status_log survey``
- L4 assembly: ``config command_line config_file config_backends config_http config_tree options usage completion
  checks extensions locating wiring forwarders renewable listening_errors file_limit listening sockets listeners sites changes
  reload backends views service workers/ output refusal tap __main__ testing/ demo secret_files config_sections effective
  early_interrupt``
"""
