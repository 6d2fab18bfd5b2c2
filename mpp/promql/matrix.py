"""
Joins the responses to the parts of one range query to the response that one server would have given. Pure; bytes in, bytes out.

The values stay as the servers wrote them, byte for byte. Series with the same labels become one series with the values of all
parts, and the series are sorted as Prometheus sorts them (``labels.Compare``). Where two versions write a label in different ways
(up to 2.46 ``<``, ``>`` and ``&`` are escaped), the labels are compared as texts. Warnings are sets, and are joined as such.

Source: ``web/api/v1/api.go`` (``Response``) and ``promql/value.go`` (``Matrix``) of Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

PIECE = 65536
"""Bytes of a piece of the joined response, about."""

_SEPARATOR = b","


class _Series(Struct):
    metric: Raw
    values: Raw | UnsetType = UNSET
    histograms: Raw | UnsetType = UNSET


class _Data(Struct, rename={"kind": "resultType"}, forbid_unknown_fields=True):
    kind: str
    result: list[_Series]


class _Response(Struct, forbid_unknown_fields=True):
    status: str
    data: _Data
    warnings: list[str] = []
    infos: list[str] = []


class _Whole(Struct, forbid_unknown_fields=True):
    status: str
    data: Raw
    warnings: list[str] = []
    infos: list[str] = []


class NotJoinable(Exception):
    """A response is not that of a range query, or has a part that is not known."""


class Matrix:
    """
    The response to one part of a range query, parsed as far as it has to be.

    :param body: the whole body. Takes 3 ms for each MiB.
    :raise NotJoinable: it is no successful response with a matrix.
    """

    __slots__ = ("infos", "series", "warnings")

    def __init__(self, body: bytes) -> None:
        try:
            found = _decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise NotJoinable(str(error)) from error
        if found.status != "success" or found.data.kind != "matrix":
            raise NotJoinable("it is no successful response with a matrix")
        self.series = found.data.result
        self.warnings = found.warnings
        self.infos = found.infos


def joined(parts: Sequence[Matrix], warning: str = "") -> Iterator[bytes]:
    """
    Yield the pieces of the joined response; each takes about a millisecond.

    :param parts: in the order of their steps, which must not overlap.
    :param warning: one more warning, or empty.
    """
    yield b'{"status":"success","data":{"resultType":"matrix","result":['
    pieces: list[bytes] = []
    size = 0
    separator = b""
    for group in _grouped(parts):
        piece = separator + _series(group)
        separator = _SEPARATOR
        pieces.append(piece)
        size += len(piece)
        if size >= PIECE:
            yield b"".join(pieces)
            pieces, size = [], 0
    warnings = [text for part in parts for text in part.warnings] + ([warning] if warning else [])
    yield b"".join(
        (*pieces, b"]}", _texts(b"warnings", warnings), _texts(b"infos", [t for part in parts for t in part.infos]), b"}")
    )


def with_warning(body: bytes, warning: str) -> bytes:
    """
    Return a whole response with one more warning.

    :raise NotJoinable: it is no successful response.
    """
    try:
        found = _whole.decode(body)
    except msgspec.MsgspecError as error:
        raise NotJoinable(str(error)) from error
    if found.status != "success":
        raise NotJoinable("it is no successful response")
    texts = _texts(b"warnings", [*found.warnings, warning]), _texts(b"infos", found.infos)
    return b"".join((b'{"status":"success","data":', bytes(found.data), *texts, b"}"))


def _grouped(parts: Sequence[Matrix]) -> Iterator[list[_Series]]:
    """Yield the series of all parts that have the same labels, sorted by their labels."""
    names = [bytes(each.metric) for each in parts[0].series]
    if all([bytes(each.metric) for each in part.series] == names for part in parts[1:]):
        for same in zip(*(part.series for part in parts), strict=True):
            yield list(same)
        return
    found: dict[tuple[tuple[bytes, bytes], ...], list[_Series]] = {}
    for part in parts:
        for series in part.series:
            found.setdefault(_labels(series.metric), []).append(series)
    for labels in sorted(found):
        yield found[labels]


def _labels(metric: Raw) -> tuple[tuple[bytes, bytes], ...]:
    """Return labels as Prometheus compares them: by name, as bytes."""
    try:
        labels = _metric.decode(metric)
    except msgspec.MsgspecError as error:
        raise NotJoinable(str(error)) from error
    return tuple(sorted((name.encode(), value.encode()) for name, value in labels.items()))


def _series(group: Sequence[_Series]) -> bytes:
    """Return one series with the values of all parts."""
    if len(group) == 1:
        values, histograms = _raw(group[0].values), _raw(group[0].histograms)
    else:
        values = _concatenated([each.values for each in group])
        histograms = _concatenated([each.histograms for each in group])
    found = [b'"metric":', bytes(group[0].metric)]
    if values:
        found += (b',"values":', values)
    if histograms:
        found += (b',"histograms":', histograms)
    return b"{%b}" % b"".join(found)


def _raw(values: Raw | UnsetType) -> bytes:
    return b"" if isinstance(values, UnsetType) else bytes(values)


def _concatenated(lists: Sequence[Raw | UnsetType]) -> bytes:
    """Return JSON lists as one list; empty if there is none."""
    found = [inside for each in lists if not isinstance(each, UnsetType) and (inside := bytes(each).strip()[1:-1].strip())]
    return b"[%b]" % _SEPARATOR.join(found) if found else b""


def _texts(name: bytes, texts: Sequence[str]) -> bytes:
    """Return a member of the response with distinct texts, nothing if there is none."""
    return b',"%b":%b' % (name, msgspec.json.encode(list(dict.fromkeys(texts)))) if texts else b""


_decoder = msgspec.json.Decoder(_Response)
_whole = msgspec.json.Decoder(_Whole)
_metric = msgspec.json.Decoder(dict[str, str])
