"""
The forwarding of one client request, from its head to the last byte of its response. Knows no bytes on the wire and no admin
page. Begin with ``exchanges`` and ``attempts``.
"""
