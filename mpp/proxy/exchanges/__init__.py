"""
One client request from its head to the last byte of its response, and the fetch of its response, which identical requests share.
Begin with ``forwarder``, ``exchange`` and ``fetch``.
"""
