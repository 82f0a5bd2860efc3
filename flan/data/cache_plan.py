"""Which caches a request needs, and where they lie."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan.catalog.dataset import TRAIN_CAP, Dataset, Source
from flan.catalog.registry import get_dataset, get_datasets
from flan.catalog.splits import SPLITS
from flan.data.cache import KIND as TOKENS
from flan.data.cache_files import is_complete, read_manifest
from flan.data.cache_keys import TOKENS_VERSION, Identity, cache_folder
from flan.data.found_rows import find_cached_rows
from flan.data.phrasing import Phraser
from flan.data.row_cache import KIND as ROWS
from flan.data.rows import SourceReader, UnusableSource, check_data_dir
from flan.data.tokenization import INPUT_LENGTH, TARGET_LENGTH, check_lengths
from flan.data.vocabulary import load_vocabulary
from flan.suggest import unknown_name
from flan.templates.load import load_templates
from flan.templates.renderings import parse_rendering

_TOLD_IN_FULL = 5  # sources that are missing; of more, only their names


@dataclasses.dataclass(frozen=True)
class Request:
    """What is to be prepared.

    Attributes:
      datasets: names of datasets and clusters.
      cache_dir: where caches lie.
      data_dir: the TFDS folder; None finds what is cached already.
      splits: of train, dev and test; the rows of each are cached, once if one is named twice.
      vocabulary: path of the vocabulary that the train split is tokenized with; None
        caches rows only.
      rendering: how examples are phrased (`flan.templates.renderings`).
      template: id of the only template to use, for a single dataset; all by default.
      num_templates: use the first so many templates of each dataset; None uses all.
      input_length, target_length: tokens at most, EOS included.
      epochs: times that each row is rendered, through another template each time until
        all had their turn.
      rate: rows that a mixture draws from a larger dataset while it draws each row of a
        smaller one once (`flan.data.mixture`). Larger datasets are rendered that much
        less often; None renders all alike.
      seed: of the choice of templates and exemplars.
      cap: rows of each source's train split at most.
      skip_missing: leave out sources that are not there, instead of refusing.

    Raises:
      ValueError: unknown name of anything, or a number that makes no sense.
    """

    datasets: tuple[str, ...]
    cache_dir: Path
    data_dir: Path | None = None
    splits: tuple[str, ...] = SPLITS
    vocabulary: Path | None = None
    rendering: str = "instructions"
    template: str | None = None
    num_templates: int | None = None
    input_length: int = INPUT_LENGTH
    target_length: int = TARGET_LENGTH
    epochs: int = 1
    rate: int | None = None
    seed: int = 0
    cap: int = TRAIN_CAP
    skip_missing: bool = False

    def __post_init__(self) -> None:
        if not self.splits:
            raise ValueError(f"no splits are asked for; name some of {', '.join(SPLITS)}")
        object.__setattr__(self, "splits", tuple(dict.fromkeys(self.splits)))
        for split in self.splits:
            if split not in SPLITS:
                raise ValueError(unknown_name("split", split, SPLITS))
        for name in ("epochs", "cap", "rate", "num_templates"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")
        check_lengths(self.input_length, self.target_length)
        parse_rendering(self.rendering)
        if self.template is not None and len(get_datasets(self.datasets)) != 1:
            raise ValueError(
                f"template {self.template!r} belongs to one dataset, and {len(self.datasets)} "
                "are to be prepared"
            )
        if self.template is not None:
            load_templates(get_datasets(self.datasets)[0].name).get(self.template)

    def phraser(self, dataset: Dataset) -> Phraser:
        """What phrases the training rows of a dataset."""
        return Phraser(
            dataset,
            self.rendering,
            seed=self.seed,
            template=self.template,
            num_templates=self.num_templates,
        )


@dataclasses.dataclass(frozen=True)
class RowsItem:
    """The rows of a source's split; `size` are those found on disk, before filters."""

    dataset: str
    source: str
    split: str
    path: Path
    size: int

    @property
    def done(self) -> bool:
        """Whether the cache is complete; ValueError for another one in its place."""
        return is_complete(self.path, ROWS)


@dataclasses.dataclass(frozen=True)
class TokensItem:
    """The tokenized train split of a source; `exemplars` are the row caches to draw from."""

    dataset: str
    source: str
    path: Path
    identity: Identity
    rows: Path
    exemplars: tuple[Path, ...]
    num_rows: int
    rows_found: int
    renderings: int

    @property
    def done(self) -> bool:
        """Whether the cache is complete; ValueError for another one in its place."""
        return is_complete(self.path, TOKENS)


