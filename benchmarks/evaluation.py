"""Evaluation beside its peers: the same weights, the same requests, float32, one process.

  flan convert SmolLM2-135M-Instruct.Q4_1.gguf models/smollm2
  flan convert models/smollm2 models/smollm2_hf
  python benchmarks/evaluation.py models/smollm2 models/smollm2_hf --data_dir TFDS_FOLDER

(r) rank classification of real rows through the FLAN templates: examples a second, ours
    against lm-evaluation-harness's `hf` model, which gets our token ids. Ours also computes
    what PMI needs.
(g) greedy generation: tokens a second, ours as `flan eval` batches it against
    `transformers.generate` with 16 prompts in a batch, both with an EOS that never comes (every
    row writes all its tokens) and with the real one.

Both sides take turns, a chunk of the work each, so that a busy machine slows both alike.
Seconds are of the wall clock; ours are also given without compiling, which a longer run
does not repeat. Needs torch, transformers and lm-eval beside this package.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from flan.catalog.registry import get_dataset
from flan.evaluation.cached_rows import CachedRowStore
from flan.evaluation.generation import generate
from flan.evaluation.model import EvaluationModel, load_model
from flan.evaluation.modes import Mode, templates_for
from flan.evaluation.prompts import GenerationRequest, RankRequest, rank_requests
from flan.evaluation.rows import spread
from flan.evaluation.scoring import score_requests
from flan.evaluation.settings import CellSettings
from flan.templates.load import load_templates
from flan.templates.template import render

DATASETS = ("hellaswag", "piqa", "arc", "bool_q", "rte")


class Stopwatch:
    """Seconds spent, and how many of them went into compiling."""

    def __init__(self) -> None:
        self.seconds = self.compiling = 0.0
        jax.monitoring.register_event_duration_secs_listener(self._heard)

    def _heard(self, event: str, seconds: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            self.compiling += seconds

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ours", type=Path, help="a model folder")
    parser.add_argument("theirs", type=Path, help="the same weights as a Hugging Face folder")
    parser.add_argument("--data_dir", type=Path, required=True, help="TFDS folder")
    parser.add_argument("--cache_dir", type=Path, default=Path("~/.cache/flan").expanduser())
    parser.add_argument("--parts", default="rg")
    parser.add_argument("--rows", type=int, default=20, help="of each dataset (default: 20)")
    parser.add_argument("--templates", type=int, default=3, help="of each dataset (default: 3)")
    parser.add_argument("--prompts", type=int, default=64, help="for (g) (default: 64)")
    parser.add_argument("--new_tokens", type=int, default=64, help="for (g) (default: 64)")
    parser.add_argument("--chunks", type=int, default=4, help="turns (default: 4)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: 2)")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    model = load_model(args.ours)
    results: dict[str, Any] = {}
    if "r" in args.parts:
        results["rank"] = rank(model, args)
        print(json.dumps(results["rank"], indent=2), file=sys.stderr)
    if "g" in args.parts:
        results["generate"] = generation(model, args)
    print(json.dumps(results, indent=2))
    return 0


def requests_of(model: EvaluationModel, args: argparse.Namespace) -> list[RankRequest]:
    """Rows through templates, all templates of a row next to each other's."""
    settings = CellSettings()
    found = []
    store = CachedRowStore(args.cache_dir, args.data_dir)
    for name in DATASETS:
        dataset = get_dataset(name)
        sets = store.open([dataset], ["test"])
        templates = templates_for(dataset, load_templates(name), Mode())[: args.templates]
        for rows in sets.values():
            count = -(-args.rows // len(sets))
            examples = rows.load(spread(len(rows), count)).examples
            for template in templates:
                texts = [render(template, fields) for fields in examples]
                found += rank_requests(
                    texts,
                    model.vocabulary,
                    "instructions",
                    settings.lengths,
                    model.reads_start,
                )
    return found


def take_turns(work: Sequence[Any], chunks: int, *sides: Callable[[Sequence[Any]], None]) -> None:
    """Each side does each chunk, one after the other; the first one changes."""
    for turn in range(chunks):
        part = work[turn::chunks]
        for side in sides if turn % 2 else sides[::-1]:
            side(part)


def rank(model: EvaluationModel, args: argparse.Namespace) -> dict[str, Any]:
    """Examples a second of both sides, and how far their log-probabilities are apart."""
    from lm_eval.models.huggingface import HFLM

    network, tokenizer = load_theirs(args.theirs)
    harness = HFLM(pretrained=network, tokenizer=tokenizer, batch_size=16, max_length=1280)
    requests = requests_of(model, args)
    mine, theirs = Stopwatch(), Stopwatch()
    scores: dict[int, np.ndarray] = {}
    answers: dict[int, np.ndarray] = {}

    def ours(part: Sequence[int]) -> None:
        with mine.running(), model.running():
            found = score_requests(
                model.network,
                model.params,
                [requests[i] for i in part],
                start_id=model.start_id,
                shapes=CellSettings().shapes(model.parts),
                unconditional=model.unconditional,
            )
        scores.update(zip(part, (s.log_probs for s in found), strict=True))

    def peer(part: Sequence[int]) -> None:
        asked = [
            ((f"{i} {o}", ""), list(requests[i].context), list(option))
            for i in part
            for o, option in enumerate(requests[i].options)
        ]
        with theirs.running():
            found = iter(harness._loglikelihood_tokens(asked, disable_tqdm=True))
        for i in part:
            answers[i] = np.array([next(found)[0] for _ in requests[i].options])

    take_turns(range(len(requests)), args.chunks, ours, peer)
    apart = max(float(np.abs(scores[i] - answers[i]).max()) for i in scores)
    rate = len(requests) / theirs.seconds
    return {
        "examples": len(requests),
        "options": sum(len(r.options) for r in requests),
        "ours_per_s": round(len(requests) / mine.seconds, 3),
        "ours_per_s_without_compiling": round(len(requests) / (mine.seconds - mine.compiling), 3),
        "lm_eval_per_s": round(rate, 3),
        "ratio": round(len(requests) / mine.seconds / rate, 2),
        "ratio_without_compiling": round(len(requests) / (mine.seconds - mine.compiling) / rate, 2),
        "largest_difference_of_a_log_probability": apart,
    }


def generation(model: EvaluationModel, args: argparse.Namespace) -> dict[str, Any]:
    """Tokens a second of both sides."""
    network, _ = load_theirs(args.theirs)
    found = [r.context for r in requests_of(model, args)]
    contexts = sorted((c for c in found if len(c) <= 128), key=len)[-args.prompts :]
    rng = np.random.default_rng(0)
    contexts = [contexts[i] for i in rng.permutation(len(contexts))]
    eos = model.vocabulary.eos_id
    return {
        "prompts": len(contexts),
        "new_tokens": args.new_tokens,
        "all_tokens": race(model, network, contexts, -1, args),
        "until_eos": race(model, network, contexts, eos, args),
    }


def race(
    model: EvaluationModel, network: Any, contexts: Sequence[tuple[int, ...]], eos: int, args: Any
) -> dict[str, Any]:
    """Both sides on all prompts; `eos` -1 never comes."""
    import torch

    mine, theirs = Stopwatch(), Stopwatch()
    written = {"ours": 0, "theirs": 0}
    same = []
    kept: dict[int, list[int]] = {}

    def ours(part: Sequence[int]) -> None:
        with mine.running(), model.running():
            answers = generate(
                *model.decoder,
                [GenerationRequest(contexts[i]) for i in part],
                eos_id=eos,
                start_id=model.start_id,
                max_new_tokens=args.new_tokens,
                shapes=CellSettings().generation_shapes(model.parts),
            )
        written["ours"] += sum(map(len, answers))
        for i, answer in zip(part, answers, strict=True):
            check(i, answer)

    def peer(part: Sequence[int]) -> None:
        for first in range(0, len(part), 16):
            chosen = part[first : first + 16]
            width = max(len(contexts[i]) for i in chosen)
            ids = torch.zeros((len(chosen), width), dtype=torch.long)
            mask = torch.zeros_like(ids)
            for row, i in enumerate(chosen):
                ids[row, width - len(contexts[i]) :] = torch.tensor(contexts[i])
                mask[row, width - len(contexts[i]) :] = 1
            with theirs.running(), torch.no_grad():
                out = network.generate(
                    ids,
                    attention_mask=mask,
                    max_new_tokens=args.new_tokens,
                    do_sample=False,
                    eos_token_id=None if eos < 0 else eos,
                    pad_token_id=0,
                )
            for i, row in zip(chosen, out[:, width:].tolist(), strict=True):
                answer = row[: row.index(eos)] if eos in row else row
                written["theirs"] += len(answer)
                check(i, answer)

    def check(i: int, answer: list[int]) -> None:
        if i in kept:
            same.append(kept.pop(i) == answer)
        else:
            kept[i] = answer

    network.generation_config.eos_token_id = None if eos < 0 else eos
    take_turns(range(len(contexts)), args.chunks, ours, peer)
    rate = written["theirs"] / theirs.seconds
    warm = written["ours"] / (mine.seconds - mine.compiling)
    return {
        "ours_per_s": round(written["ours"] / mine.seconds, 2),
        "ours_per_s_without_compiling": round(warm, 2),
        "transformers_per_s": round(rate, 2),
        "ratio": round(written["ours"] / mine.seconds / rate, 2),
        "ratio_without_compiling": round(warm / rate, 2),
        "same_answers": f"{sum(same)} of {len(same)}",
    }


def load_theirs(folder: Path) -> tuple[Any, Any]:
    """The network in float32 and its tokenizer, from disk only."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    )
    return network.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)


if __name__ == "__main__":
    sys.exit(main())
