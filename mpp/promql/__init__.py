"""
What PromQL queries read: which jobs' samples, and from when to when. Pure: a text is the input, a frozen value the result.

Read `mpp.promql.reads` first: it has the values that others use. `mpp.promql.reader` makes them of a query. This package knows no
server and no request; it imports nothing of mpp.
"""
