"""
The kept answers to range queries: the next one asks the servers for the new steps only. Knows no server and no request.

An ``entry`` has the steps of one query, numbered by its ``grid``, in pages. ``preparation`` makes pages of an answer: it cuts the
texts of the ``series`` (``cutting``) and compresses them (``deflate``, ``crc``). A ``view`` is what an entry has at some steps.
``assembly`` joins the ``spans`` of a view and new answers to the ``body`` that one server would have sent, byte for byte, and
``recent`` keeps the last spans that were joined.
"""
