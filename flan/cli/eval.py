"""Scores checkpoints on datasets and clusters, through every template.

  flan eval /tmp/run --datasets nli --data_dir ~/tensorflow_datasets --out results
  flan eval /tmp/run --datasets rte,squad --out results --splits test --limit 100
  flan eval /tmp/base /tmp/run --name base,tuned --datasets nli --out results --mode baseline
  flan eval /tmp/run --datasets nli --out results --mode instructions,no_options,5shot
  flan eval /tmp/run --selftest

Options are ranked by their log-probability, other answers are generated, greedily unless
asked otherwise. Results
lie in the --out folder as JSON with all predictions beside them; cells that are finished
there already are kept, so a run that was stopped goes on, and several checkpoints can
share a folder. All devices are used; no score depends on how many there are.

A checkpoint that was trained on what is evaluated, or on a cluster that overlaps with it, is
refused; --seen mark scores it, and says so wherever its scores are shown. Rows that stand in
the training data, too, are counted, exactly and nearly the same ones.

--selftest scores a sample of generated rows in batches of several sizes, paddings, packings
and orders instead, and on one device if there are more; it prints how far scores moved and
ends with 1 if one moved by more than 0.0001.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flan.cli.decoding_flags import add_beam_flags, add_decoding_flags, decoding_of

if TYPE_CHECKING:
    from flan.evaluation.driver import Evaluation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `flan eval`."""
    parser.add_argument(
        "checkpoints",
        nargs="+",
        metavar="checkpoint",
        help="a model folder, or one of its checkpoints/<step>; several are scored in turn",
    )
    parser.add_argument(
        "--datasets",
        metavar="NAMES",
        help="datasets and clusters, separated by commas; all for the 62",
    )
    parser.add_argument("--out", metavar="DIR", help="folder for results")
    parser.add_argument(
        "--selftest", action="store_true", help="see whether scores move with the batch"
    )
    parser.add_argument(
        "--name",
        metavar="LABELS",
        help="the checkpoints' names in the results, separated by commas (default: FOLDER-STEP)",
    )
    parser.add_argument(
        "--step",
        type=_step,
        metavar="N",
        help="which checkpoint of the folder, or `best`, by its dev scores (default: the newest)",
    )
    parser.add_argument(
        "--ema",
        action="store_true",
        help="score the averaged parameters, of runs with OptimizerConfig.ema_decay",
    )
    parser.add_argument(
        "--data_dir",
        metavar="DIR",
        help="TFDS folder (default: $TFDS_DATA_DIR or ~/tensorflow_datasets if there, else cached rows only)",
    )
    parser.add_argument(
        "--cache_dir",
        metavar="DIR",
        help="folder for caches (default: $FLAN_CACHE_DIR or ~/.cache/flan)",
    )
    parser.add_argument(
        "--vocabulary",
        metavar="DIR",
        help="the model's vocabulary (default: the one in its folder)",
    )
    parser.add_argument("--splits", default="dev,test", help="dev, test or both (default)")
    parser.add_argument("--templates", metavar="IDS", help="only these templates, such as t0,t3")
    parser.add_argument(
        "--mode",
        default="instructions",
        metavar="NAMES",
        help="how models are asked, separated by commas: instructions (default), no_options, "
        "no_template, dataset_name, with exemplars as in 5shot or no_options_5shot; baseline or "
        "baseline_5shot: a plain prompt for models that were never tuned",
    )
    parser.add_argument(
        "--score",
        default="sum",
        help="what ranks options: sum of token log-probabilities (default), token_mean, byte_mean, or pmi (the gain over an empty input); metrics by all of them are kept",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the exemplars of few-shot modes and of what is drawn (default: 0)",
    )
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="rows of each source and split at most, spread evenly",
    )
    parser.add_argument(
        "--input_length",
        type=int,
        default=1024,
        help="tokens read at most, EOS included (default: 1024)",
    )
    parser.add_argument(
        "--target_length",
        type=int,
        default=256,
        help="tokens of an option or answer at most, EOS included (default: 256)",
    )
    parser.add_argument(
        "--batch_rows",
        type=int,
        metavar="N",
        help="rows of full length in a batch, of answers 8 times as many; no result depends on it (default: 1, of answers 2, on a CPU, else 16)",
    )
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=("float32", "bfloat16"),
        help="of computation; in bfloat16 scores depend slightly on the batch (default: float32)",
    )
    parser.add_argument(
        "--devices", type=int, metavar="N", help="use the first N devices (default: all)"
    )
    parser.add_argument(
        "--model_parallel",
        type=int,
        metavar="N",
        help="devices that share one copy of the parameters (default: as few as can hold it)",
    )
    add_decoding_flags(parser, seed=False)
    add_beam_flags(parser)
    parser.add_argument(
        "--skip_missing",
        action="store_true",
        help="leave out datasets that are not there instead of refusing to start",
    )
    parser.add_argument(
        "--seen",
        default="refuse",
        choices=("refuse", "mark"),
        help="where a checkpoint was trained on what is evaluated, or on what overlaps with it: "
        "refuse to score it (default), or mark these scores as seen wherever they are shown",
    )
    parser.add_argument("--no_resume", action="store_true", help="compute finished cells again")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print a list of the checkpoints' summaries as JSON instead of tables",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluates and prints the summaries."""
    from flan import folders
    from flan.catalog.registry import get_datasets
    from flan.checkpoints.manager import quiet_orbax
    from flan.evaluation.cached_rows import CachedRowStore
    from flan.evaluation.driver import evaluate
    from flan.evaluation.model import load_model
    from flan.evaluation.modes import parse_mode
    from flan.evaluation.prompts import Lengths
    from flan.evaluation.settings import CellSettings

    quiet_orbax()
    if args.selftest:
        return _selftest(args)
    if not args.datasets or not args.out:
        raise ValueError("give --datasets and --out (or --selftest, which needs neither)")
    # Names first: a model may take minutes to load.
    get_datasets(_names(args.datasets))
    settings = [
        CellSettings(
            mode=mode,
            score=args.score,
            lengths=Lengths(args.input_length, args.target_length),
            seed=args.seed,
            decoding=decoding_of(args),
            batch_rows=args.batch_rows,
        )
        for mode in dict.fromkeys(map(parse_mode, _names(args.mode)))
    ]
    if not settings:
        raise ValueError(f"--mode {args.mode!r} names no mode: leave it out, or give one")
    if args.templates is not None and not _names(args.templates):
        raise ValueError(f"--templates {args.templates!r} names none: leave it out, or give ids")
    labels = _labels(args.name, args.checkpoints)
    for checkpoint in args.checkpoints:
        _check_unseen(checkpoint, args)
    store = CachedRowStore(
        folders.cache_dir(args.cache_dir), folders.data_dir(args.data_dir), args.skip_missing
    )
    printed = []
    for checkpoint, label in zip(args.checkpoints, labels, strict=True):
        model = load_model(
            checkpoint,
            label=label,
            step=args.step,
            vocabulary=args.vocabulary,
            dtype=args.dtype,
            ema=args.ema,
            devices=args.devices,
            model_parallel=args.model_parallel,
        )
        for one in settings:
            evaluation = evaluate(
                model,
                _names(args.datasets),
                store,
                args.out,
                splits=_names(args.splits),
                templates=_names(args.templates) if args.templates else None,
                limit=args.limit,
                settings=one,
                resume=not args.no_resume,
                seen=args.seen,
            )
            entry = evaluation.summary["checkpoints"][evaluation.label]
            if not args.json:
                _print_summary(evaluation, entry, one.mode.name, args.out)
        printed.append({"checkpoint": evaluation.label, **entry})
    if args.json:
        print(json.dumps(printed, indent=2))
    return 0


