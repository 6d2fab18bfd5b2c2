"""mpp's own pages below ``/mpp``, and the recorder behind them. Pages show what other packages know. Begin with ``resource``."""
