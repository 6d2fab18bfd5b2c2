"""
The search for data that the servers lack: a survey in each round finds gaps in their newest data, a look back the older ones.

Read `mpp.coverage.lacks` first, which judges the newest data; `mpp.coverage.holes` judges the past; `mpp.core.coverage` holds
what was found. Only `mpp.coverage.survey` and `mpp.coverage.history` send queries; `mpp.coverage.rules` reads the servers' rules.
`mpp.coverage.planning` decides which server answers which steps of a query. The strategies and `mpp.proxy` decide what follows
from a lack; this package must not know them.
"""
