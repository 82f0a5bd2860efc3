"""Flags of commands that write answers, and of the model they write them with."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flan.evaluation.model import EvaluationModel
    from flan.models.sampling import Decoding


def add_decoding_flags(parser: argparse.ArgumentParser, seed: bool = True) -> None:
    """How tokens are chosen; without `--seed` where a command has one of its own."""
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        help="0 takes the most probable token each time (default); 1 draws by probability",
    )
    parser.add_argument(
        "--top_k", type=int, default=0, metavar="K", help="draw among the K most probable tokens"
    )
    parser.add_argument(
        "--top_p",
        type=float,
        default=1.0,
        metavar="P",
        help="draw among the most probable tokens that together reach probability P",
    )
    if seed:
        parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")


def add_beam_flags(parser: argparse.ArgumentParser) -> None:
    """Beam search."""
    parser.add_argument(
        "--beams", type=int, default=1, metavar="N", help="beam search with N beams (default: none)"
    )
    parser.add_argument(
        "--length_penalty",
        type=float,
        default=0.6,
        metavar="ALPHA",
        help="of beam search: higher favours longer answers (default: 0.6)",
    )


def decoding_of(args: argparse.Namespace) -> Decoding:
    """What the flags ask for; ValueError for impossible values."""
    from flan.models.sampling import Decoding

    names = ("temperature", "top_k", "top_p", "seed", "beams", "length_penalty")
    return Decoding(**{name: getattr(args, name) for name in names if hasattr(args, name)})


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """One checkpoint, and how it is asked."""
    parser.add_argument("checkpoint", help="a model folder, or one of its checkpoints/<step>")
    parser.add_argument("--step", type=int, help="which checkpoint (default: the newest)")
    parser.add_argument(
        "--vocabulary",
        metavar="DIR",
        help="the model's vocabulary (default: the one in its folder)",
    )
    parser.add_argument(
        "--ema", action="store_true", help="the averaged parameters of a run that kept them"
    )
    parser.add_argument(
        "--mode",
        default="instructions",
        choices=("instructions", "baseline"),
        help="instructions (default): the model reads an instruction and answers; "
        "baseline: it goes on with the text until the line ends",
    )
    parser.add_argument(
        "--input_length", type=int, default=1024, help="tokens read at most (default: 1024)"
    )
    parser.add_argument(
        "--max_new_tokens", type=int, default=256, help="tokens written at most (default: 256)"
    )
    parser.add_argument(
        "--dtype", default="float32", choices=("float32", "bfloat16"), help="of computation"
    )


def load_for(args: argparse.Namespace, devices: int | None = None) -> EvaluationModel:
    """The checkpoint that the flags name."""
    from flan.checkpoints.manager import quiet_orbax
    from flan.evaluation.model import load_model

    quiet_orbax()
    return load_model(
        args.checkpoint,
        step=args.step,
        vocabulary=args.vocabulary,
        dtype=args.dtype,
        ema=args.ema,
        devices=devices,
    )
