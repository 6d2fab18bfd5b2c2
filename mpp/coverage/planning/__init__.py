"""
The decision which server answers which steps of a query, by what each server lacks. Pure, and nothing here knows HTTP.

Read `mpp.coverage.planning.plan` first: it decides. `mpp.core.coverage` describes what the servers lack,
`mpp.coverage.planning.selectors` what a query reads.
"""
