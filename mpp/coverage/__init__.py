"""
What each server has of the newest data and of its history, compared with the others. Pure: `mpp.survey` asks the servers.

Read `mpp.coverage.lacks` first: it decides what of the newest data counts as missing. `mpp.coverage.needed` reads up to which
time a client's request needs data. `mpp.coverage.look_back` says what servers are asked about their history, `mpp.coverage.holes`
what of it they lack by their answers; `mpp.coverage.missing` has the values for that. `mpp.coverage.query_lacks` says what of it
a query would miss on each server, and `mpp.coverage.plan` which server answers which steps.
What follows from a lack is decided by the strategies and by `mpp.forward`; this package must not know it.
"""
