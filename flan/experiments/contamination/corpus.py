"""Reads a text corpus in normalized blocks, whatever its size.

*.txt         one document a file
*.jsonl       one JSON object a line; its text is in a field, `text` by default
*.txt.gz, *.jsonl.gz
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from flan.data.grams import BLOCK_BYTES, DOCUMENT_END, N, normalize, pack, words

_TAIL_BYTES = 1024
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")  # no UTF-8 has such bytes
_SUFFIXES = (".txt", ".jsonl", ".json", ".txt.gz", ".jsonl.gz", ".json.gz")


def find_files(places: Sequence[str | Path]) -> list[Path]:
    """The corpus files among files and folders, sorted within a folder.

    Raises:
      FileNotFoundError: a place that is not there, or a folder without such files.
      ValueError: a file of another kind.
    """
    found: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            inside = sorted(p for p in place.rglob("*") if p.is_file() and _is_corpus(p))
            if not inside:
                raise FileNotFoundError(f"{place} has no files that end in {', '.join(_SUFFIXES)}")
            found += inside
        elif not place.is_file():
            raise FileNotFoundError(f"no corpus at {place}")
        elif not _is_corpus(place):
            raise ValueError(f"{place}: a corpus file ends in {', '.join(_SUFFIXES)}")
        else:
            found.append(place)
    return list(dict.fromkeys(found))


def blocks(
    path: Path,
    field: str = "text",
    n: int = N,
    on_bytes: Callable[[int], object] = lambda read: None,
) -> Iterator[bytes]:
    """A file as normalized blocks, so that every n-gram of a document is whole in one of them.

    Args:
      path: a corpus file.
      field: of a JSON line, where its text is.
      n: words of a gram.
      on_bytes: called with the bytes of the file (compressed, if it is) read since its last
        call.

    Raises ValueError naming the file, and the line where it has lines, for one that is damaged.
    """
    with path.open("rb") as raw:
        counted = _Counted(raw, on_bytes)
        name = path.name.lower()
        zipped = name.endswith(".gz")
        file: IO[bytes] = gzip.GzipFile(fileobj=counted) if zipped else counted  # type: ignore[assignment]
        try:
            if name.removesuffix(".gz").endswith((".json", ".jsonl")):
                yield from pack(_json_texts(path, file, field))
            else:
                yield from _stream(path, file, n)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: damaged gzip file: {error}") from error


def _stream(path: Path, file: IO[bytes], n: int) -> Iterator[bytes]:
    """One long document: each block begins with the last n - 1 words of the one before it."""
    rest, before = b"", b""
    while data := file.read(BLOCK_BYTES):
        if data[:2] in _UTF16_MARKS or data.count(0) > len(data) // 4:
            raise ValueError(
                f"{path}: UTF-16, by its first bytes or its many zero bytes; expected UTF-8: "
                "convert it, with `iconv -f UTF-16 -t UTF-8`, say"
            )
        data = rest + data
        # Cut where no word is, and so no character: after the last white space.
        cut = max(data.rfind(b" "), data.rfind(b"\n")) + 1
        if not cut and len(data) < 4 * BLOCK_BYTES:
            rest = data
            continue
        cut = cut or len(data)
        rest = data[cut:]
        block = before + _clean(data[:cut])
        yield block
        before = _last_words(block, n - 1)
    if rest:
        yield before + _clean(rest)


def _last_words(block: bytes, count: int) -> bytes:
    """The end of a block with its last `count` words, or all of it."""
    length = _TAIL_BYTES
    while length < len(block):
        # The first word of a tail may be cut, and does not count.
        starts = words(block[-length:]).starts
        if len(starts) > count:
            return block[len(block) - length + starts[-count] :]
        length *= 8
    return block


def _clean(data: bytes) -> bytes:
    return normalize(data.decode("utf-8", "replace")).replace(DOCUMENT_END, b" ")


def _json_texts(path: Path, file: IO[bytes], field: str) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: not JSON: {error}") from error
        text = value.get(field) if isinstance(value, dict) else None
        if not isinstance(text, str):
            names = sorted(value)[:8] if isinstance(value, dict) else type(value).__name__
            raise ValueError(
                f"{path}, line {number}: no text in {field!r}; it has {names}. Give the field's name"
            )
        yield text


class _Counted(io.RawIOBase):
    """Passes reads on and tells how much was read."""

    def __init__(self, file: IO[bytes], on_bytes: Callable[[int], object]) -> None:
        self._file, self._on_bytes = file, on_bytes

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._on_bytes(len(data))
        return data

    def readline(self, size: int | None = -1) -> bytes:
        data = self._file.readline(-1 if size is None else size)
        self._on_bytes(len(data))
        return data


def _is_corpus(path: Path) -> bool:
    return path.name.lower().endswith(_SUFFIXES)
