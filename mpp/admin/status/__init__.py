"""The status page, from values to words, HTML and JSON. Pure. Begin with ``data`` and ``report``."""
