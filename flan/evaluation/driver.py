"""Evaluates one checkpoint on many datasets, template by template, keeping what is finished."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan.catalog.dataset import Dataset
from flan.catalog.registry import get_datasets
from flan.evaluation import results, summary
from flan.evaluation.cell_job import CellJob
from flan.evaluation.cells import run_cells
from flan.evaluation.model import EvaluationModel
from flan.evaluation.modes import Exemplars, templates_for
from flan.evaluation.row_texts import write_texts
from flan.evaluation.rows import Rows, RowSet, RowStore, spread
from flan.evaluation.settings import CellSettings, cell_details
from flan.evaluation.training import Seen, check_unseen, entry_of, status_of
from flan.progress import progress_bar
from flan.suggest import unknown_name
from flan.templates.exemplars import TOKEN_BUDGET, ExemplarPool
from flan.templates.load import load_templates
from flan.templates.template import Template

log = logging.getLogger(__name__)

# Neighbouring cells of so many rows in all are computed together, and lost together by a kill.
_ROWS_TOGETHER = 256


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation gave.

    Attributes:
      label: the checkpoint's name in the results.
      cells: all cells that were asked for, in order.
      kept: how many of them were finished before.
      summary: of the whole results folder, see `flan.evaluation.summary`.
    """

    label: str
    cells: tuple[results.Cell, ...]
    kept: int
    summary: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Job:
    """A cell to come."""

    cell_id: results.CellId
    dataset: Dataset
    template: Template
    rows: RowSet
    details: dict[str, Any]

    @property
    def key(self) -> str:
        return results.content_hash(self.details)


def evaluate(
    model: EvaluationModel,
    datasets: Sequence[str],
    store: RowStore,
    out_dir: str | Path,
    *,
    splits: Sequence[str] = summary.SPLITS,
    templates: Sequence[str] | None = None,
    limit: int | None = None,
    settings: CellSettings | None = None,
    resume: bool = True,
    seen: Seen = "refuse",
) -> Evaluation:
    """Evaluates every non-inverted template of each dataset, or the one prompt of a plain mode.

    Args:
      model: the checkpoint with its vocabulary.
      datasets: names of datasets and clusters.
      store: where rows come from.
      out_dir: results folder; may hold other checkpoints' results.
      splits: `dev`, `test` or both.
      templates: ids of the templates to use; all by default. Inverted ones among them are
        passed over.
      limit: rows of each source and split at most, spread evenly over it.
      settings: mode, score, lengths, batch size.
      resume: keep finished cells whose key (weights, template, rows, settings) is the same.
      seen: what to do where the checkpoint was trained on what is evaluated, or on what
        overlap rules exclude: `refuse`, or `mark` the scores wherever they are shown.

    Raises:
      SeenInTraining: see `seen`.
      ValueError: an unknown dataset, cluster, split or template, a bad limit, templates in
        a mode without any, a dataset that is not on disk, or one without training rows in a
        few-shot mode. Nothing has been computed then.
      FileNotFoundError: no data folder.
    """
    context = model.network.config.context_length
    settings = (settings or CellSettings()).within(context, len(model.prefix))
    found = get_datasets(datasets)
    if not found:
        raise ValueError("no datasets were named; give datasets or clusters, such as rte or nli")
    names = [d.name for d in found]
    leaks = check_unseen(model.label, model.training.record, names, seen)
    _check_splits(splits)
    spread(1, limit)
    chosen = {d.name: _choose(d, templates, settings) for d in found}
    out_dir = Path(out_dir)
    shots = settings.mode.rendering.shots
    row_sets = store.open(found, ["train", *splits] if shots else splits)
    exemplars = _ExemplarSource(model, row_sets, settings) if shots else None
    jobs = list(_plan(model, found, chosen, row_sets, splits, limit, settings, exemplars))
    if not jobs:
        raise ValueError(
            f"nothing to evaluate: none of {[d.name for d in found]} has a {' or '.join(splits)} "
            "split with rows"
        )

    known = model.training.record
    out_dir.mkdir(parents=True, exist_ok=True)
    before = results.read_checkpoint(out_dir, model.label)
    same = before.get("fingerprint") == model.fingerprint
    if before and not same:
        log.warning(
            "results called %s were of another model; they no longer count (--name keeps both)",
            model.label,
        )
    training = entry_of(
        known, leaks, _counts(model, jobs, limit), names, before.get("training") if same else None
    )
    entry = {"fingerprint": model.fingerprint, "step": model.step, "training": training}
    results.write_checkpoint(out_dir, model.label, entry)
    finished = {j.cell_id: results.finished_cell(out_dir, j.cell_id, j.key) for j in jobs}
    done = {i: cell for i, cell in finished.items() if cell is not None and resume}
    kept = len(done)
    waiting = [j for j in jobs if j.cell_id not in done]
    total = sum(min(len(j.rows), limit or len(j.rows)) for j in waiting)
    try:
        with (
            progress_bar(total, f"evaluate {model.label}", unit="ex") as bar,
            model.running(),
        ):
            for group in _groups(out_dir, waiting, limit, exemplars):
                place = group[0].cell_id
                bar.set_postfix_str(f"{place.dataset} {place.split} {place.template}")
                for cell, predictions in run_cells(model, group, settings, bar.update):
                    status = status_of(known, cell.id.dataset in leaks)
                    cell = dataclasses.replace(cell, details={**cell.details, "training": status})
                    results.write_cell(out_dir, cell, predictions)
                    done[cell.id] = cell
    finally:
        # What is finished can be read even if the rest never is.
        written = summary.write_summary(out_dir)
    return Evaluation(model.label, tuple(done[j.cell_id] for j in jobs), kept, written)


