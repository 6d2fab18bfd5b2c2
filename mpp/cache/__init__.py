"""
The cache of range queries: when a query comes again, servers need to be asked for the new steps only. This package sends no
request, and knows no server.

``query_pages`` has the steps of one query, numbered by its ``grid``, in pages. ``preparation`` makes pages of an answer: a
``page`` has ``extents``, the steps that servers answered, and the ``member_texts`` of the ``series`` (a member is the values or
the histograms of one). A ``view`` has the pages of some steps. ``assembly`` joins the ``spans`` of a view and new answers to the
response that one server would have sent, byte for byte, and ``recent`` keeps the last spans and bodies. ``texts`` cuts and
compresses.

``store`` is the cache itself: for each ``query_key`` it has a ``cached_query``, which has pages and the newest steps (the tail),
and it decides by ``admission`` which queries get one, and which are evicted. Begin there.
"""
