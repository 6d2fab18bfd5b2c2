"""
A proxy in front of identical Prometheus servers.

A **backend** is one Prometheus server. **Locators** find backends, a **prober** observes them, and a **strategy** (pure) selects
among the observed ones. The **SelectionService** repeats these steps in rounds and publishes an immutable **Selection**. Each
client request becomes an **Exchange**: the **Forwarder** chooses a backend from the current Selection (by affinity first), sends
the request over a pooled upstream connection, and relays the response under back-pressure. If an attempt fails before a byte was
sent to the client, the **retry policy** (pure) decides whether to try again; a retry goes at once to the next untried backend,
while a new Selection is made.

docs/development/architecture.rst describes the life of a request, of a round and of a reload, where mutable state is, and where
new things go. The docstring of each package describes its purpose. A package may import only packages to its left, never in a
cycle::

Layers; imports go downwards only, and never sideways except from ``forward`` to ``wire`` and ``metrics``, from ``metrics`` to
``tally``, from ``locators`` to ``tls`` and ``addresses``, and from ``addresses`` to ``pacing``:

- L0 words: ``errors facts model http_config settings interfaces url_pattern instance variables``
- L1 decisions, pure: ``headers paths timeouts policy strategies ejection affinity exposition fingerprint runtime origin
  readings drift external_labels stickiness recent server_name subject_names status/ plain_yaml values logs access bounds
  child_environ api_errors storage_errors responses limiting vouching query_of_death flags placement progress page_limits
  unsafe_paths cross_site route_cookie coverage/ written spans own_requests series linear_pattern cors demotion
  largest log_components intervals``
- L2 acts: ``wire/ locators/ tls addresses probe/ forward metrics tally notify descriptor repeats pacing``
- L3 living: ``selection evidence publication updates roster rounds round_steps follow_ups journal recorder snapshot credentials
  keyring authorized serving proxy site pages admin housekeeping front/ damage problems kube_probes upkeep status_log survey``
- L4 assembly: ``config command_line config_file config_backends config_http config_tree options usage completion
  checks extensions locating wiring forwarders renewable listening_errors file_limit listening sockets listeners sites changes
  reload backends views service workers/ output refusal tap __main__ testing/ demo secret_files config_sections effective
  early_interrupt``
"""
