"""
The reading of PromQL queries: of which jobs, and of which times, a query reads samples. Knows no server and no request.

``reads`` has the values that other packages use, ``reader`` makes them from the text of a query, and ``memory`` keeps them. The
steps of the reader: ``literals`` replaces string literals, ``guard`` rejects queries that could harm the parser, ``syntax`` calls
the parser, ``walk`` and ``matchers`` collect what the syntax tree reads, and ``estimate`` replaces all of this for rejected
queries. If a metric is written by rules, ``rules`` and ``recorded`` add the data that these rules read. ``matrix`` joins the
responses to parts of a query.
"""
