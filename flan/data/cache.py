"""Token caches: the tokenized examples of a source's training rows, on disk.

A folder with
  tokens.npy         int32 [tokens], x + EOS + y + EOS of each example, end to end
  offsets.npy        int64 [examples + 1], where each example begins, and the end of the last
  input_lengths.npy  int32 [examples], tokens of x with its EOS (all of a raw text's)
  template_ids.npy   int16 [examples], place of the template in the dataset's file, or -1
  row_ids.npy        int64 [examples], the row's number within its TFDS split
  manifest.json      what it is, how many rows it holds, how often, what was cut, and checksums
Example `rendering * num_rows + row` is a row in one of its renderings. Examples are written
in shards, which a killed writer keeps, and joined at the end. No TensorFlow here.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flan.data import atomic
from flan.data.cache_files import (
    MANIFEST,
    Kind,
    check_files,
    file_checksums,
    file_sizes,
    is_complete,
    read_array,
    read_manifest,
)
from flan.data.cache_keys import Identity, key_of
from flan.data.tokenization import Tokenized

SHARD_EXAMPLES = 16_384
ARRAYS: dict[str, type[np.generic]] = {
    "tokens": np.int32,
    "offsets": np.int64,
    "input_lengths": np.int32,
    "template_ids": np.int16,
    "row_ids": np.int64,
}
_COUNTS = ("cut_inputs", "cut_targets", "cut")
KIND = Kind("flan-tokens-1", ("num_rows", "renderings", "rows_found", *_COUNTS))


class TaskCache:
    """Reads a token cache; `tokens` is memory-mapped.

    Attributes:
      path: its folder.
      manifest: `manifest.json`.
      tokens, offsets, input_lengths, template_ids, row_ids: arrays, see the module.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]):
        self.path = path
        self.manifest = manifest
        arrays = {
            name: read_array(path / f"{name}.npy", dtype, mapped=name == "tokens")
            for name, dtype in ARRAYS.items()
        }
        self.tokens, self.offsets = arrays["tokens"], arrays["offsets"]
        self.input_lengths = arrays["input_lengths"]
        self.template_ids, self.row_ids = arrays["template_ids"], arrays["row_ids"]
        if problem := self._problem():
            raise ValueError(f"{path}: {problem}; delete the folder and run `flan prepare`")

    @classmethod
    def open(cls, path: str | Path) -> TaskCache:
        """Opens a cache and checks that its arrays fit together.

        Raises:
          FileNotFoundError: no complete cache at `path`.
          ValueError: another kind of folder, a truncated, changed or foreign file.
        """
        path = Path(path)
        manifest = read_manifest(path, KIND)
        check_files(path, manifest, (f"{name}.npy" for name in ARRAYS))
        return cls(path, manifest)

    def _problem(self) -> str:
        examples = len(self.input_lengths)
        if self.num_rows * self.renderings != examples:
            return (
                f"{self.num_rows} rows in {self.renderings} renderings are promised, and "
                f"{examples} examples are there"
            )
        if len(self.offsets) != examples + 1:
            return f"{len(self.offsets)} offsets for {examples} examples"
        if {len(self.template_ids), len(self.row_ids)} != {examples}:
            return "its arrays differ in length"
        lengths = np.diff(self.offsets)
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.tokens) or (lengths < 1).any():
            return "its offsets lead outside its tokens"
        if examples and not ((self.input_lengths >= 1) & (self.input_lengths <= lengths)).all():
            return "its input lengths do not fit its examples"
        return ""

    def __len__(self) -> int:
        return len(self.input_lengths)

    @property
    def fingerprint(self) -> str:
        """Names the content: other examples, other fingerprint."""
        return str(self.manifest["key"])

    @property
    def num_rows(self) -> int:
        """Rows of the source, filters passed."""
        return self.manifest["num_rows"]

    @property
    def renderings(self) -> int:
        """Times that each row is there, phrased anew."""
        return self.manifest["renderings"]

    @property
    def rows_found(self) -> int:
        """Rows of the source before the filters."""
        return self.manifest["rows_found"]

    @property
    def num_cut(self) -> int:
        """Examples that were over a length limit and lost their tail."""
        return self.manifest["cut"]

    @property
    def shards(self) -> Sequence[TaskCache]:
        """Itself: the arrays in the parts that `flan.data.pool` reads."""
        return (self,)

    def example(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs with EOS and targets with EOS of an example, int32 views."""
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        start, end = self.offsets[index], self.offsets[index + 1]
        middle = start + self.input_lengths[index]
        return self.tokens[start:middle], self.tokens[middle:end]


class TaskCacheWriter:
    """Writes a token cache shard by shard, in any order and by several processes.

    Args:
      path: the cache's folder.
      identity: what it is (`cache_keys`).
      num_rows, rows_found: rows after and before the filters.
      renderings: times that each row is written.
      shard_examples: examples of a shard.

    A shard is there whole or not at all, so whoever goes on after a kill only writes the
    `missing()` ones. `finish` joins them and puts the folder in its place.
    """

    def __init__(
        self,
        path: Path,
        identity: Identity,
        num_rows: int,
        rows_found: int,
        renderings: int,
        shard_examples: int = SHARD_EXAMPLES,
    ):
        self.path = path
        self.partial = path.parent / f".{path.name}.partial"
        self._identity = identity
        self._counts = {"num_rows": num_rows, "rows_found": rows_found, "renderings": renderings}
        total = num_rows * renderings
        self.shards = [
            range(start, min(start + shard_examples, total))
            for start in range(0, total, shard_examples)
        ]

    @property
    def done(self) -> bool:
        """Whether the cache is complete; ValueError for another one in its place."""
        return is_complete(self.path, KIND)

    def missing(self) -> list[int]:
        """Numbers of the shards to write."""
        if self.done:
            return []
        return [i for i in range(len(self.shards)) if not self.has(i)]

    def has(self, number: int) -> bool:
        """Whether a shard of the unfinished cache is written."""
        return self._shard_path(number).is_file()

    def write_shard(
        self,
        number: int,
        batches: Iterable[Tokenized],
        template_ids: Sequence[int],
        row_ids: Sequence[int] | np.ndarray,
    ) -> None:
        """Writes the examples `shards[number]`, given in order as batches of any size."""
        parts = list(batches)
        arrays = {
            "tokens": _join([p.tokens for p in parts], np.int32),
            "lengths": _join([p.lengths for p in parts], np.int64),
            "input_lengths": _join([p.input_lengths for p in parts], np.int32),
            "template_ids": np.asarray(template_ids, np.int16),
            "row_ids": np.asarray(row_ids, np.int64),
            "counts": np.array([sum(getattr(p, c) for p in parts) for c in _COUNTS], np.int64),
        }
        sizes = {len(arrays[k]) for k in ("lengths", "input_lengths", "template_ids", "row_ids")}
        assert sizes == {len(self.shards[number])}
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        self.partial.mkdir(parents=True, exist_ok=True)
        atomic.write_file(self._shard_path(number), content.getvalue())

    def finish(self) -> TaskCache:
        """Joins the shards into the cache and opens it.

        Raises ValueError for a shard that cannot be read; it is deleted, so that running
        again writes it anew. A full disk leaves the shards and no cache.
        """
        try:
            if not self.done:
                self._put_in_place()
        except (ValueError, OSError):
            if not self.done:
                raise
            # Another process finished it and removed the shards under our hands.
        self.clean()
        return TaskCache.open(self.path)

    def _put_in_place(self) -> None:
        with atomic.new_folder(self.path, is_whole=lambda p: is_complete(p, KIND)) as folder:
            counts = self._write_arrays(folder)
            manifest = {
                "format": KIND.format,
                "key": key_of(self._identity),
                "identity": self._identity,
                **self._counts,
                **dict(zip(_COUNTS, counts, strict=True)),
                "files": file_sizes(folder),
                "sha256": file_checksums(folder),
            }
            atomic.write_json(folder / MANIFEST, manifest, sync=True)

    def clean(self) -> None:
        """Removes the shards of a finished cache, which a kill may have left."""
        shutil.rmtree(self.partial, ignore_errors=True)

    def _write_arrays(self, folder: Path) -> list[int]:
        shards = [self._read_shard(i) for i in range(len(self.shards))]
        lengths = _join([s["lengths"] for s in shards], np.int64)
        np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
        for name in ("input_lengths", "template_ids", "row_ids"):
            np.save(folder / f"{name}.npy", _join([s[name] for s in shards], ARRAYS[name]))
        with (folder / "tokens.npy").open("wb") as file:
            shape = (int(lengths.sum()),)
            header = {"descr": "<i4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for shard in shards:
                file.write(shard["tokens"].tobytes())
        return np.sum([[0] * len(_COUNTS), *(s["counts"] for s in shards)], axis=0).tolist()

    def _read_shard(self, number: int) -> Any:
        """The shard's arrays, each read when it is asked for."""
        path = self._shard_path(number)
        try:
            shard = np.load(path, allow_pickle=False)
            if len(shard["row_ids"]) != len(self.shards[number]):
                raise ValueError(f"{len(shard['row_ids'])} examples")
        except Exception as error:  # zipfile, NumPy and the file system each have their own
            path.unlink(missing_ok=True)
            raise ValueError(
                f"{path} was damaged ({error}) and is deleted: run `flan prepare` again"
            ) from error
        return shard

    def _shard_path(self, number: int) -> Path:
        return self.partial / f"shard-{number:05d}.npz"


def _join(arrays: Sequence[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *arrays])
