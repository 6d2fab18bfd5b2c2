"""
Blocks of a Prometheus' storage, moved in time: much quicker than to let promtool make one for each day.

Only series that are compressed by XOR are known. The server checks all checksums when it reads them. Source of the formats:
Prometheus, ``tsdb/docs/format``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

_ALIGNED = 16
_CHUNKS_HEADER = 8
_CRC_BYTES = 4
_TOC_BYTES = 6 * 8 + _CRC_BYTES
_XOR = 1


def _table() -> list[int]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return found


_TABLE = _table()


def crc(data: bytes | bytearray) -> bytes:
    """Return the checksum of Castagnoli."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return (value ^ 0xFFFFFFFF).to_bytes(_CRC_BYTES, "big")


def _read(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Return the number of variable length at a place, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _moved(data: bytes | bytearray, at: int, by_ms: int) -> bytes:
    """Return a time of variable length that is later, as long as the one at a place."""
    number, end = _read(data, at)
    # Positive numbers are doubled.
    number += 2 * by_ms
    found = bytearray()
    while len(found) < end - at - 1:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    assert number < 0x80
    return bytes((*found, number))


def _move_chunks(path: Path, by_ms: int) -> None:
    data, at, known = bytearray(path.read_bytes()), _CHUNKS_HEADER, dict[bytes, bytes]()
    while at < len(data):
        length, start = _read(data, at)
        end = start + 1 + length
        old = bytes(data[start:end])
        if old not in known:
            assert old[0] == _XOR
            # Behind the encoding and the number of samples.
            time = _moved(old, 3, by_ms)
            new = old[:3] + time + old[3 + len(time) :]
            known[old] = new + crc(new)
        data[start : end + _CRC_BYTES] = known[old]
        at = end + _CRC_BYTES
    path.write_bytes(data)


def _move_index(path: Path, by_ms: int) -> None:
    data = bytearray(path.read_bytes())
    toc = [int.from_bytes(data[at : at + 8], "big") for at in range(len(data) - _TOC_BYTES, len(data) - _CRC_BYTES, 8)]
    at, last = toc[1], min(each for each in toc if each > toc[1])
    while (at := -(-at // _ALIGNED) * _ALIGNED) < last:
        length, start = _read(data, at)
        labels, place = _read(data, start)
        for _ in range(2 * labels):
            place = _read(data, place)[1]
        place = _read(data, place)[1]
        time = _moved(data, place, by_ms)
        data[place : place + len(time)] = time
        end = start + length
        data[end : end + _CRC_BYTES] = crc(data[start:end])
        at = end + _CRC_BYTES
    path.write_bytes(data)


def moved(block: Path, seconds: int, number: int) -> Path:
    """
    Return a copy of a block, beside it, with all times later (or earlier, if negative).

    :param number: another one for each copy, below 10,000.
    """
    name = f"{block.name[:-4]}{number:04}"
    copy = shutil.copytree(block, block.with_name(name))
    for path in (copy / "chunks").iterdir():
        _move_chunks(path, seconds * 1000)
    _move_index(copy / "index", seconds * 1000)
    meta = json.loads((copy / "meta.json").read_text())
    meta["ulid"], meta["compaction"]["sources"] = name, [name]
    meta["minTime"], meta["maxTime"] = meta["minTime"] + seconds * 1000, meta["maxTime"] + seconds * 1000
    (copy / "meta.json").write_text(json.dumps(meta))
    return copy
