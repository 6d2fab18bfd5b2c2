"""
The decision which server answers which steps of a query, by what each server lacks. Pure, and nothing here knows HTTP.

Read `mpp.coverage.planning.plan` first: it decides. What the servers lack comes from `mpp.core.coverage`; what a query reads
is described by `mpp.coverage.planning.selectors`.
"""
