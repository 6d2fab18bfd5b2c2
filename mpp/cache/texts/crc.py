"""
The CRC-32 of two joined texts, computed from the CRC-32 of each, for Pythons without a library that has this function. Pure.

A CRC is the remainder of a polynomial over GF(2). To append a text is to multiply by x for each of its bits.

Source: ``crc32_combine_gen`` of zlib 1.2.12.
"""

from __future__ import annotations

from functools import lru_cache

_POLYNOMIAL = 0xEDB88320
"""That of CRC-32 (RFC 1952, section 8), with the coefficient of x^0 in the highest bit, as all polynomials here."""

_ONE = 1 << 31
_X8 = 1 << 23


def combined(first: int, second: int, length: int) -> int:
    """
    Return the CRC-32 of the text that two texts form, one after the other.

    :param first: the CRC-32 of the first text.
    :param second: the CRC-32 of the second text.
    :param length: the bytes of the second text.
    """
    return _product(_power(length), first) ^ second


@lru_cache(maxsize=1024)
def _power(length: int) -> int:
    """Return x to the power of 8 for each byte. Pages have texts of few different lengths, so most are asked for again."""
    found, square = _ONE, _X8
    while length:
        if length & 1:
            found = _product(square, found)
        square = _product(square, square)
        length >>= 1
    return found


def _product(one: int, other: int) -> int:
    """Return the product of two polynomials, modulo that of the CRC."""
    found = 0
    while one:
        if one & _ONE:
            found ^= other
        one = one << 1 & 0xFFFFFFFF
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return found
