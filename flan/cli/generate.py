"""Writes a checkpoint's answers to prompts.

  flan generate /tmp/run --prompt "Is Rome in Italy?"
  flan generate /tmp/run --prompt "first" --prompt "second" --beams 4
  flan generate /tmp/run --file prompts.txt --temperature 0.8 --top_p 0.95 --json
  cat letter.txt | flan generate /tmp/run --whole

Without --prompt the prompts are the lines of --file or of standard input, blank ones left
out; with --whole the text is one prompt. Each answer is printed on a line of its own, line
ends in it as they are; --json prints an object for each prompt instead.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from flan.cli.decoding_flags import (
    add_beam_flags,
    add_decoding_flags,
    add_model_flags,
    decoding_of,
    load_for,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `flan generate`."""
    add_model_flags(parser)
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--prompt", action="append", metavar="TEXT", help="a prompt; may be repeated"
    )
    source.add_argument("--file", metavar="FILE", help="a file of prompts; - for standard input")
    parser.add_argument("--whole", action="store_true", help="the file or input is one prompt")
    add_decoding_flags(parser)
    add_beam_flags(parser)
    parser.add_argument(
        "--batch_rows",
        type=int,
        default=16,
        metavar="N",
        help="prompts of full length decoded together (default: 16)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help='print {"prompt", "answer", "tokens", "finished", "cut"} for each prompt',
    )


def run(args: argparse.Namespace) -> int:
    """Generates and prints."""
    from flan.evaluation.answers import answer_prompts

    prompts = _prompts(args)
    decoding = decoding_of(args)
    answers = answer_prompts(
        load_for(args),
        prompts,
        form=args.mode,
        input_length=args.input_length,
        max_new_tokens=args.max_new_tokens,
        decoding=decoding,
        batch_rows=args.batch_rows,
    )
    for prompt, answer in zip(prompts, answers, strict=True):
        if answer.cut:
            print(
                f"flan: a prompt lost {answer.cut} tokens to fit into {args.input_length}: "
                f"{prompt[:60]!r}",
                file=sys.stderr,
            )
        if args.json:
            entry = {
                "prompt": prompt,
                "answer": answer.text,
                "tokens": answer.tokens,
                "finished": answer.finished,
                "cut": answer.cut,
            }
            print(json.dumps(entry, ensure_ascii=False))
        else:
            print(answer.text)
    return 0


def _prompts(args: argparse.Namespace) -> list[str]:
    """The prompts that the flags give; ValueError where there are none."""
    if args.prompt:
        found = args.prompt
        if args.whole:
            raise ValueError("--whole is for --file and standard input; a --prompt is whole anyway")
    else:
        if args.file in (None, "-"):
            if args.file is None and sys.stdin.isatty():
                raise ValueError("no prompt: give --prompt, --file, or text on standard input")
            text, where = sys.stdin.read(), "standard input"
        else:
            text, where = Path(args.file).read_text(encoding="utf-8"), args.file
        found = [text.rstrip("\n")] if args.whole else text.split("\n")
        found = [p for p in found if p.strip()]
        if not found:
            raise ValueError(f"no prompt in {where}: it is empty")
    if empty := [i for i, p in enumerate(found) if not p.strip()]:
        raise ValueError(f"prompt {empty[0]} is empty")
    return found
