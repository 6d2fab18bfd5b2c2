"""
Joins the responses to the parts of one range query to the response that one server would have given. Pure; bytes in, bytes out.

The values stay as the servers wrote them, byte for byte. Series with the same labels become one series with the values of all
parts, and the series are sorted as Prometheus sorts them (``labels.Compare``). Where two versions write a label in different ways
(up to 2.46 ``<``, ``>`` and ``&`` are escaped), the labels are compared as texts. Warnings are sets, and are joined as such.

Source: ``web/api/v1/api.go`` (``Response``) and ``promql/value.go`` (``Matrix``) of Prometheus.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

PIECE = 65536
"""The approximate size of a piece of the joined response, in bytes."""

HEAD = b'{"status":"success","data":{"resultType":"matrix","result":['
"""The beginning of a joined response; its series follow, then `tail`."""

_SEPARATOR = b","
# Series that are compared at once, and the work after which there is a pause: about a millisecond each.
_COMPARED = 3000
_PAUSE_US = 1000
_KEY_US = 10


class MatrixSeries(Struct):
    """One series of a response; the lists of its points are not parsed."""

    metric: Raw
    values: Raw | UnsetType = UNSET
    histograms: Raw | UnsetType = UNSET


class _Data(Struct, rename={"kind": "resultType"}, forbid_unknown_fields=True):
    kind: str
    result: list[MatrixSeries]


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
    """The error for a response that is no successful one to a range query, or has unknown members."""


class Matrix:
    """
    The response to one part of a range query, parsed as far as it has to be.

    :param body: the whole body; to parse it takes 3 ms for each MiB.
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

    def metrics(self) -> Iterator[bytes]:
        """Yield the metric of each series, which is the JSON object of its labels."""
        return (bytes(each.metric) for each in self.series)

    @classmethod
    def of(cls, series: list[MatrixSeries], warnings: list[str], infos: list[str]) -> Matrix:
        """Return the parsed response with these members."""
        found = cls.__new__(cls)
        found.series, found.warnings, found.infos = series, warnings, infos
        return found

    def rows(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Yield the metric of each series, and the texts of its values and of its histograms, each without the brackets."""
        for each in self.series:
            yield bytes(each.metric), _inside(each.values), _inside(each.histograms)


def joined(parts: Sequence[Matrix], warning: str = "") -> Iterator[bytes]:
    """
    Yield the pieces of the joined response; each takes about a millisecond. If many series must be sorted, the first are empty.

    :param parts: in the order of their steps, which must not overlap.
    :param warning: one more warning, or empty.
    """
    yield HEAD
    pieces: list[bytes] = []
    size = 0
    separator = b""
    for group in _grouped(parts):
        if not group:
            yield b""
            continue
        piece = separator + _series(group)
        separator = _SEPARATOR
        pieces.append(piece)
        size += len(piece)
        if size >= PIECE:
            yield b"".join(pieces)
            pieces, size = [], 0
    warnings = [text for part in parts for text in part.warnings] + ([warning] if warning else [])
    yield b"".join((*pieces, tail(warnings, [text for part in parts for text in part.infos])))


def tail(warnings: Sequence[str], infos: Sequence[str]) -> bytes:
    """Return the end of a response, which follows its series; each warning and each info is in it once."""
    return b"".join((b"]}", _texts(b"warnings", warnings), _texts(b"infos", infos), b"}"))


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


def sort_key(metric: Raw | bytes) -> bytes:
    """
    Return the labels of a series in a form that sorts as Prometheus sorts them: by pairs of name and value, each as bytes.

    Two spellings of the same labels have the same key.

    :param metric: a JSON object of labels, as a server wrote it.
    :raise NotJoinable: ``metric`` is something else.
    """
    try:
        labels = _metric.decode(metric)
    except msgspec.MsgspecError as error:
        raise NotJoinable(str(error)) from error
    texts = [text.encode() for pair in labels.items() for text in pair]
    # A shorter text sorts before each that it begins, so what ends a text has to be less than all that a text can contain.
    ended = [text.replace(b"\0", b"\0\1") + b"\0\0" for text in texts]
    return b"".join(sorted(map(b"".join, zip(ended[::2], ended[1::2], strict=True))))


def _grouped(parts: Sequence[Matrix]) -> Iterator[list[MatrixSeries]]:
    """Yield the series of all parts that have the same labels, sorted by their labels; none after work that takes a while."""
    if (yield from _have_same_series(parts)):
        for same in zip(*(part.series for part in parts), strict=True):
            yield list(same)
        return
    found: dict[bytes, list[MatrixSeries]] = {}
    spelled: dict[bytes, list[MatrixSeries]] = {}
    cost = 0
    for part in parts:
        for series in part.series:
            metric = bytes(series.metric)
            group = spelled.get(metric)
            if group is None:
                group = spelled[metric] = found.setdefault(sort_key(metric), [])
                cost += _KEY_US
            group.append(series)
            cost += 1
            if cost >= _PAUSE_US:
                yield []
                cost = 0
    for key in sorted(found):
        yield found[key]


def _have_same_series(parts: Sequence[Matrix]) -> Generator[list[MatrixSeries], None, bool]:
    """Return whether all parts have the same labels in the same order; yields nothing but pauses."""
    count = len(parts[0].series)
    if any(len(part.series) != count for part in parts):
        return False
    at_once = max(1, _COMPARED // len(parts))
    for start in range(0, count, at_once):
        if start:
            yield []
        names = [bytes(each.metric) for each in parts[0].series[start : start + at_once]]
        if any([bytes(each.metric) for each in part.series[start : start + at_once]] != names for part in parts[1:]):
            return False
    return True


def _series(group: Sequence[MatrixSeries]) -> bytes:
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
    found = [inside for each in lists if (inside := _inside(each))]
    return b"[%b]" % _SEPARATOR.join(found) if found else b""


def _inside(points: Raw | UnsetType) -> bytes:
    """Return the points of a JSON list without the brackets; empty if there is no list."""
    return b"" if isinstance(points, UnsetType) else bytes(points).strip()[1:-1].strip()


def _texts(name: bytes, texts: Sequence[str]) -> bytes:
    """Return a member of the response with distinct texts, nothing if there is none."""
    return b',"%b":%b' % (name, msgspec.json.encode(list(dict.fromkeys(texts)))) if texts else b""


_decoder = msgspec.json.Decoder(_Response)
_whole = msgspec.json.Decoder(_Whole)
_metric = msgspec.json.Decoder(dict[str, str])
