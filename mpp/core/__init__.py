"""
Values, errors, interfaces and settings, and the small parts that all rooms share. Knows no other room. Begin with ``model``,
``errors`` and ``interfaces``.
"""
