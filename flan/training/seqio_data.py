"""A run's data straight from a seqio task or mixture (`DATA = 'seqio'`), from its settings."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flan import folders
from flan.catalog.dataset import TRAIN_CAP
from flan.data.dev_examples import DevExamples
from flan.data.mixture import RATE_LIMIT
from flan.data.names import parse_task_name
from flan.data.phrasing import option_sets
from flan.data.seqio_batches import SeqioBatches, task_vocabulary
from flan.data.seqio_request import StreamRequest
from flan.data.training_record import ReadRun
from flan.data.vocabulary import DEFAULT_SIZE, check_round_trip, load_vocabulary
from flan.suggest import unknown_name
from flan.training.data import FEATURE_LENGTHS, InstructionData
from flan.training.training_data import Reading

log = logging.getLogger("flan")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeqioData:
    """Examples of a seqio task or mixture, packed as they come.

    Another process reads them, so that no TensorFlow gets into this one.

    Attributes:
      mixture: name of a seqio task or mixture, one of ours or one that `modules` register;
        of ours also datasets and clusters, joined by commas.
      modules: Python modules to import first, which register tasks; one name, several
        joined by commas, or a list.
      feature_lengths: tokens of `inputs` and `targets` at most, or of `targets` alone for a
        task that has no inputs. Their sum is the length of a row.
      data_dir: the TFDS folder; by default TFDS's own.
      cache_dir: where a vocabulary goes that has to be made.
      on_missing: `error` refuses a mixture of ours with a dataset that is not on disk,
        `skip` leaves it out, loudly.
      vocab_size: of a vocabulary trained on the data, where no other is given.
      cap, rate, num_templates: of our tasks, as `InstructionData` has them.
      shuffle: whether seqio shuffles the examples.
      use_cached: whether seqio reads its own offline caches.
    """

    mixture: str
    modules: str | tuple | list = ()
    feature_lengths: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: dict(FEATURE_LENGTHS)
    )
    data_dir: str | None = None
    cache_dir: str | None = None
    on_missing: str = "error"
    vocab_size: int = DEFAULT_SIZE
    cap: int = TRAIN_CAP
    rate: int = RATE_LIMIT
    num_templates: int | None = None
    shuffle: bool = True
    use_cached: bool = False

    def __post_init__(self) -> None:
        lengths = self.feature_lengths
        if (
            not isinstance(lengths, Mapping)
            or set(lengths) not in ({"inputs", "targets"}, {"targets"})
            or any(type(length) is not int or length < 2 for length in lengths.values())
        ):
            raise ValueError(
                f"TASK_FEATURE_LENGTHS must give 'inputs' and 'targets', as in {FEATURE_LENGTHS}, "
                f"or 'targets' alone, and 2 or more of each; got {lengths!r}"
            )
        if self.on_missing not in ("error", "skip"):
            raise ValueError(f"ON_MISSING must be 'error' or 'skip', got {self.on_missing!r}")
        if self._ours:
            self._instructions()  # refuses what ours refuse
        elif not self.module_names:
            try:
                parse_task_name(self.mixture)
            except ValueError as error:
                raise ValueError(
                    f"{error}. Or name the Python modules that register it: "
                    "--gin.SEQIO_MODULES=my_tasks"
                ) from None

    @property
    def module_names(self) -> tuple[str, ...]:
        """Names of the modules to import."""
        given = self.modules.split(",") if isinstance(self.modules, str) else self.modules
        return tuple(name.strip() for name in given if name.strip())

    def vocabulary(self, folder: str | None) -> Path:
        """`folder` if given, else the task's own, or for tasks of ours one trained on their rows."""
        if folder is not None:
            path = Path(folder).expanduser()
            load_vocabulary(path)  # refuses a missing or damaged one
            return path
        if self.module_names:
            cache_dir = folders.cache_dir(self.cache_dir)
            if own := task_vocabulary(self.mixture, self.module_names, cache_dir):
                return own
        return self._instructions().vocabulary(None)

    def open(
        self,
        vocabulary_dir: Path,
        batch_size: int,
        steps: int,
        seed: int,
        host: int,
        hosts: int,
        prefix: tuple[int, ...] = (),
    ) -> SeqioBatches:
        """Starts the stream and waits for its first rows; raises as `SeqioBatches` does."""
        vocabulary = load_vocabulary(vocabulary_dir)
        datasets = parse_task_name(self.mixture).datasets if self._ours else ()
        try:
            check_round_trip(vocabulary, option_sets(datasets))
        except ValueError as error:
            if self._ours:
                raise ValueError(f"{vocabulary_dir}: {error}") from None
            log.warning("%s: %s", vocabulary_dir, error)
        data_dir = folders.data_dir(self.data_dir)
        data = SeqioBatches(
            StreamRequest(
                name=self.mixture,
                feature_lengths=dict(self.feature_lengths),
                vocabulary=str(Path(vocabulary_dir).resolve()),
                batch_size=batch_size,
                host=host,
                hosts=hosts,
                seed=seed,
                modules=self.module_names,
                data_dir=str(data_dir) if data_dir else None,
                cap=self.cap,
                rate=self.rate,
                num_templates=self.num_templates,
                skip_missing=self.on_missing == "skip",
                shuffle=self.shuffle,
                use_cached=self.use_cached,
                prefix=prefix,
            ),
            steps,
            vocabulary_fingerprint=vocabulary.fingerprint,
            bos_id=vocabulary.bos_id,
        )
        log.info("%s", data.receipt.table())
        return data

    def open_dev(self, vocabulary_dir: Path, rows: int, seed: int) -> DevExamples | None:
        """At most `rows` dev rows of each dataset of ours; None for tasks of others."""
        return self._instructions().open_dev(vocabulary_dir, rows, seed) if self._ours else None

    def reading(self, steps: int, fingerprint: str) -> Reading:
        """What a run of so many steps reads; of tasks of others only their name is known."""
        if not self._ours:
            names = tuple(name.strip() for name in self.mixture.split(","))
            run = ReadRun("seqio", self.mixture, "", steps, fingerprint, (), names)
            return Reading(run, ())
        found = self._instructions().reading(steps, fingerprint, stream=True)
        return found._replace(run=dataclasses.replace(found.run, data="seqio"))

    @property
    def _ours(self) -> bool:
        """Whether the name is ours for certain; a module may register `squad`, say, itself."""
        try:
            parse_task_name(self.mixture)
        except ValueError:
            return False
        return self.mixture.startswith("flan_") or not self.module_names

    def _instructions(self) -> InstructionData:
        """The settings that tasks of ours share with caches of theirs."""
        return InstructionData(
            mixture=self.mixture,
            feature_lengths=self.feature_lengths,
            data_dir=self.data_dir,
            cache_dir=self.cache_dir,
            on_missing=self.on_missing,  # type: ignore[arg-type]
            vocab_size=self.vocab_size,
            cap=self.cap,
            rate=self.rate,
            num_templates=self.num_templates,
        )


def choose_data(
    source: str, cache: Callable[[], InstructionData], seqio: Callable[[], SeqioData]
) -> InstructionData | SeqioData:
    """The run's data, from one of two sources.

    Args:
      source: `cache` or `seqio`.
      cache: makes the settings of prepared caches.
      seqio: makes those of a stream.

    Raises ValueError for another source, and what the chosen one raises.
    """
    choices: dict[str, Callable[[], Any]] = {"cache": cache, "seqio": seqio}
    if source not in choices:
        raise ValueError(unknown_name("DATA", source, choices))
    return choices[source]()