def _counts(
    model: EvaluationModel, jobs: Sequence[_Job], limit: int | None
) -> dict[str, dict[str, int]]:
    """`dataset/source/split` -> how many of its rows were also trained on, where that is known."""
    found = {}
    for job in jobs:
        name = f"{job.cell_id.dataset}/{job.cell_id.source}/{job.cell_id.split}"
        if name not in found and (counted := model.training.count(name, job.rows, limit)):
            found[name] = counted
    return found


def _check_splits(splits: Sequence[str]) -> None:
    if not splits:
        raise ValueError(f"no splits were named; give one or more of {list(summary.SPLITS)}")
    for split in splits:
        if split not in summary.SPLITS:
            raise ValueError(unknown_name("split", split, summary.SPLITS))


def _choose(
    dataset: Dataset, wanted: Sequence[str] | None, settings: CellSettings
) -> tuple[Template, ...]:
    """The templates to evaluate a dataset with."""
    known = load_templates(dataset.name)
    usable = templates_for(dataset, known, settings.mode)
    if wanted is None:
        return usable
    if not settings.mode.uses_templates:
        raise ValueError(
            f"mode {settings.mode.name!r} has one prompt a dataset: leave the templates out"
        )
    ids = {known.get(template_id).id for template_id in wanted}
    chosen = tuple(t for t in usable if t.id in ids)
    if not chosen:
        raise ValueError(
            f"{dataset.name}: {list(wanted)} are inverted templates, which are never evaluated; "
            f"its others are {[t.id for t in usable]}"
        )
    return chosen


class _ExemplarSource:
    """Exemplars of each dataset, out of its training rows, read when they are needed."""

    def __init__(
        self,
        model: EvaluationModel,
        row_sets: Mapping[tuple[str, str, str], RowSet],
        settings: CellSettings,
    ) -> None:
        self._model, self._row_sets, self._settings = model, row_sets, settings
        self._last: tuple[str, Exemplars] | None = None

    def keys(self, dataset: Dataset) -> list[str]:
        """Names of the training rows, for the cells' keys; ValueError where there are none."""
        found = self._train(dataset)
        if not any(map(len, found)):
            raise ValueError(
                f"{dataset.name} has no training rows to draw few-shot exemplars from: leave it "
                "out, or use a mode without shots"
            )
        return [rows.key for rows in found]

    def of(self, dataset: Dataset) -> Exemplars:
        """The dataset's exemplars; those of one dataset are held at a time."""
        if self._last is None or self._last[0] != dataset.name:
            rows = [f for s in self._train(dataset) for f in s.load(range(len(s))).examples]
            pool = ExemplarPool(dataset, rows, self._settings.seed)
            encode = self._model.vocabulary.encode
            budget = min(TOKEN_BUDGET, self._settings.lengths.inputs - 1)
            self._last = dataset.name, Exemplars(pool, lambda text: len(encode(text)), budget)
        return self._last[1]

    def _train(self, dataset: Dataset) -> list[RowSet]:
        keys = [(dataset.name, source.name, "train") for source in dataset.sources]
        return [self._row_sets[key] for key in keys if key in self._row_sets]


def _plan(
    model: EvaluationModel,
    datasets: Sequence[Dataset],
    templates: Mapping[str, Sequence[Template]],
    row_sets: Mapping[tuple[str, str, str], RowSet],
    splits: Sequence[str],
    limit: int | None,
    settings: CellSettings,
    exemplars: _ExemplarSource | None,
) -> Iterator[_Job]:
    """All cells, those that share rows next to each other."""
    for dataset in datasets:
        drawn_from = exemplars.keys(dataset) if exemplars else ()
        for source in dataset.sources:
            for split in dict.fromkeys(splits):
                rows = row_sets.get((dataset.name, source.name, split))
                if rows is None or not len(rows):
                    continue
                # A limit that takes everything is no limit: the cell is the same.
                binding = limit if limit is not None and limit < len(rows) else None
                for template in templates[dataset.name]:
                    yield _Job(
                        results.CellId(
                            model.label,
                            settings.mode.name,
                            dataset.name,
                            source.name,
                            split,
                            template.id,
                        ),
                        dataset,
                        template,
                        rows,
                        cell_details(
                            model, dataset, template, rows.key, binding, settings, drawn_from
                        ),
                    )


def _groups(
    out_dir: Path, jobs: Sequence[_Job], limit: int | None, exemplars: _ExemplarSource | None
) -> Iterator[list[CellJob]]:
    """Neighbouring cells of the same kind together, as long as they are small.

    Rows are read once for neighbours that share them, and their texts are written down.
    """
    group: list[CellJob] = []
    last: tuple[RowSet, Rows] | None = None
    for job in jobs:
        if last is None or last[0] is not job.rows:
            last = (job.rows, job.rows.load(spread(len(job.rows), limit)))
            place = job.cell_id
            write_texts(out_dir, place.dataset, place.source, place.split, last[1])
        drawn = exemplars.of(job.dataset) if exemplars else None
        cell = CellJob(job.cell_id, job.dataset, job.template, last[1], job.details, drawn)
        held = sum(len(other.rows.ids) for other in group)
        if group and (cell.ranks != group[0].ranks or held + len(cell.rows.ids) > _ROWS_TOGETHER):
            yield group
            group = []
        group.append(cell)
    if group:
        yield group