def plan_rows(request: Request) -> tuple[list[RowsItem], dict[tuple[str, str], str]]:
    """The row caches of a request, and why (dataset, source) are left out.

    Raises:
      FileNotFoundError: no data folder, no vocabulary.
      UnusableSource: a source is not there, and the request does not skip such.
      ValueError: unknown dataset, damaged vocabulary.
    """
    if request.vocabulary is not None:
        load_vocabulary(request.vocabulary)  # one that cannot be read is said before any work
    if request.data_dir is not None:
        check_data_dir(request.data_dir)
    items: list[RowsItem] = []
    missing: dict[tuple[str, str], str] = {}
    for dataset in get_datasets(request.datasets):
        for source in _needed(dataset, request.splits):
            try:
                items += _source_rows(request, dataset, source)
            except UnusableSource as error:
                missing[dataset.name, source.name] = str(error)
    if missing and (not request.skip_missing or not items):
        reasons = missing_text(missing)
        hint = "\nOr go on without them: --skip_missing (`flan train`: --gin.ON_MISSING=skip)"
        hint = "" if request.skip_missing else hint
        raise UnusableSource(f"{len(missing)} of the sources cannot be used:\n{reasons}{hint}")
    return items, missing


def missing_text(missing: Mapping[tuple[str, str], str]) -> str:
    """Why each (dataset, source) is left out; of many their names, and where to ask."""
    if len(missing) <= _TOLD_IN_FULL:
        return "\n".join(f"- {reason}" for reason in missing.values())
    names = ", ".join(dict.fromkeys(dataset for dataset, _ in missing))
    (_, first), *_ = missing.items()
    return (
        f"- {names}\nThe first: {first}\n`flan doctor NAMES --data_dir DIR` says of each what it "
        "lacks and how to get it"
    )


def plan_tokens(request: Request, rows: Sequence[RowsItem]) -> list[TokensItem]:
    """The token caches of a request whose train rows are cached.

    Raises ValueError for an unknown template or a vocabulary that cannot be read.
    """
    if request.vocabulary is None:
        return []
    vocabulary = load_vocabulary(request.vocabulary)
    train: dict[str, list[tuple[RowsItem, dict[str, Any]]]] = {}
    for item in rows:
        if item.split == "train":
            manifest = read_manifest(item.path, ROWS)
            train.setdefault(item.dataset, []).append((item, manifest))
    tokens = []
    for name, sources in train.items():
        dataset = get_dataset(name)
        phraser = request.phraser(dataset)
        shots = phraser.rendering.shots
        exemplars = sources if shots else []
        renderings = _renderings(request, phraser, sum(m["kept"] for _, m in sources))
        for item, manifest in sources:
            identity = {
                "version": TOKENS_VERSION,
                "dataset": name,
                "source": item.source,
                "split": "train",
                "rows": manifest["key"],
                "vocabulary": vocabulary.fingerprint,
                "input_length": request.input_length,
                "target_length": request.target_length,
                "renderings": renderings,
                "exemplars": [m["key"] for _, m in exemplars],
                **phraser.identity(),
            }
            tokens.append(
                TokensItem(
                    name,
                    item.source,
                    cache_folder(request.cache_dir, "tokens", identity),
                    identity,
                    item.path,
                    tuple(i.path for i, _ in exemplars),
                    manifest["kept"],
                    manifest["found"],
                    renderings,
                )
            )
    return tokens


def _needed(dataset: Dataset, splits: Iterable[str]) -> list[Source]:
    """Sources with something in one of the splits; an evaluation source has no train or dev."""
    only_train = set(splits) == {"train"}
    return [s for s in dataset.sources if s.train is not None or not only_train]


def _source_rows(request: Request, dataset: Dataset, source: Source) -> list[RowsItem]:
    if request.data_dir is None:
        found = find_cached_rows(
            request.cache_dir,
            dataset,
            source,
            request.splits,
            request.cap,
            needs_train=request.vocabulary is not None,
        )
        return [
            RowsItem(dataset.name, source.name, split, path, size)
            for split, (path, size) in found.items()
        ]
    reader = SourceReader(request.data_dir, dataset, source, request.cap)
    items = []
    for split in request.splits:
        if (piece := reader.plan[split]) is not None:
            path = cache_folder(request.cache_dir, "rows", reader.identity(split))
            items.append(RowsItem(dataset.name, source.name, split, path, len(piece)))
    return items


def _renderings(request: Request, phraser: Phraser, rows: int) -> int:
    if not phraser.varies:
        return 1
    if request.rate is None or rows <= request.rate:
        return request.epochs
    return math.ceil(request.epochs * request.rate / rows)
