"""
The API of Prometheus: its paths, and the meaning of its responses and errors. Pure. Begin with ``responses``.
"""
