"""
Parses the operator's configuration into `mpp.core.settings.Settings`. It knows no reactor and no user of the settings. Begin with
``options``, the table of all options, and ``loader``.
"""
