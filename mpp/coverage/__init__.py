"""
The comparison of the servers' newest data: which scrape targets one server lacks. Pure, but `mpp.coverage.survey` sends queries.

Read `mpp.coverage.lacks` first: it decides. `mpp.coverage.needed` reads up to which time a client's request needs data.
The strategies and `mpp.proxy` decide what follows from a lack; this package must not know them.
"""
