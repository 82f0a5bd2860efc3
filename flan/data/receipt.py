"""The mixture receipt: what a mixture is made of, and what a run has really read of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

_HEADER = (
    "dataset",
    "found",
    "kept",
    "used",
    "rate",
    "share",
    "cut",
    "expected",
    "observed",
    "tokens",
    "targets",
    "epochs",
)


@dataclasses.dataclass(frozen=True)
class ReceiptLine:
    """One dataset.

    Attributes:
      dataset: its name.
      found: rows of its training slices, before filters; None where a stream does not say.
      kept: rows after the filters; None in a stream, as the next.
      used: rows after the cap.
      rate: weight in the mixture, `min(used, rate limit)`; 0 for a dataset without rows.
      probability: the rate's share.
      cut: examples of the caches that were over the length limits and lost their tail; None
        in a stream.
      expected: examples that the mixture gives it.
      observed: examples read; None before anything was counted, as the next three.
      tokens: of the observed examples.
      target_tokens: those of them with loss.
      epochs: observed examples over used rows.
    """

    dataset: str
    found: int | None
    kept: int | None
    used: int | None
    rate: float
    probability: float
    cut: int | None
    expected: float
    observed: int | None = None
    tokens: int | None = None
    target_tokens: int | None = None
    epochs: float | None = None


@dataclasses.dataclass(frozen=True)
class Receipt:
    """All datasets of a run.

    Attributes:
      cap: rows of a dataset at most; None where nothing is capped (raw text), or by the
        tasks themselves (a stream).
      rate_limit: rate of a dataset at most, or None.
      steps: gradient steps that `expected` and `observed` cover.
      lines: one for each dataset, in mixture order.
      density: non-padding part of the rows read; None before anything was counted.
    """

    cap: int | None
    rate_limit: int | None
    steps: int
    lines: tuple[ReceiptLine, ...]
    density: float | None = None

    @property
    def hash(self) -> str:
        """SHA-256 of what is mixed, in hex; what was observed, and for how long, is no part of it."""
        mixed = [[v.dataset, v.found, v.kept, v.used, v.rate, v.cut] for v in self.lines]
        content = json.dumps([self.cap, self.rate_limit, mixed])
        return hashlib.sha256(content.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {**dataclasses.asdict(self), "lines": self.to_rows(), "hash": self.hash}

    def to_rows(self) -> list[dict[str, Any]]:
        """The lines as plain values."""
        return [dataclasses.asdict(line) for line in self.lines]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Receipt:
        """The receipt that `to_json` gave; ValueError for anything else."""
        try:
            content = {key: value[key] for key in ("cap", "rate_limit", "steps", "density")}
            receipt = cls(lines=tuple(ReceiptLine(**line) for line in value["lines"]), **content)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a mixture receipt: {error}") from None
        if receipt.hash != value.get("hash"):
            raise ValueError("the hash of a mixture receipt does not match its lines")
        return receipt

    def table(self) -> str:
        """Fixed-width text: a line for each dataset, their sum, and what was left out."""
        rows = [_HEADER, *map(_cells, self.lines), _cells(_sum(self.lines))]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        rule = "-" * max(map(len, lines))
        text = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
        empty = [line.dataset for line in self.lines if not line.rate]
        if empty:
            text.append(f"without a usable row, so never drawn: {', '.join(empty)}")
        note = f"{self.steps:,} steps"
        if self.cap is not None and self.rate_limit is not None:
            note = f"cap {self.cap:,} rows, rate limit {self.rate_limit:,}, {note}"
        if self.density is not None:
            note += f", {self.density:.2%} of the tokens are not padding"
        return "\n".join([*text, note])


def _sum(lines: tuple[ReceiptLine, ...]) -> ReceiptLine:
    def total(name: str) -> Any:
        values = [getattr(line, name) for line in lines]
        return None if None in values else sum(values)

    names = [f.name for f in dataclasses.fields(ReceiptLine)[1:]]
    sums = {name: total(name) for name in names}
    return ReceiptLine(f"{len(lines)} datasets", **{**sums, "epochs": None})


def _cells(line: ReceiptLine) -> tuple[str, ...]:
    def count(value: float | None) -> str:
        if value is None:
            return ""
        return f"{value:,.4g}" if value % 1 else f"{int(value):,}"

    return (
        line.dataset,
        *map(count, (line.found, line.kept, line.used, line.rate)),
        f"{line.probability:.2%}",
        count(line.cut),
        f"{line.expected:,.1f}",
        *map(count, (line.observed, line.tokens, line.target_tokens)),
        "" if line.epochs is None else f"{line.epochs:.2f}",
    )
