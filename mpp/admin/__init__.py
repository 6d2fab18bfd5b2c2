"""mpp's own pages below ``/mpp``. Shows what others know, and changes nothing. Begin with ``resource``."""
