"""
The texts of cached answers, and their compression. Bytes in, bytes out; knows no series and no pages.

``cutting`` cuts the points of one series by their times. ``deflate`` compresses texts, and puts compressed ones together with the
sums of ``crc``; a ``body`` is the whole text of a response.
"""