def _check_unseen(checkpoint: str, args: argparse.Namespace) -> None:
    """Refuses before the model is loaded what `evaluate` would refuse after."""
    from pathlib import Path

    from flan.catalog.registry import get_datasets
    from flan.checkpoints.record import checkpoint_record
    from flan.evaluation.training import check_unseen

    folder = Path(checkpoint).expanduser()
    if not folder.is_dir():
        return  # loading it says so
    # Checkpoints of a run share their record, the best one's too.
    record = checkpoint_record(folder, args.step if isinstance(args.step, int) else None)
    names = [d.name for d in get_datasets(_names(args.datasets))]
    check_unseen(checkpoint, record, names, args.seen)


def _selftest(args: argparse.Namespace) -> int:
    """Scores a sample in many ways; 1 if a score moves."""
    from flan.cli.tables import print_table
    from flan.evaluation.model import load_model
    from flan.evaluation.prompts import Lengths
    from flan.evaluation.selftest import sample_requests, scored_times, selftest
    from flan.evaluation.settings import CellSettings
    from flan.progress import progress_bar

    settings = CellSettings(
        lengths=Lengths(args.input_length, args.target_length), batch_rows=args.batch_rows
    )
    failed = False
    for checkpoint in args.checkpoints:
        model = load_model(
            checkpoint,
            step=args.step,
            vocabulary=args.vocabulary,
            dtype=args.dtype,
            ema=args.ema,
            devices=args.devices,
            model_parallel=args.model_parallel,
        )
        requests = sample_requests(model, settings, rows=args.limit or 4)
        total = scored_times(model, len(requests))
        with progress_bar(total, f"self-test {model.label}", unit="ex") as bar:
            found = selftest(model, requests, settings, bar.update)
        print_table(
            ("variation", "scores", "largest movement", "other predictions", ""),
            [
                (
                    m.variation,
                    str(m.compared),
                    f"{m.largest:.1e}",
                    str(m.changed),
                    _verdict(m.passed),
                )
                for m in found
            ],
            right=("scores", "largest movement", "other predictions"),
        )
        passed = all(m.passed for m in found)
        failed |= not passed
        print(f"{model.label}: self-test {'passed' if passed else 'FAILED'}")
    return 1 if failed else 0


