"""
The operator's text becomes `mpp.core.settings.Settings`. Knows no reactor and nothing that is made of the settings. Begin with
``options``, the one table, and ``loader``.
"""
