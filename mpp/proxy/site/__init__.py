"""Client requests as resources of twisted.web. Knows no attempt and no backend. Begin with ``resource``."""
