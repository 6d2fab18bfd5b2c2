"""
One client request from its head to the last byte of its response, and the fetch of its response, which identical requests share.
Begin with ``forwarder``, ``exchange``, ``flights`` (which chooses the fetch) and ``fetch``. ``server_fetch`` asks servers;
``cached_fetch`` asks only for the steps that ``cached_queries`` does not have, or that are invalid by ``valid_steps``. Each range
of missing steps is a ``subrequest``; identical subrequests share a fetch (``subrequest_flights``). ``splicing`` joins the
responses of several servers.
"""
