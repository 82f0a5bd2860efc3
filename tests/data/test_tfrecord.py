"""TFRecord files without TensorFlow."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan.data import tfrecord
from flan.data.tfrecord import crc32c, read_records


def checksum(data):
    return int(crc32c(np.frombuffer(data, np.uint8), np.array([0]), np.array([len(data)]))[0])


def masked(data):
    crc = checksum(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data):
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def write(path, records):
    path.write_bytes(b"".join(map(record, records)))
    return path


def test_known_checksums():
    assert checksum(b"123456789") == 0xE3069283
    assert checksum(bytes(32)) == 0x8A9136AA
    assert checksum(bytes(range(32))) == 0x46DD794E


def bit_by_bit(data):
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 255, 256, 300, 1000])
def test_checksums_over_several_pieces(size):
    data = bytes((i * i + size) % 256 for i in range(size))
    assert checksum(data) == bit_by_bit(data)


@given(st.lists(st.binary(max_size=400), min_size=1, max_size=8))
def test_checksums_of_many_are_those_of_each(slices):
    data = np.frombuffer(b"".join(slices) + b"end", np.uint8)
    sizes = np.array([len(s) for s in slices])
    together = crc32c(data, np.cumsum(sizes) - sizes, sizes)
    assert together.tolist() == [bit_by_bit(s) for s in slices]


RECORDS = [b"", b"one", b"two" * 100, b"", b"x" * 5000, *(bytes([i]) for i in range(40))]


@pytest.mark.parametrize("batch", [1, 3, 2048])
def test_records_come_back(tmp_path, monkeypatch, batch):
    monkeypatch.setattr(tfrecord, "_BATCH", batch)
    path = write(tmp_path / "a", RECORDS)
    assert list(read_records(path)) == RECORDS
    for start, stop in [(0, 3), (2, 2), (4, None), (7, 33), (44, 60), (60, 70)]:
        assert list(read_records(path, start, stop)) == RECORDS[start:stop]


def test_an_empty_file_has_no_records(tmp_path):
    (tmp_path / "a").touch()
    assert list(read_records(tmp_path / "a")) == []


def test_tensorflow_reads_and_writes_the_same(tmp_path):
    import tensorflow as tf

    path = write(tmp_path / "ours", RECORDS)
    assert list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()) == RECORDS
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for each in RECORDS:
            writer.write(each)
    assert (tmp_path / "theirs").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("size", [1, 8, 11, 15, 20, 33])
def test_a_truncated_file_names_the_record(tmp_path, size):
    path = write(tmp_path / "a", [b"first", b"second"])
    path.write_bytes(path.read_bytes()[:-size])
    number = 1 if size < 22 else 0
    with pytest.raises(ValueError, match=rf"record {number} is damaged or cut off"):
        list(read_records(path))


@pytest.mark.parametrize("place", [0, 3, 7, 9, 13, 18])
def test_a_changed_byte_is_noticed(tmp_path, place):
    path = write(tmp_path / "a", [b"first", b"second"])
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="record 0 is damaged or cut off"):
        list(read_records(path))


def test_damage_in_skipped_records_does_not_matter(tmp_path):
    path = write(tmp_path / "a", [b"first", b"second"])
    data = bytearray(path.read_bytes())
    data[13] ^= 1
    path.write_bytes(bytes(data))
    assert list(read_records(path, 1)) == [b"second"]
