"""
What each server has of the newest data, beside the others: asked of the servers, compared, and said in words.

Read `mpp.coverage.lacks` first: it decides. This package must not know what becomes of it, which is decided by the strategies and
by `mpp.forward`.
"""
