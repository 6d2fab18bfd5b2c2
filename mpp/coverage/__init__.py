"""
The search for data that a server lacks and another one has. A survey compares the newest data every few seconds; the look back
compares the histories. A gap is a `Hole` of one job, or a time of all jobs; `gaps` records the ones that mpp has seen itself.

Read `mpp.coverage.lacks` first, which judges the newest data; `mpp.coverage.holes` judges the past; `mpp.core.coverage` holds
what was found. Only `mpp.coverage.survey` and `mpp.coverage.history` send queries; `mpp.coverage.rules` reads the servers' rules.
`mpp.coverage.planning` decides which server answers which steps of a query. The strategies and `mpp.proxy` decide what follows
from a lack; this package must not know them. `drift` compares configurations and targets, and `freshness` decides for the cache
from which age on samples are final.
"""
