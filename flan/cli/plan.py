r"""Plan a training run for hardware that need not be here: whether it fits, how long, what cost.

  flan plan --gin_file=configs/runs/finetune.gin --gin_file=configs/models/137b.gin \
      --topology=v3:8x8 --gin.MeshConfig.fsdp=8 --gin.MeshConfig.model=16

Compiles the train step that `flan train` would run with the same gin files, and reads memory,
operations, memory traffic and collectives from the compiled program, a loop's body as often
as it runs. TPUs need libtpu (pip install "flan-jax[tpu-planning]") and no TPU. The data need
not exist; where the model says no vocabulary size, 32,000 is assumed.

  --topology v3:8x8, v4:4x4x4       chips along each axis (a v3 chip is two devices)
             v3-128, tpu-v4-128, v5p-64, v5litepod-16, v6e-8    as Google Cloud counts them
             2xv5p-64, 2xv4:4x4x4   two such slices, which a data center's network connects
             cpu, cpu:8, gpu        devices of this machine

  --search tries meshes, remat policies and microbatches, the most promising first.

exit codes: 0 it fits, 1 it does not, 2 a mistake in the settings.
"""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flan.planning.estimate import Estimate
    from flan.planning.program import Work
    from flan.planning.search import Found
    from flan.planning.topology import Topology

EXIT_DOES_NOT_FIT = 1


def rewrite(argv: list[str]) -> list[str]:
    """Lets argparse understand `--gin.NAME=VALUE`."""
    from flan.gin_edge import split_bindings

    return split_bindings(argv)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `flan plan`."""
    parser.add_argument(
        "--gin_file",
        action="append",
        required=True,
        metavar="FILE",
        help="a gin file, as for flan train; may be repeated",
    )
    parser.add_argument(
        "--gin_bindings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one setting; --gin.NAME=VALUE is the same",
    )
    parser.add_argument("--topology", required=True, metavar="NAME", help="see above")
    parser.add_argument("--search", action="store_true", help="look for the fastest that fits")
    parser.add_argument(
        "--max_candidates", type=_positive, default=8, metavar="N", help="programs to compile"
    )
    parser.add_argument(
        "--efficiency",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="share of the roofline's speed that the run is expected to reach (default 0.5)",
    )
    parser.add_argument(
        "--price", type=float, metavar="USD", help="of a chip and hour; by default the list price"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON too")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of 1 or more, got {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Prints the plan; 1 where it does not fit."""
    if not 0 < args.efficiency <= 1:
        raise ValueError(f"--efficiency must be above 0 and at most 1, got {args.efficiency}")
    if args.price is not None and not 0 <= args.price < math.inf:
        raise ValueError(f"--price must be 0 or more, and finite, got {args.price}")
    if not args.topology.lower().startswith(("gpu", "cuda")):
        # With libtpu installed JAX would look for a TPU, and take its time.
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from flan import gin_edge
    from flan.planning.estimate import estimate
    from flan.planning.program import check, work_of
    from flan.planning.topology import find_topology
    from flan.training.configurables import CONFIGURABLES

    configurable = gin_edge.register(CONFIGURABLES)
    # A plan writes nothing: it needs no model folder, though the run files ask for one.
    gin_edge.parse(args.gin_file, ["MODEL_DIR='unused'", *args.gin_bindings])
    work = work_of(gin_edge.build(configurable["RunConfig"]))
    topology = find_topology(args.topology)
    if args.search:
        found = _search(work, topology, args.max_candidates)
        made = found.best
        results = [e.to_json(args.efficiency, args.price) for e in found.tried]
        report = {"tried": results, "best": made and made.to_json(args.efficiency, args.price)}
    else:
        check(work, topology.devices)
        made = estimate(work, topology)
        report = made.to_json(args.efficiency, args.price)
    if made is not None:
        _print(made, args.efficiency, args.price)
    if args.json:
        from flan.data import atomic

        path = Path(args.json).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(path, report)
    return 0 if made is not None and made.fits else EXIT_DOES_NOT_FIT


