"""Trains a vocabulary on datasets' text, or checks one.

  flan vocab train --datasets all --data_dir ~/tensorflow_datasets --out vocabulary
  flan vocab train --datasets nli,sentiment --vocab_size 8000 --out small --shrink
  flan vocab check vocabulary
  flan vocab check ~/models/some-llama/tokenizer.json --datasets nli

Training makes a SentencePiece BPE model whose text comes back exactly, line ends included.
A check refuses a vocabulary that loses line ends, which hold the OPTIONS lists together, or
that gives two answer choices of a dataset the same tokens, and says which.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the two actions and their flags."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="train|check")
    train = actions.add_parser("train", help="train one on the datasets' training rows")
    add = train.add_argument
    add("--out", required=True, metavar="DIR", help="folder to write")
    add(
        "--datasets",
        default="all",
        metavar="NAMES",
        help="datasets, clusters or mixtures, separated by commas (default: all)",
    )
    add("--data_dir", metavar="DIR", help="TFDS folder (default: $TFDS_DATA_DIR or TFDS's own)")
    add("--cache_dir", metavar="DIR", help="folder for caches (default: $FLAN_CACHE_DIR)")
    add("--vocab_size", type=int, default=32_000, help="pieces (default: 32000)")
    add("--shrink", action="store_true", help="make a smaller one where the text is too little")
    add("--overwrite", action="store_true", help="replace the folder if it is there")
    add("--skip_missing", action="store_true", help="leave out what the data folder lacks")
    check = actions.add_parser("check", help="check a vocabulary before it is used")
    check.add_argument("path", help="folder, .model file or tokenizer.json")
    check.add_argument(
        "--datasets",
        default="all,extra",
        metavar="NAMES",
        help="whose answer choices have to stay apart (default: all)",
    )


def run(args: argparse.Namespace) -> int:
    """Trains or checks, and prints what came out."""
    return _train(args) if args.action == "train" else _check(args)


def _train(args: argparse.Namespace) -> int:
    from flan import folders
    from flan.data.cache_plan import Request
    from flan.data.names import parse_task_name
    from flan.data.prepare import prepare
    from flan.data.vocabulary import train_sentencepiece
    from flan.data.vocabulary_training import training_texts

    out = Path(args.out).expanduser()
    if out.exists() and not args.overwrite:  # before the work, not after it
        raise ValueError(f"{out} is there already: give another folder, or --overwrite")
    prepared = prepare(
        Request(
            parse_task_name(args.datasets).datasets,
            folders.cache_dir(args.cache_dir),
            folders.data_dir(args.data_dir),
            splits=("train",),
            skip_missing=args.skip_missing,
        )
    )
    for (dataset, source), reason in prepared.missing.items():
        print(f"left out {dataset} ({source}): {reason}")
    vocabulary = train_sentencepiece(
        training_texts(prepared),
        out,
        args.vocab_size,
        shrink=args.shrink,
        overwrite=args.overwrite,
    )
    print(f"{out}: {vocabulary.vocab_size:,} pieces, fingerprint {vocabulary.fingerprint[:16]}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from flan.data.names import parse_task_name
    from flan.data.phrasing import option_sets
    from flan.data.vocabulary import check_round_trip, load_vocabulary

    options = option_sets(parse_task_name(args.datasets).datasets)
    vocabulary = load_vocabulary(Path(args.path).expanduser())
    lost = check_round_trip(vocabulary, options)
    print(
        f"{args.path}: {vocabulary.vocab_size:,} tokens; pad {vocabulary.pad_id}, EOS "
        f"{vocabulary.eos_id}, unknown {vocabulary.unk_id}, first {vocabulary.bos_id}"
    )
    print(f"keeps line ends and tells {len(options)} sets of options apart")
    print(f"does not keep: {', '.join(lost)}" if lost else "gives every text back exactly")
    return 0
