"""The `flan` program: finds the subcommand, imports only that one, runs it.

A command is a module of `flan.cli` with `add_arguments(parser)` and `run(args) -> int`
(the exit code); `rewrite(argv)` may turn flags of another style into argparse's. What a user got wrong is raised as ValueError or FileNotFoundError deep
inside and printed here as one line.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from flan import __version__
from flan.errors import EXIT_MISTAKE, exit_code
from flan.suggest import unknown_name

# command -> (module, one line for --help)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("flan.cli.demo", "the whole path on generated data, in minutes"),
    "datasets": ("flan.cli.datasets", "list the datasets and what is on disk"),
    "show": ("flan.cli.show", "show a dataset's rows as templates render them"),
    "templates": ("flan.cli.templates", "check the templates for mistakes"),
    "browse": ("flan.cli.browse", "write a static page of all datasets and templates"),
    "doctor": ("flan.cli.doctor", "say which datasets of a data folder can be used"),
    "vocab": ("flan.cli.vocab", "train or check a vocabulary"),
    "prepare": ("flan.cli.prepare", "render and tokenize datasets into caches"),
    "plan": ("flan.cli.plan", "compile a run for hardware that is not here: memory, time, cost"),
    "train": ("flan.cli.train", "pretrain or instruction-tune a model from gin files"),
    "convert": ("flan.cli.convert", "import a Hugging Face, GGUF or T5X model, or export one"),
    "eval": ("flan.cli.eval", "score a checkpoint on datasets and clusters"),
    "generate": ("flan.cli.generate", "write a checkpoint's answers to prompts"),
    "chat": ("flan.cli.chat", "ask a checkpoint at a prompt"),
    "launch": ("flan.cli.launch", "train, evaluate and compare all models of an experiment"),
    "status": ("flan.cli.status", "show how far an experiment is"),
    "contamination": (
        "flan.cli.contamination",
        "say how much of the evaluation sets a corpus or mixture has",
    ),
    "report": ("flan.cli.report", "turn evaluation results into a table and an HTML page"),
}

EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code.

    2 is the user's mistake, 1 an error that may pass (a full disk, say), 130 Ctrl-C.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"flan {__version__}")
        return 0
    name, rest = argv[0], argv[1:]
    if name not in COMMANDS:
        return _fail(unknown_name("command", name, COMMANDS))
    module_name, summary = COMMANDS[name]
    command = importlib.import_module(module_name)
    parser = argparse.ArgumentParser(
        prog=f"flan {name}",
        description=command.__doc__ or summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="print the traceback of an error")
    command.add_arguments(parser)
    try:
        args = parser.parse_args(getattr(command, "rewrite", list)(rest))
        return command.run(args) or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `flan show ... | head` is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        if "--debug" in rest:
            raise
        return _fail(str(error), exit_code(error))


def usage() -> str:
    """The text of `flan --help`."""
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items())
    return (
        "usage: flan COMMAND [options]\n\n"
        "FLAN instruction tuning, end to end, in JAX.\n\n"
        f"commands:\n{lines}\n\n"
        "`flan COMMAND --help` says more; `flan --version` prints the version."
    )


def _fail(message: str, code: int = EXIT_MISTAKE) -> int:
    print(f"flan: error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
