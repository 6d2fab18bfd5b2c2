"""
Values, errors, interfaces and settings, and the small parts that all packages of mpp share. Imports no other package. Begin with
``model``, ``errors`` and ``interfaces``.
"""
