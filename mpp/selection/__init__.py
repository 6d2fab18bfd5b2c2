"""
One selection round after the other: locate, probe, choose, publish. Knows no client request. Begin with ``service``, then
``publication``.
"""
