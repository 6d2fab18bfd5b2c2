"""
What mpp knows of Prometheus' API: its paths, and what its responses and errors mean. Pure; knows no connection and no
selection. Begin with ``responses``.
"""