def _search(work: Work, topology: Topology, limit: int) -> Found:
    from flan.cli.tables import console, print_table
    from flan.planning.search import search
    from flan.progress import progress_bar

    with progress_bar(limit, "compile", "plan") as bar:

        def report(made: Estimate) -> None:
            bar.update()
            bar.set_postfix_str(f"mesh {_mesh(made)}, remat {made.work.model.remat}")

        found = search(work, topology, limit, report)
    print_table(
        ("mesh d x f x m", "remat", "microbatches", "GiB a device", "step s", "bound by", "fits"),
        [
            (
                _mesh(made),
                made.work.model.remat,
                str(made.work.step.microbatches),
                f"{made.program.memory.total / 2**30:.2f}",
                _number(made.step_s, ".3f"),
                made.bound if made.step_s else "",
                "yes" if made.fits else "NO",
            )
            for made in found.tried
        ],
        right=("microbatches", "GiB a device", "step s"),
    )
    out = console()
    out.print(
        f"{len(found.tried)} compiled, {found.too_large} too large before compiling, "
        f"{found.left} not reached (--max_candidates)"
    )
    if found.best is None:
        out.print("none of them fits")
    else:
        shape = _mesh(found.best).split(" x ")
        out.print(
            "fastest that fits: "
            + " ".join(
                f"--gin.MeshConfig.{axis}={size}"
                for axis, size in zip(("data", "fsdp", "model"), shape, strict=True)
            )
            + f" --gin.ModelConfig.remat={found.best.work.model.remat}"
            + f" --gin.StepConfig.microbatches={found.best.work.step.microbatches}",
        )
    return found


def _print(made: Estimate, efficiency: float, price: float | None) -> None:
    from flan.cli.tables import console, print_table

    out = console()
    work, chip, memory = made.work, made.topology.chip, made.program.memory
    out.print(
        f"\n{work.model.num_parameters / 1e9:.2f}B parameters on {made.topology.name}: "
        f"{made.topology.num_chips} chips, {len(made.topology.devices)} devices, mesh "
        f"{_mesh(made)} (data x fsdp x model), remat {work.model.remat}, "
        f"{work.step.microbatches} microbatches, {work.rows} rows of {work.length}, "
        f"compiled in {made.program.compile_s:.0f} s\n"
    )
    rows = [(f"memory: {k}", f"{v / 2**30:.2f} GiB") for k, v in vars(memory).items()]
    limit = f" of {made.hbm_bytes / 2**30:.2f}" if made.hbm_bytes else ""
    verdict = "" if made.hbm_bytes is None else " (fits)" if made.fits else " (DOES NOT FIT)"
    rows.append(("memory: all, a device", f"{memory.total / 2**30:.2f}{limit} GiB{verdict}"))
    if made.program.text:
        rule = 8 if work.model.remat == "full" else 6
        rows += [
            ("matrix products, all devices", f"{made.total_flops:.3e} FLOP a step"),
            (f"  of {rule} x parameters x tokens", f"{made.total_flops / work.rule_flops:.1%}"),
            ("  of what the model's shapes ask", f"{made.total_flops / work.model_flops:.1%}"),
            ("memory traffic, a device", f"{made.counts.memory_bytes / 1e9:.2f} GB a step"),
        ]
        rows += [
            (f"sent in {kind}, a device", f"{size / 1e9:.3f} GB a step")
            for kind, size in sorted(made.sent_by_kind().items())
        ]
    if chip is None:
        rows.append(("time, energy, cost", "no figures of this device"))
    elif made.step_s:
        rows += [
            ("least time: compute", f"{made.compute_s:.3f} s"),
            ("least time: memory", f"{made.memory_s:.3f} s"),
            ("least time: network", f"{made.network_s:.3f} s"),
            ("roofline of a step", f"{made.step_s:.3f} s, bound by {made.bound}"),
            (f"roofline of {work.steps:,} steps", f"{made.hours():.1f} h"),
            (f"  at {efficiency:.0%} of it", f"{made.hours(efficiency):.1f} h"),
            ("energy", f"{made.kilowatt_hours(efficiency):,.0f} kWh"),
            ("cost", f"{made.dollars(efficiency, price):,.0f} USD"),
        ]
    print_table(("what", "how much"), rows, right=("how much",))
    if chip is not None:
        dollars = chip.usd_per_hour if price is None else price
        out.print(
            f"assumed: {chip.watts:g} W and {dollars:g} USD an hour for a chip, 1.3 times the "
            f"chips' power for the hosts and cooling around them"
        )
    for name in made.counts.unknown_loops:
        out.print(f"counted once, for want of a trip count: loop {name}", markup=False)
    for name, times in made.counts.opaque.items():
        out.print(f"not counted inside: {times} calls of {name}", markup=False)


def _mesh(made: Estimate) -> str:
    from flan.planning.estimate import mesh_shape

    return " x ".join(map(str, mesh_shape(made)))


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
