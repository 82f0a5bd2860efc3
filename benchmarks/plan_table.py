"""Writes docs/planning.md: every model size of the FLAN paper on TPU slices, by `flan plan`.

  python benchmarks/plan_table.py            [--topologies v3:8x8] [--sizes 2b 8b]

Needs libtpu, no TPU. A cell is the shipped model (full remat, float32 parameters, bfloat16
compute, Adafactor) with 8 rows of 1280 tokens (more where no mesh deals them out), on the meshes that promise most until one fits;
`--tries` compiles more of them and keeps the fastest. Finished cells are kept in the results
file, so that the script goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

SIZES = ("422m", "2b", "8b", "68b", "137b")
TOPOLOGIES = ("v3:8x8", "v4:4x4x4", "v5p:4x4x4", "v6e:8x8")
RESULTS = Path(__file__).with_suffix(".json")
MAX_TRIES = 4
# The paper trained this one on 8,192 tokens a batch.
BINDINGS = {"137b": ["TASK_FEATURE_LENGTHS={'inputs': 768, 'targets': 256}"]}

HEAD = """# What the paper's models need on TPUs

Written by `benchmarks/plan_table.py`; the same figures for your own settings come from
`flan plan`. Each line is the train step that `flan train` runs with the shipped gin files
(`configs/runs/finetune.gin` and the model's: full remat, float32 parameters, bfloat16 compute,
Adafactor; 8 rows of 1280 tokens, or as many as some mesh can deal out, and the paper's 8,192
tokens for 137B), compiled by libtpu for the slice without having one.

- **GiB a device**: state, activations, gradients and buffers, as the compiler laid them out. A
  v3 chip is two devices of 16 GiB.
- **FLOP / rule**: matrix operations of a step on all devices, over 8 x parameters x tokens (6,
  and 2 for what remat computes again). The rule counts the embedding as a product and the logits
  at every place, hence less than 100% for small models.
- **compute, memory, network**: least seconds of a step for the matrix products, the traffic with
  main memory and the collectives, one by one, at the chips' peaks (`flan/planning/chips.yaml`
  names their sources). The longest is the **roofline**: no step is faster.
- **30,000 steps**: hours at half of the roofline's speed, and what they cost at list price. The
  paper's 137B took about 60 hours on 128 TPUv3 cores (`v3:8x8`).
"""


def plan(size: str, topology_name: str, tries: int) -> dict[str, Any]:
    """The best of `tries` fitting meshes, or the last that did not fit."""
    from flan import gin_edge
    from flan.planning.estimate import estimate
    from flan.planning.program import work_of
    from flan.planning.search import candidates
    from flan.planning.topology import find_topology
    from flan.training.configurables import CONFIGURABLES

    configurable = gin_edge.register(CONFIGURABLES)
    files = ["configs/runs/finetune.gin", f"configs/models/{size}.gin"]
    gin_edge.parse(files, ["MODEL_DIR='unused'", *BINDINGS.get(size, [])])
    work = work_of(gin_edge.build(configurable["RunConfig"]))
    topology = find_topology(topology_name)
    limit = topology.chip.device_hbm_bytes
    for rows in (work.rows, 2 * work.rows, 4 * work.rows):
        work = dataclasses.replace(work, rows=rows)
        possible = [c for c in candidates(work, topology) if c[0].model == work.model]
        if possible:  # 8 rows and the 40 heads of 2B cannot be dealt out to 128 devices
            break
    wanted = [c for c, least in possible if c.step == work.step and least <= limit]
    made, tried = [], 0
    for candidate in wanted[:MAX_TRIES]:
        made.append(estimate(candidate, topology))
        tried += 1
        if sum(e.fits for e in made) >= tries:
            break
    if not made:
        return {"fits": False, "tried": 0}
    best = min((e for e in made if e.fits), key=lambda e: e.step_s, default=made[-1])
    return {**best.to_json(), "tried": tried}


def row(size: str, name: str, cell: dict[str, Any]) -> list[str]:
    """One line of the table."""
    if not cell["fits"]:
        needed = cell.get("memory_bytes", {}).get("total")
        text = f"{needed / 2**30:.1f}" if needed else "more than there is"
        return [size.upper(), name, "does not fit", "", text, *[""] * 7]
    seconds = cell["seconds"]
    mesh = cell["mesh"]
    return [
        size.upper(),
        name,
        f"{mesh['data']} x {mesh['fsdp']} x {mesh['model']}",
        f"{cell['batch_rows']} x {cell['row_length']}",
        f"{cell['memory_bytes']['total'] / 2**30:.1f} of {cell['hbm_bytes'] / 2**30:.0f}",
        f"{cell['step_flops'] / cell['rule_flops']:.0%}",
        *(f"{seconds[part]:.3f}" for part in ("compute", "memory", "network")),
        f"{seconds['step']:.3f} s ({cell['bound']})",
        f"{cell['hours']:.1f} h",
        f"{cell['usd']:,.0f} USD",
    ]


def render(cells: dict[str, dict[str, Any]]) -> str:
    """The page."""
    columns = [
        "model",
        "slice",
        "data x fsdp x model",
        "batch",
        "GiB a device",
        "FLOP / rule",
        "compute s",
        "memory s",
        "network s",
        "roofline",
        "30,000 steps",
        "cost",
    ]
    lines = [columns, ["---"] * len(columns)]
    pairs = [(size, name) for size in SIZES for name in TOPOLOGIES]
    lines += [row(s, t, cells[f"{s} {t}"]) for s, t in pairs if f"{s} {t}" in cells]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    left = ", ".join(f"{s.upper()} on `{t}`" for s, t in pairs if f"{s} {t}" not in cells)
    note = f"\nNot compiled yet (the script goes on where it stopped): {left}.\n" if left else ""
    return f"{HEAD}\n{table}{note}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=Path("docs/planning.md"))
    parser.add_argument("--render", action="store_true", help="compile nothing, write the page")
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--topologies", nargs="+", default=TOPOLOGIES)
    parser.add_argument("--tries", type=int, default=1, help="fitting meshes to compile")
    args = parser.parse_args()
    cells = json.loads(args.results.read_text()) if args.results.exists() else {}
    for name in args.topologies:
        for size in args.sizes:
            key = f"{size} {name}"
            if key not in cells and not args.render:
                cells[key] = plan(size, name, args.tries)
                args.results.write_text(json.dumps(cells, indent=1))
                print(key, " ".join(row(size, name, cells[key])[2:]), flush=True)
    args.out.write_text(render(cells))


if __name__ == "__main__":
    main()
