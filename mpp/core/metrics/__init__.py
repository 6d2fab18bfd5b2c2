"""
The counters and histograms of mpp, and the periods in which mpp itself answers with errors. Begin with ``registry``.
"""
