"""
The decision which server answers which steps of a query, by what each server lacks. Pure, and nothing here knows HTTP.

Read `mpp.coverage.planning.plan` first: it decides. `mpp.core.coverage` describes what the servers lack,
`mpp.promql.reads` what a query reads, `mpp.coverage.planning.query_lacks` what each server lacks of that,
`mpp.coverage.planning.levels` which servers lack least at each step. `mpp.coverage.planning.planner` is the way in from outside,
and `mpp.coverage.planning.kept_lacks` keeps the results for the last queries.
"""
