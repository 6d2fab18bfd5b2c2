"""
What is decided of a request: where it goes, whether it is tried again, how long it may take. Pure. Begin with ``retry_policy``.
"""
