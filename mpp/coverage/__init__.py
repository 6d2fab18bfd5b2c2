"""
What each server has of the newest data, compared with the others. Pure: `mpp.coverage.survey` asks the servers.

Read `mpp.coverage.lacks` first: it decides. `mpp.coverage.needed` reads up to which time a client's request needs data.
What follows from a lack is decided by the strategies and by `mpp.proxy`; this package must not know it.
"""
