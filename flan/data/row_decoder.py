"""Turns TFDS's serialized examples into plain Python rows, without TensorFlow.

TFDS stores a row as a `tf.train.Example`, a flat map from names like `choices/text` to
lists, and describes in `features.json` how they nest. The rows are those of
`tfds.as_numpy` with bytes as str, arrays as lists and NumPy scalars as int, float or bool.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from flan.data.tfds_folder import FEATURES_FILE, read_json

Decode = Callable[[bytes], Any]
_Lists = Mapping[str, Any]  # feature name -> tf.train.Feature
_Get = Callable[[_Lists], Any]
_FLAT, _LENGTHS = "ragged_flat_values", "ragged_row_lengths_"


def row_decoder(folder: Path) -> Decode:
    """The function from a serialized example to a row, for a TFDS version folder.

    Raises:
      ValueError: `features.json` is missing or has a type that is no text, number or label.
        The function raises it for bytes that are no such example.
    """
    if not (folder / FEATURES_FILE).is_file():
        raise ValueError(
            f"{folder} has no {FEATURES_FILE}: TFDS wrote it in an old form, prepare it again"
        )
    try:
        get = _getter(read_json(folder / FEATURES_FILE), "", ())
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / FEATURES_FILE}: not as TFDS writes it: {error!r}") from None
    parse = _example_class().FromString

    def decode(serialized: bytes) -> Any:
        try:
            return get(parse(serialized).features.feature)
        except Exception as error:  # protobuf's error is no ValueError
            raise ValueError(f"not an example of these features: {error}") from error

    return decode


def _getter(feature: dict[str, Any], name: str, dims: tuple[int, ...]) -> _Get:
    """What reads a feature out of an example's lists.

    `dims` are the lengths of the sequences around it, outermost first, -1 for any.
    """
    if "featuresDict" in feature:
        children = feature["featuresDict"]["features"]
        return _dict_getter(children, name, dims)
    if "translation" in feature:
        languages = feature["translation"]["languages"]
        return _dict_getter({language: {"text": {}} for language in languages}, name, dims)
    if "sequence" in feature:
        sequence = feature["sequence"]
        return _getter(sequence["feature"], name, (*dims, int(sequence.get("length", -1))))
    if "text" in feature:
        return _leaf_getter(name, dims, (), "string")
    if "classLabel" in feature:
        return _leaf_getter(name, dims, (), "int64")
    if "tensor" in feature and feature["tensor"].get("encoding", "none") == "none":
        tensor = feature["tensor"]
        shape = tuple(int(d) for d in tensor.get("shape", {}).get("dimensions", []))
        return _leaf_getter(name, dims, shape, tensor["dtype"])
    kind = str(feature.get("pythonClassName", "unknown")).rpartition(".")[2]
    raise ValueError(f"feature {name!r} is of type {kind}, which is no text, number or label")


def _dict_getter(children: dict[str, Any], name: str, dims: tuple[int, ...]) -> _Get:
    prefix = f"{name}/" if name else ""
    getters = [(key, _getter(child, prefix + key, dims)) for key, child in children.items()]

    def get(lists: _Lists) -> dict[str, Any]:
        return {key: child(lists) for key, child in getters}

    return get


def _leaf_getter(name: str, dims: tuple[int, ...], shape: tuple[int, ...], dtype: str) -> _Get:
    values = _values_getter(dtype)
    if len(dims) > 1:  # TFDS stores sequences of sequences flat, with their lengths
        flat = f"{name}/{_FLAT}"
        lengths = [f"{name}/{_LENGTHS}{level}" for level in range(len(dims) - 1)]

        def get_ragged(lists: _Lists) -> list[Any]:
            found = _nest(values(lists[flat]) if flat in lists else [], shape)
            for level in reversed(lengths):
                found = _split(found, lists[level].int64_list.value if level in lists else [])
            return found

        return get_ragged
    if dims or shape:

        def get_list(lists: _Lists) -> list[Any]:
            found = values(lists[name]) if name in lists else []
            return _nest(found, shape) if dims else _nest(found, shape[1:])

        return get_list

    list_of, convert = _LISTS[_kind(dtype)]

    def get_scalar(lists: _Lists) -> Any:
        feature = lists.get(name)
        if feature is None:
            raise ValueError(f"it lacks {name!r}")
        found = list_of(feature)
        if len(found) != 1:
            raise ValueError(f"{name!r} has {len(found)} values, expected one")
        return convert(found[0])

    return get_scalar


# What reads a feature's list, and what makes one of its values plain Python.
_LISTS: dict[str, tuple[Callable[[Any], Sequence[Any]], Callable[[Any], Any]]] = {
    "string": (operator.attrgetter("bytes_list.value"), bytes.decode),
    "bool": (operator.attrgetter("int64_list.value"), bool),
    "float": (operator.attrgetter("float_list.value"), float),
    "int": (operator.attrgetter("int64_list.value"), int),
}


def _kind(dtype: str) -> str:
    """The key of `_LISTS` for a TFDS dtype."""
    if dtype in ("string", "bool"):
        return dtype
    if dtype.startswith("float"):
        return "float"
    if dtype.startswith(("int", "uint")):
        return "int"
    raise ValueError(f"values of type {dtype!r} are no text, number or label")


def _values_getter(dtype: str) -> Callable[[Any], list[Any]]:
    list_of, convert = _LISTS[_kind(dtype)]
    return lambda feature: list(map(convert, list_of(feature)))


def _nest(values: list[Any], shape: Sequence[int]) -> list[Any]:
    """A flat list as a list of arrays of that shape, all but the outermost length known."""
    for size in reversed(shape):
        if size < 1 or len(values) % size:
            raise ValueError(f"{len(values)} values do not fill the shape {list(shape)}")
        values = [values[i : i + size] for i in range(0, len(values), size)]
    return values


def _split(values: list[Any], lengths: Sequence[int]) -> list[Any]:
    if sum(lengths) != len(values) or min(lengths, default=0) < 0:
        raise ValueError(f"{len(values)} values do not fill rows of lengths {list(lengths)}")
    rows, start = [], 0
    for length in lengths:
        rows.append(values[start : start + length])
        start += length
    return rows


@functools.cache
def _example_class() -> Any:
    """The protobuf class of `tf.train.Example`, in a pool of its own beside TensorFlow's."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="flan/example.proto", syntax="proto3")

    def message(name: str) -> Any:
        return file.message_type.add(name=name)

    def add(to: Any, name: str, number: int, kind: int, label: int, of: str = "") -> Any:
        type_name = f".{of}" if of else None
        return to.field.add(name=name, number=number, type=kind, label=label, type_name=type_name)

    one, many, inner = field.LABEL_OPTIONAL, field.LABEL_REPEATED, field.TYPE_MESSAGE
    kinds = {
        "BytesList": field.TYPE_BYTES,
        "FloatList": field.TYPE_FLOAT,
        "Int64List": field.TYPE_INT64,
    }
    for name, kind in kinds.items():
        add(message(name), "value", 1, kind, many)
    feature = message("Feature")
    for number, name in enumerate(kinds, 1):
        add(feature, name.replace("List", "_list").lower(), number, inner, one, name)
    features = message("Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    add(entry, "key", 1, field.TYPE_STRING, one)
    add(entry, "value", 2, inner, one, "Feature")
    add(features, "feature", 1, inner, many, "Features.FeatureEntry")
    add(message("Example"), "features", 1, inner, one, "Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Example"))
