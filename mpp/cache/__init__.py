"""
The kept answers to range queries: the next one asks the servers for the new steps only. Knows no server and no request.

An ``entry`` has the steps of one query in pages, each with the compressed texts of all series; ``page`` describes them,
``cutting`` and ``deflate`` make them. ``assembly`` joins pages and new steps to the response that one server would have given,
byte for byte.
"""
