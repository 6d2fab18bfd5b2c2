"""
What each server has of the newest data, compared with the others. Pure: `mpp.survey` asks the servers.

Read `mpp.coverage.lacks` first: it decides. This package must not know what becomes of it, which is decided by the strategies and
by `mpp.forward`.
"""
