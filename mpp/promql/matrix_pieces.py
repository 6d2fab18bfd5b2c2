"""
Parses the response to a range query piece by piece, so that no single step takes long, however large the response is. Pure.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

import msgspec

from mpp.promql.matrix import Matrix, MatrixSeries, NotJoinable

PIECE = 256 * 1024
"""Bytes that are parsed in one step, which takes about a millisecond; a single series may be longer."""

# A text in JSON cannot contain it, because a quotation mark in a text is escaped.
_BETWEEN = b',{"metric":'
_RESULT = b'"result":['


def parsed(body: Iterable[bytes]) -> Generator[None, None, Matrix]:
    """
    Parse a response; yields between its steps, and returns the parsed response.

    :param body: the pieces of the body.
    :raise NotJoinable: it is no successful response with a matrix.
    """
    head, rest = b"", b""
    series: list[MatrixSeries] = []
    for piece in body:
        rest += piece
        if len(rest) < PIECE:
            continue
        if not head:
            start = rest.find(_RESULT)
            if start < 0:
                continue
            head, rest = rest[: start + len(_RESULT)], rest[start + len(_RESULT) :]
        end = rest.rfind(_BETWEEN)
        if end > 0:
            series += _series(rest[:end])
            rest = rest[end + 1 :]
            yield
    found = Matrix(head + rest)
    return Matrix.of(series + found.series, found.warnings, found.infos)


def _series(text: bytes) -> list[MatrixSeries]:
    try:
        return _decoder.decode(b"[%b]" % text)
    except msgspec.MsgspecError as error:
        raise NotJoinable(str(error)) from error


_decoder = msgspec.json.Decoder(list[MatrixSeries])
