"""
Reading and writing of texts: durations, sizes, names, YAML's events. Pure; knows none of mpp's own values. Begin with ``values``.
"""
