"""Show a dataset's rows as templates render them.

  flan show rte                                  demo rows through all templates
  flan show rte --template t3 --data_dir DIR     rows of a TFDS folder through one
  flan show rte --shots 3 --vocabulary DIR       few-shot, with tokens and loss mask
  flan show rte --rendering no_options           an ablation rendering

On a terminal, what the model only reads is dim and what it learns to write is green.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from flan import folders

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from flan.catalog import Dataset, Source
    from flan.data.example_rows import ExampleRow
    from flan.data.preview import TokenView
    from flan.data.vocabulary import Vocabulary
    from flan.templates.exemplars import ExemplarPool

READ, LEARNT, HEAD = "dim", "bold green", "bold cyan"
POOL_ROWS = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("dataset", help="its name, e.g. rte")
    parser.add_argument("--template", metavar="ID", help="one template (t0 to t9); all by default")
    parser.add_argument("--rendering", default="instructions", help="e.g. no_template, no_options")
    parser.add_argument("--shots", type=int, default=0, help="solved examples before the query")
    parser.add_argument("--split", default="train", help="train, dev or test")
    parser.add_argument("--num", type=int, default=1, help="rows to show")
    parser.add_argument("--source", help="one of the dataset's sources; the first by default")
    parser.add_argument("--vocabulary", metavar="DIR", help="show tokens and loss mask as well")
    parser.add_argument(
        "--data_dir",
        help="TFDS folder (default: $TFDS_DATA_DIR or ~/tensorflow_datasets if the dataset is "
        "there, else generated demo rows)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw of exemplars")


def run(args: argparse.Namespace) -> int:
    """Prints rows, and their renderings."""
    from flan.catalog import get_dataset
    from flan.cli.tables import console
    from flan.templates import load_templates
    from flan.templates.renderings import parse_rendering, render_example, render_few_shot

    dataset = get_dataset(args.dataset)
    source = dataset.source(args.source) if args.source else dataset.sources[0]
    templates = load_templates(dataset.name)
    rendering = parse_rendering(args.rendering)
    if args.shots:
        shots = f"{args.shots}shot"
        rendering = dataclasses.replace(rendering, shots=parse_rendering(shots).shots)
    chosen = (templates.get(args.template),) if args.template else templates.templates
    if not rendering.uses_templates:
        chosen = chosen[:1]
    vocabulary = None
    if args.vocabulary:
        from flan.data.vocabulary import load_vocabulary

        vocabulary = load_vocabulary(args.vocabulary)
    examples, origin = _read(args, dataset, source)
    pool = _pool(args, dataset) if rendering.shots else None
    out = console()
    out.print(f"{dataset.title} ({source.tfds_name}): {origin}", style="bold", markup=False)
    for example in examples:
        _print_row(out, example)
        if example.fields is None:
            continue
        for template in chosen:
            query = (dataset, templates, template, example.fields, rendering)
            if pool:
                row = f"{example.source}/{example.row_id}"
                rendered = render_few_shot(*query, pool, row, _counter(vocabulary))
            else:
                rendered = render_example(*query)
            name = f"{template.id} {template.kind}" if rendering.uses_templates else ""
            name = f"{name}{' ' if name else ''}{rendering.name}".removesuffix(" instructions")
            _print_rendered(out, name, rendered.input, rendered.target)
            if vocabulary:
                from flan.data.preview import view_tokens

                _print_tokens(out, view_tokens(rendered, vocabulary))
    return 0


def _read(
    args: argparse.Namespace, dataset: Dataset, source: Source
) -> tuple[list[ExampleRow], str]:
    """The rows to show, and where they are from."""
    from flan.data.example_rows import demo_examples, disk_examples

    if args.num < 1:
        raise ValueError(f"--num {args.num}: give 1 or more")
    folder = _folder(args, dataset, source)
    if folder is None:
        origin = "generated demo rows, since there is no data folder (--data_dir) with this dataset"
        return demo_examples(dataset, args.num, args.seed, source), origin
    examples = disk_examples(folder, dataset, source, args.split, args.num)
    if not examples:
        raise ValueError(f"{source.tfds_name} has no {args.split} rows in {folder}")
    return examples, f"{args.split} rows from {folder}"


def _pool(args: argparse.Namespace, dataset: Dataset) -> ExemplarPool:
    """Training rows of the dataset's sources, to draw exemplars from."""
    from flan.data.example_rows import demo_examples, disk_examples
    from flan.templates.exemplars import ExemplarPool

    rows = []
    for source in dataset.sources:
        folder = _folder(args, dataset, source)
        if not source.train:
            continue
        if folder is None:
            rows += demo_examples(dataset, POOL_ROWS, args.seed + 1, source)
        else:
            rows += disk_examples(folder, dataset, source, "train", POOL_ROWS)
    return ExemplarPool(dataset, [r.fields for r in rows if r.fields is not None], args.seed)


def _folder(args: argparse.Namespace, dataset: Dataset, source: Source) -> Path | None:
    """The folder to read a source from; None for demo rows."""
    from flan.data.doctor import diagnose_source

    if args.data_dir:
        return Path(args.data_dir).expanduser()
    folder = folders.usual_data_dir()
    return folder if diagnose_source(folder, dataset, source).state == "ready" else None


def _counter(vocabulary: Vocabulary | None) -> Callable[[str], int]:
    """Tokens of a text; without a vocabulary four for every three words."""
    if vocabulary:
        return lambda text: len(vocabulary.encode(text))
    return lambda text: len(text.split()) * 4 // 3


def _print_row(out: Console, example: ExampleRow) -> None:
    from rich.text import Text

    from flan.cli.tables import printable

    out.print()
    out.print(Text(f"row {example.row_id}", style=HEAD))
    for name, value in example.row.items():
        shown = (
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        )
        out.print(Text(printable(f"  {name}: {shown}"), style=READ))
    if example.fields is None:
        out.print(Text("  dropped by to_fields (unlabelled, or of no use as an example)"))


def _print_rendered(out: Console, name: str, inputs: str, target: str) -> None:
    from rich.text import Text

    from flan.cli.tables import printable

    out.print()
    out.print(Text(f"[{name}]", style=HEAD))
    out.print(Text(printable(inputs)))
    out.print(Text.assemble(("=> ", HEAD), (printable(target), LEARNT)))


def _print_tokens(out: Console, view: TokenView) -> None:
    from rich.text import Text

    from flan.cli.tables import printable

    inputs, targets = view.input_length, len(view.ids) - view.input_length
    for name, start, stop, style, cut in (
        ("loss 0", 0, inputs, READ, view.cut_inputs),
        ("loss 1", inputs, len(view.ids), LEARNT, view.cut_targets),
    ):
        if start == stop:  # raw text has no target
            continue
        line = Text.assemble((f"{name}, {stop - start} tokens", HEAD))
        line.append(f" ({cut} more were cut off): " if cut else ": ")
        for token, piece in zip(view.ids[start : stop - 1], view.pieces[start:stop], strict=False):
            shown = printable(piece).replace("\n", "\\n") or f"<{token}>"
            line.append(f"{shown}|", style=style)
        line.append("EOS", style=style)
        out.print(line)
    out.print(Text(f"{inputs + targets} tokens in all", style=READ))
