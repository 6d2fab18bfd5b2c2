"""
The cached answers to range queries: the next one asks the servers for the new steps only. Knows no server and no request.

``query_pages`` has the steps of one query, numbered by its ``grid``, in pages. ``preparation`` makes pages of an answer: a
``page`` has ``extents``, the steps that servers answered, and the ``member_texts`` of the ``series``. A ``view`` has the pages of
some steps. ``assembly`` joins the ``spans`` of a view and new answers to the response that one server would have sent,
byte for byte, and ``recent`` keeps the last spans and bodies. ``texts`` cuts and compresses.

``store`` is the cache itself: for each key it has a ``cached_query``, which has pages and the newest steps (the tail), and it
decides by ``admission`` which queries get one, and which are evicted. Begin there.
"""
