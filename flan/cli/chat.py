r"""Asks a checkpoint at a prompt: an instruction in, an answer out, shown as it is written.

  flan chat /tmp/run
  flan chat /tmp/run --temperature 0.8 --top_p 0.95
  flan chat /tmp/base --mode baseline

A line ending in \\ goes on in the next one. Ctrl-C stops an answer; at the prompt Ctrl-C,
Ctrl-D or /quit end. Each line is answered by itself, as the model was tuned; with --history
N the last N exchanges stand before it.
"""

from __future__ import annotations

import argparse
import contextlib
import sys

from flan.cli.decoding_flags import add_decoding_flags, add_model_flags, decoding_of, load_for

PROMPT, MORE = "> ", ". "


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `flan chat`."""
    add_model_flags(parser)
    add_decoding_flags(parser)
    parser.add_argument(
        "--history",
        type=int,
        default=0,
        metavar="N",
        help="exchanges that stand before the instruction, written like exemplars (default: 0)",
    )


def run(args: argparse.Namespace) -> int:
    """Reads instructions until there are no more."""
    from flan.evaluation.answers import Conversation

    if args.history < 0:
        raise ValueError(f"--history must be 0 or more, got {args.history}")
    if args.max_new_tokens < 1:
        raise ValueError(f"--max_new_tokens must be 1 or more, got {args.max_new_tokens}")
    decoding = decoding_of(args)
    model = load_for(args, devices=1)
    conversation = Conversation(model, args.mode, args.input_length, args.max_new_tokens, decoding)
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - line editing and history in input()
    print(f"{model.label}: an instruction a line, Ctrl-D to end", file=sys.stderr)
    exchanges: list[tuple[str, str]] = []
    while (line := _read()) is not None:
        if not line.strip():
            continue
        if line.strip() in ("/quit", "/exit"):
            break
        answer = _answer(conversation, _with_history(exchanges, line, args))
        if conversation.cut:
            print(f"({conversation.cut} tokens of the prompt did not fit)", file=sys.stderr)
        if args.history:
            exchanges = [*exchanges, (line, answer)][-args.history :]
    return 0


def _read() -> str | None:
    """What the user typed, lines that end in a backslash joined; None at the end."""
    lines: list[str] = []
    asks = sys.stdin.isatty()
    try:
        while True:
            line = input((MORE if lines else PROMPT) if asks else "")
            lines.append(line.removesuffix("\\"))
            if not line.endswith("\\"):
                return "\n".join(lines)
    except (EOFError, KeyboardInterrupt):
        if asks:
            print()
        return "\n".join(lines) if any(lines) and not asks else None


def _answer(conversation, prompt: str) -> str:
    """Prints an answer as it comes; what there is of it when Ctrl-C stops it."""
    pieces: list[str] = []
    try:
        for piece in conversation.stream(prompt):
            print(piece, end="", flush=True)
            pieces.append(piece)
    except KeyboardInterrupt:
        print(" (stopped)", end="", file=sys.stderr)
    print(flush=True)
    return "".join(pieces)


def _with_history(exchanges: list[tuple[str, str]], line: str, args: argparse.Namespace) -> str:
    """The instruction after the exchanges, laid out as few-shot training does."""
    from flan.templates.renderings import EXEMPLAR_END, INPUT_TARGET

    between, end = (INPUT_TARGET, EXEMPLAR_END) if args.mode == "instructions" else (" ", "\n\n")
    return "".join(f"{asked}{between}{said}{end}" for asked, said in exchanges) + line
