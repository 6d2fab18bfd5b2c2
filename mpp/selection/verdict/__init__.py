"""How things stand, in words that the status page, the metrics and the log share. Pure. Begin with ``verdict``."""
