"""
The counters and histograms of mpp, and the runs of local error replies. Begin with ``registry``.
"""
