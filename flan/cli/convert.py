r"""Imports a foreign model into a model folder, or exports one of ours to Hugging Face or T5X.

  flan convert SmolLM2-135M-Instruct.Q4_1.gguf models/smollm2
  flan convert ~/models/Qwen2.5-0.5B models/qwen
  flan convert t5x_runs/checkpoint_10000 models/base --vocabulary sentencepiece.model
  flan convert runs/no_nli exported --dtype bfloat16
  flan convert runs/no_nli t5x_run --to t5x

What SRC is, is found out: a GGUF file (dequantized), a Hugging Face folder with safetensors
(Llama, Mistral, Qwen2, Qwen3, Gemma), a T5X decoder-only checkpoint, or a model folder of
ours. Foreign models become a model folder, which `flan eval` and `flan train
--gin.INITIAL_CHECKPOINT_PATH` take; ours becomes a folder that transformers and vLLM load, or
one whose checkpoint_<step> T5X restores, Adafactor's state included.
All names and shapes are checked before anything is written, DST appears whole or not at
all, and weights pass through memory one at a time. The tokenizer travels with the model.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flan.checkpoints.foreign.our_model import OurModel

FOREIGN = ("gguf", "hf", "t5x")
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3}  # powers of 1000, of 1024 with an i: GiB


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `flan convert`."""
    add = parser.add_argument
    add("source", metavar="SRC", help="file or folder to read")
    add("out", metavar="DST", help="folder to write; must not be there")
    add(
        "--from",
        dest="kind",
        default="auto",
        choices=("auto", "flan", *FOREIGN),
        help="what SRC is (default: found out)",
    )
    add(
        "--to",
        default="auto",
        choices=("auto", "flan", "hf", "t5x"),
        help="what DST becomes (default: flan for a foreign SRC, hf for ours)",
    )
    add(
        "--dtype",
        default="float32",
        choices=("float32", "bfloat16", "float16"),
        help="of the written weights; float16 for hf only (default: float32)",
    )
    add(
        "--max_shard_size",
        default="5GB",
        metavar="SIZE",
        help="of a safetensors file, such as 500MB (default: 5GB)",
    )
    add(
        "--vocabulary",
        metavar="PATH",
        help="vocabulary folder or SentencePiece model, for T5X, whose checkpoints have none",
    )


def run(args: argparse.Namespace) -> int:
    """Converts and says what came out."""
    # Nothing is computed: an accelerator would only be taken away from others.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from flan.checkpoints.foreign.detect import detect
    from flan.checkpoints.manager import quiet_orbax
    from flan.checkpoints.record import record_files

    quiet_orbax()
    source, out = Path(args.source).expanduser(), Path(args.out).expanduser()
    shard = parse_size(args.max_shard_size)
    if out.exists() or out.is_symlink():  # a link that leads nowhere cannot become a folder
        raise ValueError(f"{out} is there already: give another folder")
    kind, source = detect(source, args.kind)
    to = ("hf" if kind == "flan" else "flan") if args.to == "auto" else args.to
    if kind == "flan" and to == "flan":
        raise ValueError(
            f"{source} is a model folder of ours already; use --to hf or --to t5x to export it"
        )
    if kind != "flan" and to != "flan":
        raise ValueError(f"convert it to a model folder of ours first, and that one with --to {to}")
    if to == "t5x" and args.dtype != "float32":
        raise ValueError(f"T5X keeps float32 parameters: leave --dtype {args.dtype} out")
    if kind != "t5x" and args.vocabulary:
        raise ValueError("--vocabulary is for T5X checkpoints; other models bring their own")
    # What it was trained on stays known, there and back.
    files = record_files(source, kind)
    if to == "t5x":
        return _export_t5x(source, out, files)
    if to == "hf":
        return _export(source, out, args.dtype, shard, files)
    return _import(kind, source, out, args, files)


def parse_size(text: str) -> int:
    """Bytes of "500MB", "5GiB" or a plain number; ValueError for anything else."""
    pattern = r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*(?:([KMG])(i?))?B?"
    match = re.fullmatch(pattern, text.strip(), re.IGNORECASE)
    size = 0
    if match:
        unit = _UNITS[(match[2] or "").upper()]
        size = int(float(match[1]) * (1024 if match[3] else 1000) ** unit)
    if size < 1:
        raise ValueError(f"--max_shard_size {text!r} should be a size such as 500MB or 5GB")
    return size


def _import(
    kind: str, source: Path, out: Path, args: argparse.Namespace, files: dict[str, bytes]
) -> int:
    from flan.checkpoints.foreign.detect import open_foreign
    from flan.checkpoints.foreign.import_model import import_model
    from flan.progress import progress_bar

    if args.dtype == "float16":
        raise ValueError("--dtype float16 is for --to hf; model folders hold float32 or bfloat16")
    vocabulary = Path(args.vocabulary).expanduser() if args.vocabulary else None
    model = open_foreign(kind, source, vocabulary)
    total = sum(len(p.parts) for p in model.parameters)
    with progress_bar(total, "convert", unit="tensor") as bar:
        import_model(model, out, dtype=args.dtype, files=files, on_progress=bar.update)
    print(f"{args.out}: {model.kind}, {model.config.num_parameters:,} parameters, {args.dtype}")
    for note in model.notes_for(args.dtype):
        print(f"  {note}")
    start = "its start token first" if model.reads_start else "no start token"
    print(f"  reads {start}; evaluate it with: flan eval {args.out} --datasets ... --out results")
    return 0


def _export(
    source: Path, out: Path, dtype: str, max_shard_bytes: int, files: dict[str, bytes]
) -> int:
    from flan.checkpoints.foreign.export_model import count_tensors, export_model
    from flan.checkpoints.foreign.our_model import OurModel
    from flan.progress import progress_bar

    model = OurModel(source)
    try:
        with progress_bar(count_tensors(model), "convert", unit="tensor") as bar:
            architecture = export_model(
                model,
                out,
                dtype=dtype,
                max_shard_bytes=max_shard_bytes,
                files=files,
                on_progress=bar.update,
            )
    finally:
        model.close()
    print(f"{out}: {architecture}, {model.config.num_parameters:,} parameters, {dtype}")
    if architecture == "LlamaForCausalLM" and model.config.activation == "gelu":
        print("  transformers loads it; vLLM's Llama knows silu only")
    _note_prefix_lm(model)
    return 0


def _export_t5x(source: Path, out: Path, files: dict[str, bytes]) -> int:
    from flan.checkpoints.foreign.our_model import OurModel
    from flan.checkpoints.foreign.t5x_export import MODEL_GIN, PREFIX, export_t5x
    from flan.progress import progress_bar

    model = OurModel(source)
    try:
        with progress_bar(len(model.shapes), "convert", unit="tensor") as bar:
            whole = export_t5x(model, out, files=files, on_progress=bar.update)
    finally:
        model.close()
    state = "Adafactor's state" if whole else "a fresh Adafactor's state"
    print(f"{out}: T5X, {model.config.num_parameters:,} parameters, {state}")
    print(
        f"  --gin_file={out / MODEL_GIN} --gin.INITIAL_CHECKPOINT_PATH="
        f"'\"{out / PREFIX}_{model.step}\"'"
    )
    _note_prefix_lm(model)
    return 0


def _note_prefix_lm(model: OurModel) -> None:
    from flan.checkpoints.record import is_prefix_lm

    if is_prefix_lm(model.metadata):
        print(
            "  it was trained with StepConfig.prefix_lm, to read inputs both ways, which the "
            "export cannot say: whoever reads it causally gets worse answers"
        )
