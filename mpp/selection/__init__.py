"""
The selection rounds: discover the backends, probe them, choose, publish. Knows no client request. Read ``service`` first, then
``publication``.
"""
