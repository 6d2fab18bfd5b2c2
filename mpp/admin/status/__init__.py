"""The status page: from values to a report, and from the report to HTML and JSON. Pure. Begin with ``data`` and ``report``."""
