"""
One client request, from its head to the last byte of its response. Knows no bytes on the wire and no page of mpp's own. Begin
with ``forwarder``, ``exchange`` and ``attempts``.
"""
