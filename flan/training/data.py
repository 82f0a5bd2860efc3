"""A run's data, from its settings: caches are made where they are missing, then opened."""

from __future__ import annotations

import abc
import dataclasses
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from flan import folders
from flan.catalog.dataset import TRAIN_CAP
from flan.catalog.registry import get_dataset
from flan.data.batch import row_length
from flan.data.cache_plan import Request, missing_text
from flan.data.dev_examples import DevExamples, dev_examples
from flan.data.loader import HostRows, TrainData, open_train_data
from flan.data.mixture import RATE_LIMIT, share_out
from flan.data.names import TaskName, parse_task_name
from flan.data.phrasing import Phraser
from flan.data.prepare import Prepared, ensure_prepared
from flan.data.row_prints import SourcePrints, train_prints
from flan.data.text import TextData as TextBatches
from flan.data.tokenization import check_lengths
from flan.data.vocabulary import DEFAULT_SIZE, load_vocabulary
from flan.data.vocabulary_training import ensure_vocabulary
from flan.templates.load import load_templates
from flan.templates.renderings import parse_rendering
from flan.training.training_data import Reading, UsedRows, reading_of

log = logging.getLogger("flan")

FEATURE_LENGTHS = {"inputs": 1024, "targets": 256}
# The loader cuts documents into rows; this only bounds a broken one.
_WHOLE_DOCUMENT = 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class _TfdsData(abc.ABC):
    """Settings that all kinds of data share.

    Attributes:
      feature_lengths: tokens of `inputs` and `targets` at most, EOS included. Their sum is
        the length of a row.
      data_dir: the TFDS folder; by default TFDS's own.
      cache_dir: where caches go; by default $FLAN_CACHE_DIR or ~/.cache/flan.
      on_missing: `error` refuses a mixture with a dataset that is not on disk, `skip`
        leaves it out, loudly, and records that in the receipt.
      vocab_size: of a vocabulary trained on the data, where no other is given.
    """

    feature_lengths: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: dict(FEATURE_LENGTHS)
    )
    data_dir: str | None = None
    cache_dir: str | None = None
    on_missing: Literal["error", "skip"] = "error"
    vocab_size: int = DEFAULT_SIZE

    def __post_init__(self) -> None:
        lengths = self.feature_lengths
        if (
            not isinstance(lengths, Mapping)
            or set(lengths) != {"inputs", "targets"}
            or any(type(length) is not int for length in lengths.values())
        ):
            raise ValueError(
                "TASK_FEATURE_LENGTHS must give 'inputs' and 'targets', as in "
                f"{FEATURE_LENGTHS}; got {lengths!r}"
            )
        check_lengths(self.feature_lengths["inputs"], self.feature_lengths["targets"])
        if self.task.template is not None:
            load_templates(self.task.datasets[0]).get(self.task.template)
        if self.on_missing not in ("error", "skip"):
            raise ValueError(f"ON_MISSING must be 'error' or 'skip', got {self.on_missing!r}")

    @property
    def row_length(self) -> int:
        """Tokens of a row: the two feature lengths together."""
        return sum(self.feature_lengths.values())

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What is asked for."""

    @property
    def task(self) -> TaskName:
        """The name, understood."""
        return parse_task_name(self.name)

    def vocabulary(self, folder: str | None) -> Path:
        """`folder` if given, else the vocabulary of the training rows, trained if need be."""
        if folder is not None:
            path = Path(folder).expanduser()
            load_vocabulary(path)  # refuses a missing or damaged one
            return path
        return ensure_vocabulary(
            self.task.datasets,
            folders.cache_dir(self.cache_dir),
            folders.data_dir(self.data_dir),
            self.vocab_size,
            skip_missing=self.on_missing == "skip",
        )

    def open_dev(self, vocabulary_dir: Path, rows: int, seed: int) -> DevExamples | None:
        """At most `rows` dev rows of each dataset; None where there are none."""
        rendering, num_templates = self._dev_phrasing
        shots = parse_rendering(rendering).shots
        prepared = ensure_prepared(
            Request(
                self.task.datasets,
                folders.cache_dir(self.cache_dir),
                folders.data_dir(self.data_dir),
                splits=("train", "dev") if shots else ("dev",),
                skip_missing=self.on_missing == "skip",
            )
        )
        whole = rendering == "text"
        return dev_examples(
            prepared,
            self.task.datasets,
            load_vocabulary(vocabulary_dir),
            rendering=rendering,
            template=self.task.template,
            num_templates=num_templates,
            input_length=self.row_length if whole else self.feature_lengths["inputs"],
            target_length=self.feature_lengths["targets"],
            limit=rows,
            seed=seed,
        )

    @property
    def _cap(self) -> int | None:
        """Rows of a dataset that may be drawn at most; None for all that are prepared."""
        return None

    @property
    @abc.abstractmethod
    def _dev_phrasing(self) -> tuple[str, int | None]:
        """The rendering of dev rows, and how many templates of each dataset it uses."""

    def reading(self, steps: int, fingerprint: str, stream: bool = False) -> Reading:
        """What a run of so many steps reads.

        Args:
          steps: gradient steps.
          fingerprint: of the opened data.
          stream: read the rows in the data folder, and prepare no cache of them.
        """
        rendering, _ = self._dev_phrasing
        return reading_of(
            self._used(stream),
            data="text" if rendering == "text" else "instructions",
            mixture=self.name,
            rendering=rendering,
            steps=steps,
            fingerprint=fingerprint,
        )

    def _used(self, stream: bool) -> Iterator[UsedRows]:
        """The rows that may be drawn, and the templates that phrase them."""
        rendering, num_templates = self._dev_phrasing
        cap = self._cap
        request = Request(
            self.task.datasets,
            folders.cache_dir(self.cache_dir),
            folders.data_dir(self.data_dir),
            skip_missing=self.on_missing == "skip",
            cap=cap or TRAIN_CAP,
        )
        sources: dict[str, list[SourcePrints]] = {}
        for rows in train_prints(request, stream):
            sources.setdefault(rows.dataset, []).append(rows)
        for name, found in sources.items():
            phraser = Phraser(
                get_dataset(name),
                rendering,
                template=self.task.template,
                num_templates=num_templates,
            )
            templates = phraser.templates if phraser.rendering.uses_templates else ()
            used = [len(rows.ids) for rows in found]
            # Exemplars are drawn from all rows, whatever a mixture's cap.
            if cap and not phraser.rendering.shots:
                if stream:  # its cap falls on the rows found, see `flan.data.seqio_source`
                    heads = share_out(cap, [rows.found for rows in found])
                    pairs = zip(found, heads, strict=True)
                    used = [int((rows.ids < head).sum()) for rows, head in pairs]
                else:
                    used = list(share_out(cap, used))
            for rows, count in zip(found, used, strict=True):
                yield UsedRows(rows, count, tuple(t.id for t in templates))

    def _prepare(self, vocabulary_dir: Path, rendering: str, **settings: Any) -> Prepared:
        prepared = ensure_prepared(
            Request(
                self.task.datasets,
                folders.cache_dir(self.cache_dir),
                folders.data_dir(self.data_dir),
                splits=("train",),
                vocabulary=vocabulary_dir,
                rendering=rendering,
                template=self.task.template,
                skip_missing=self.on_missing == "skip",
                **settings,
            )
        )
        if prepared.missing:
            log.warning("LEFT OUT:\n%s", missing_text(prepared.missing))
            log.warning(
                "*** %d sources are not on disk: the run trains WITHOUT them (ON_MISSING='skip'). "
                "Datasets with no other source stand in receipt.json at rate 0 ***",
                len(prepared.missing),
            )
        return prepared


@dataclasses.dataclass(frozen=True, kw_only=True)
class InstructionData(_TfdsData):
    """Instruction examples, mixed in proportion to their numbers, packed.

    Attributes:
      mixture: names of mixtures, tasks, datasets or clusters, joined by commas.
      cap: rows of a dataset that may be drawn at most.
      rate: rows that count for a dataset's share at most.
      renderings: times that a row is phrased anew before a text repeats.
      num_templates: use the first so many templates of each dataset; None uses all.
    """

    mixture: str
    cap: int = TRAIN_CAP
    rate: int = RATE_LIMIT
    renderings: int = 10
    num_templates: int | None = None

    @property
    def name(self) -> str:
        """The mixture's."""
        return self.mixture

    @property
    def _dev_phrasing(self) -> tuple[str, int | None]:
        return self.task.rendering.name, self.num_templates

    @property
    def _cap(self) -> int | None:
        return self.cap

    def open(
        self,
        vocabulary_dir: Path,
        batch_size: int,
        steps: int,
        seed: int,
        host: int,
        hosts: int,
        prefix: tuple[int, ...] = (),
    ) -> TrainData:
        """Prepares what is missing and opens it; raises as `ensure_prepared` and the loader do.

        Rows have room for `prefix` beside an example, see `flan.data.batch.row_length`.
        """
        prepared = self._prepare(
            vocabulary_dir,
            self.task.rendering.name,
            input_length=self.feature_lengths["inputs"],
            target_length=self.feature_lengths["targets"],
            epochs=self.renderings,
            num_templates=self.num_templates,
            rate=self.rate,
            cap=self.cap,
            seed=seed,
        )
        opened = prepared.open_tokens()
        vocabulary = load_vocabulary(vocabulary_dir)
        # A dataset that was left out stays in the receipt, with no rows.
        caches = {name: opened.get(name, []) for name in self.task.datasets}
        data = open_train_data(
            self.task.datasets,
            caches,
            batch_size=batch_size,
            length=row_length(self.row_length, len(prefix)),
            steps=steps,
            seed=seed,
            cap=self.cap,
            rate=self.rate,
            host=host,
            num_hosts=hosts,
            plan_dir=folders.cache_dir(self.cache_dir) / "plans",
            bos_id=vocabulary.bos_id,
            vocab_size=vocabulary.vocab_size,
            prefix=prefix,
        )
        log.info("%s", data.receipt.table())
        return data


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextData(_TfdsData):
    """Raw text for pretraining: the plain content of training rows, answers left out.

    Attributes:
      datasets: names of datasets, clusters or mixtures, joined by commas.
    """

    datasets: str

    @property
    def name(self) -> str:
        """The datasets'."""
        return self.datasets

    @property
    def _dev_phrasing(self) -> tuple[str, int | None]:
        return "text", None

    def open(
        self,
        vocabulary_dir: Path,
        batch_size: int,
        steps: int,
        seed: int,
        host: int,
        hosts: int,
        prefix: tuple[int, ...] = (),
    ) -> TextBatches:
        """Prepares what is missing and opens it; raises as `ensure_prepared` and the loader do.

        Raises ValueError for a prefix: raw text runs from row to row.
        """
        if prefix:
            raise ValueError(
                "a soft prompt stands before examples, and raw text has none: tune it with "
                "--gin_file=configs/runs/finetune.gin"
            )
        prepared = self._prepare(vocabulary_dir, "text", input_length=_WHOLE_DOCUMENT)
        opened = prepared.open_tokens()
        vocabulary = load_vocabulary(vocabulary_dir)
        data = TextBatches(
            {name: opened.get(name, []) for name in self.task.datasets},
            HostRows(batch_size, steps, host, hosts),
            length=self.row_length,
            seed=seed,
            bos_id=vocabulary.bos_id,
            vocab_size=vocabulary.vocab_size,
        )
        log.info("%s", data.receipt.table())
        return data
