"""TFRecord shards: protobuf reads what we wrote, and the framing is TensorFlow's."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shipway.components.prep.tfrecord import pack_varints, serialise, write_records
from shipway.framing import masked_crcs, varint
from shipway.recipes.arrays import Ragged
from tests.fixtures.records import Example

int64s = st.integers(-(2**63), 2**63 - 1)


@settings(deadline=None)
@given(st.lists(st.lists(int64s, max_size=6), min_size=1, max_size=8), st.data())
def test_protobuf_reads_back_what_was_serialised(rows: list[list[int]], data: st.DataObject) -> None:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    values = np.array([value for row in rows for value in row], dtype=np.int64)
    labels = data.draw(arrays(np.int64, len(rows), elements=int64s))
    weights = data.draw(arrays(np.float32, (len(rows), 3), elements=st.floats(width=32, allow_nan=False)))
    records = serialise({"grams": Ragged(values, offsets), "label": labels, "weights": weights})
    assert len(records) == len(rows)
    for row, label, weight, record in zip(rows, labels, weights, records, strict=True):
        feature = Example.FromString(record).features.feature
        assert set(feature) == {"grams", "label", "weights"}
        assert list(feature["grams"].int64_list.value) == row
        assert list(feature["label"].int64_list.value) == [label]
        assert np.array_equal(np.array(feature["weights"].float_list.value, dtype=np.float32), weight)


@settings(deadline=None)
@given(st.lists(st.lists(int64s, max_size=4), min_size=1, max_size=4))
def test_bytes_are_those_of_deterministic_protobuf(rows: list[list[int]]) -> None:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    values = np.array([value for row in rows for value in row], dtype=np.int64)
    records = serialise({"b": Ragged(values, offsets), "a": np.arange(len(rows))})
    for number, (row, record) in enumerate(zip(rows, records, strict=True)):
        example = Example()
        example.features.feature["a"].int64_list.value.append(number)
        example.features.feature["b"].int64_list.value.extend(row)
        if not row:
            example.features.feature["b"].int64_list.SetInParent()
        assert record == example.SerializeToString(deterministic=True)


@settings(deadline=None)
@given(st.lists(int64s, max_size=30))
def test_varints_of_a_column_are_those_of_each_value(values: list[int]) -> None:
    packed, sizes = pack_varints(np.array(values, dtype=np.int64))
    expected = [varint(value % 2**64) for value in values]
    assert packed.tobytes() == b"".join(expected)
    assert sizes.tolist() == [len(part) for part in expected]


@settings(deadline=None)
@given(st.lists(st.lists(st.binary(max_size=300), max_size=4), min_size=1, max_size=4))
def test_bytes_of_any_content_are_written_as_protobuf_writes_them(rows: list[list[bytes]]) -> None:
    values = np.empty(sum(map(len, rows)), dtype=object)
    values[:] = [value for row in rows for value in row]
    offsets = np.cumsum([0, *map(len, rows)])
    firsts = np.empty(len(rows), dtype=object)
    firsts[:] = [b"\0end\0"] * len(rows)
    for row, record in zip(rows, serialise({"a": firsts, "b": Ragged(values, offsets)}), strict=True):
        example = Example()
        example.features.feature["a"].bytes_list.value.append(b"\0end\0")
        example.features.feature["b"].bytes_list.value.extend(row)
        if not row:
            example.features.feature["b"].bytes_list.SetInParent()
        assert record == example.SerializeToString(deterministic=True)


def test_a_part_of_a_ragged_column_keeps_its_own_rows() -> None:
    whole = Ragged(np.arange(10), np.array([0, 3, 3, 10]))
    part = Ragged(whole.values[3:], whole.offsets[1:])
    assert serialise({"x": part}) == serialise({"x": whole})[1:]


def test_framing_is_length_checksum_record_checksum() -> None:
    file = io.BytesIO()
    written = write_records(file, [b"shipway", b"", b"shipway"])
    data = file.getvalue()
    assert written == len(data) == 3 * 16 + 14
    length, head, body, tail = struct.unpack("<QI7sI", data[:23])
    assert (length, body) == (7, b"shipway")
    assert head == int.from_bytes(masked_crcs([data[:8]]), "little")
    assert tail == int.from_bytes(masked_crcs([b"shipway"]), "little")


def test_the_masked_checksum_is_the_published_one() -> None:
    # RFC 3720, B.4: CRC-32C of 32 zero bytes is 0x8a9136aa; masked as in tensorflow/core/lib/hash/crc32c.h
    crc = 0x8A9136AA
    expected = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked_crcs([bytes(32)]) == expected.to_bytes(4, "little")


def test_a_dtype_without_a_place_in_a_record_is_named() -> None:
    with pytest.raises(TypeError, match=r"'when'.*datetime64.*use int64, float32, or bytes"):
        serialise({"when": np.array(["2026-01-01"], dtype="datetime64[D]")})
    with pytest.raises(TypeError, match="'text'"):
        serialise({"text": np.array(["a", "b"], dtype=object)})
