"""
Parses the response to a range query piece by piece, so that no single step takes long, however large the response is. Pure.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

import msgspec

from mpp.promql.matrix import Matrix, MatrixSeries, NotJoinable

PIECE = 256 * 1024
"""Bytes that are parsed in one step, which takes about a millisecond; a single series may be longer."""

MOST_SERIES = 4 * 1024 * 1024
"""Maximum size of a series in bytes: it is parsed in one step, and all of it is searched again with each further piece."""

# A text in JSON cannot contain it, because a quotation mark in a text is escaped.
_BETWEEN = b',{"metric":'
_RESULT = b'"result":['


def parsed(body: Iterable[bytes]) -> Generator[None, None, Matrix]:
    """
    Parse a response; yields between its steps, and returns the parsed response.

    :param body: the pieces of the body.
    :raise NotJoinable: the body is no successful response with a matrix, or a series is longer than `MOST_SERIES`.
    """
    head = b""
    rest: list[bytes] = []
    size = 0
    series: list[MatrixSeries] = []
    for piece in body:
        rest.append(piece)
        size += len(piece)
        if size < PIECE:
            continue
        text = b"".join(rest)
        if not head:
            start = text.find(_RESULT)
            if start < 0:
                raise NotJoinable("it has no result near its beginning")
            head, text = text[: start + len(_RESULT)], text[start + len(_RESULT) :]
        end = text.rfind(_BETWEEN)
        if end > 0:
            series += _series(text[:end])
            text = text[end + 1 :]
        if len(text) > MOST_SERIES:
            raise NotJoinable("a single series is too long")
        rest, size = [text], len(text)
        yield
    found = Matrix(head + b"".join(rest))
    return Matrix.of(series + found.series, found.warnings, found.infos)


def _series(text: bytes) -> list[MatrixSeries]:
    try:
        return _decoder.decode(b"[%b]" % text)
    except msgspec.MsgspecError as error:
        raise NotJoinable(str(error)) from error


_decoder = msgspec.json.Decoder(list[MatrixSeries])
