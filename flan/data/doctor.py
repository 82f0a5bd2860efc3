"""Says of each dataset in a data folder whether it can be used, and what to do if not.

Looks at what TFDS wrote beside the rows, so it is quick and needs no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from flan.catalog import splits
from flan.catalog.dataset import Dataset, Source
from flan.catalog.registry import get_datasets
from flan.data.names import parse_task_name
from flan.data.tfds_folder import PreparedSource, Spec, read_source, read_spec, versions_found

State = Literal[
    "ready",
    "missing",
    "manual download",
    "wrong version",
    "schema differs",
    "incomplete",
    "other format",
    "too small",
]


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """The state of one source.

    Attributes:
      dataset, source, tfds_name: which one.
      state: `ready`, or what keeps it from being used.
      detail: what was found.
      remedy: what to do; empty where it is ready.
      sizes: rows of each TFDS split on disk.
      trains: whether training reads it (an evaluation-only source does not stop a mixture).
    """

    dataset: str
    source: str
    tfds_name: str
    state: State
    detail: str = ""
    remedy: str = ""
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    trains: bool = True


def diagnose(data_dir: str | Path, names: Iterable[str]) -> list[Diagnosis]:
    """The state of each source of the named datasets and clusters.

    Raises ValueError for an unknown name, FileNotFoundError where there is no such folder.
    """
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"no data folder at {folder}: give the one that TFDS wrote to")
    return [
        diagnose_source(folder, dataset, source)
        for dataset in get_datasets(names)
        for source in dataset.sources
    ]


def diagnose_source(folder: Path, dataset: Dataset, source: Source) -> Diagnosis:
    """The state of one source in an existing folder."""

    def result(
        state: State, detail: str = "", remedy: str = "", sizes: dict[str, int] | None = None
    ) -> Diagnosis:
        trains = source.train is not None
        return Diagnosis(
            dataset.name, source.name, source.tfds_name, state, detail, remedy, sizes or {}, trains
        )

    build = f"tfds build {source.tfds_name} --data_dir={folder}"
    rebuild = f"{build} --overwrite"
    try:
        prepared = read_source(folder, source)
        if prepared is None:
            return result(*_absent(folder, source, build))
        spec = read_spec(prepared.path)
    except ValueError as error:
        return result("incomplete", str(error), rebuild)
    if prepared.missing_files:
        first, count = prepared.missing_files[0], len(prepared.missing_files)
        return result("incomplete", f"lacks {first} ({count} files)", rebuild, prepared.sizes)
    if split := _unreadable_split(prepared):
        stored = [file for file, _ in prepared.shards[split]][:1] or "files"
        detail = (
            f"split {split!r} is stored as {stored} of a naming or format that flan does not read"
        )
        remedy = f"{rebuild} --file_format=tfrecord"
        return result("other format", detail, remedy, prepared.sizes)
    expected = expected_spec(source.tfds)
    if expected is not None and (differences := compare_specs(expected, spec)):
        return result("schema differs", "; ".join(differences), rebuild, prepared.sizes)
    for split in (source.train, source.validation, source.test):
        if split and split not in prepared.sizes:
            detail = f"has no split {split!r}; it has {sorted(prepared.sizes)}"
            return result("incomplete", detail, rebuild, prepared.sizes)
    plan = splits.plan_source(source, prepared.sizes, dataset.dev_size)
    empty = [
        name for name, rows in plan.items() if rows is None and (source.train or name == "test")
    ]
    if empty:
        rows = ", ".join(f"{k} {v}" for k, v in prepared.sizes.items())
        detail = f"too few rows ({rows}) for {' and '.join(empty)}"
        return result("too small", detail, rebuild, prepared.sizes)
    return result("ready", sizes=prepared.sizes)


def _absent(folder: Path, source: Source, build: str) -> tuple[State, str, str]:
    """State, detail and remedy of a source whose version folder is not there."""
    if others := versions_found(folder, source):
        return "wrong version", f"found {', '.join(others)}, needs {source.version}", build
    if source.manual:
        remedy = f"{source.manual} Then: {build} --manual_dir=<folder with the download>"
        return "manual download", "TFDS cannot download it by itself", remedy
    return "missing", f"nothing at {source.tfds}", build


def _unreadable_split(prepared: PreparedSource) -> str | None:
    """A split whose files are not TFRecord files that `flan.data.tfds_folder` can name."""
    for split, shards in prepared.shards.items():
        named = sum(rows for _, rows in shards) == prepared.sizes[split]
        if not named or any(".tfrecord" not in file for file, _ in shards):
            return split
    return None


@functools.cache
def _shipped_specs() -> dict[str, Spec]:
    path = Path(__file__).parent.parent / "catalog" / "features.json"
    return json.loads(path.read_text(encoding="utf-8"))


def expected_spec(tfds: str) -> Spec | None:
    """The features that `to_fields` was written for; None for a user's own source.

    They are kept in `flan/catalog/features.json`, which a test compares with the builders.
    """
    return _shipped_specs().get(tfds)


def compare_specs(expected: Spec, found: Spec) -> list[str]:
    """What differs, in words; empty where nothing does."""

    def shown(kind: str | list[str]) -> str:
        return (
            kind
            if isinstance(kind, str)
            else f"classes {', '.join(kind[:8])}{', ...' * (len(kind) > 8)}"
        )

    differences = [f"lacks {name!r}" for name in expected if name not in found]
    differences += [
        f"has {name!r}, which is not expected" for name in found if name not in expected
    ]
    for name in expected:
        if name in found and found[name] != expected[name]:
            differences.append(
                f"{name!r} is {shown(found[name])}, expected {shown(expected[name])}"
            )
    return differences


def blocking(mixture: str, diagnoses: Sequence[Diagnosis]) -> list[Diagnosis]:
    """What keeps a mixture from being built: its training sources that are not ready.

    Raises ValueError for a name that `flan.data.names` does not know.
    """
    wanted = parse_task_name(mixture).datasets
    return [d for d in diagnoses if d.dataset in wanted and d.trains and d.state != "ready"]
