"""
What the servers lack: of their newest data, by a survey in each round, and of their history, by a look back at it.

Read `mpp.coverage.lacks` first, which judges the newest data; `mpp.coverage.holes` judges the past; `mpp.core.coverage` holds
what was found. Only `mpp.coverage.survey` sends queries. `mpp.coverage.planning` decides which server answers which steps of a
query. The strategies and `mpp.proxy` decide what follows from a lack; this package must not know them.
"""
