"""Where the log goes, and how its lines look. Knows nothing of what is logged. Begin with ``observer``."""