def _verdict(passed: bool) -> str:
    return "ok" if passed else "moved"


def _labels(names: str | None, checkpoints: Sequence[str]) -> list[str | None]:
    """A label, or None, for each checkpoint; ValueError unless all get one of their own."""
    if names is None:
        _check_own_names(checkpoints)
        return [None] * len(checkpoints)
    labels = list(_names(names))
    if len(labels) != len(checkpoints) or len(set(labels)) < len(labels):
        raise ValueError(
            f"--name gives {labels} for {len(checkpoints)} checkpoints: give as many names, "
            "separated by commas, no two alike"
        )
    return [*labels]


def _check_own_names(checkpoints: Sequence[str]) -> None:
    """ValueError for two checkpoints whose default labels are one: the second would replace the first."""
    from pathlib import Path

    from flan.checkpoints.layout import split_step
    from flan.evaluation.model import default_label

    places: dict[tuple[str, int | None], str] = {}
    for checkpoint in checkpoints:
        _, step = split_step(Path(checkpoint))
        key = default_label(Path(checkpoint), 0), step
        if key in places:
            raise ValueError(
                f"{places[key]} and {checkpoint} may get the same name in results: give a name to "
                "each, --name first,second"
            )
        places[key] = checkpoint


def _print_summary(evaluation: Evaluation, entry: dict, mode: str, out: str) -> None:
    from flan.cli.tables import print_table
    from flan.evaluation.summary_table import COLUMNS, table_rows, training_notes

    datasets = dict.fromkeys(c.id.dataset for c in evaluation.cells)
    print_table(COLUMNS, table_rows(entry["modes"][mode], datasets), right=COLUMNS[2:7])
    for note in training_notes(entry, mode, datasets):
        print(f"{evaluation.label}: {note}")
    kept = f", {evaluation.kept} of them finished before" if evaluation.kept else ""
    print(f"{evaluation.label}, {mode}: {len(evaluation.cells)} cells{kept}, in {out}")


def _step(text: str) -> int | str:
    return text if text == "best" else int(text)


def _names(text: str) -> Sequence[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
