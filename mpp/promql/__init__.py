"""
What PromQL queries read: which jobs' samples, and from when to when. Knows no server and no request; imports nothing of mpp.
Begin with ``reads``, the values that others use, and ``reader``, which makes them of a query.
"""
