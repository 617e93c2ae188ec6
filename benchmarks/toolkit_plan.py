"""What a million, 40 million and a billion traces cost, from the figures of `toolkit_scale`; and the size of a shard.

Nothing is run: cores, hours and disk are those figures times the number of rows and their length, as if seconds grew
as characters. The size of a shard is simulated: workers take shards in turn, some shards are slow, and a lost worker's
shard is made again from its beginning.

    python benchmarks/toolkit_plan.py
"""

import json
from typing import Any

import numpy as np
from recording import RESULTS, record

CORPORA = {"1 million": 10**6, "40 million": 4 * 10**7, "1 billion": 10**9}
CHARS = 12_000
"""Mean number of characters of a conversation: about that of the real traces of mathematics."""
CORES = 1024
WORKERS, HOURS, RUNS = 128, 4.0, 20
SHARD_MINUTES = (0.5, 1, 2, 5, 10, 20, 40, 80)
START_S, SPREAD, SLOW_SHARE, SLOW = 5.0, 0.35, 0.02, 3.0
LOSSES_AN_HOUR = (0.0, 0.05, 0.2)
"""Number of times an hour that each worker is lost."""


def plan(scale: dict[str, Any]) -> list[dict[str, Any]]:
    """Core-hours, hours on CORES cores and disk of each stage and corpus."""
    measured = scale["sizes"][-1]
    longer = CHARS / measured["characters"]
    kept = bytes_a_trace(scale)
    rows = []
    for name, traces in CORPORA.items():
        for stage, found in measured["stages"].items():
            core_hours = 2 * found["ray"]["seconds"] / measured["rows"] * longer * traces / 3600
            rows.append(
                {
                    "corpus": name,
                    "stage": stage,
                    "core_hours": core_hours,
                    "hours": core_hours / CORES,
                    "terabytes": found["bytes"] / measured["rows"] * longer * traces / 1e12,
                    "driver_gigabytes": kept * traces / 1e9 if stage == "build" else None,
                }
            )
    return rows


def bytes_a_trace(scale: dict[str, Any]) -> float:
    """What the command that drives `build` on Ray keeps of a trace, from the first and the last size."""
    first, last = scale["sizes"][0], scale["sizes"][-1]
    most = [size["stages"]["build"]["ray"]["memory"]["driver"] for size in (first, last)]
    return (most[1] - most[0]) / (last["rows"] - first["rows"])


def efficiency(minutes: float, losses: float, generator: np.random.Generator) -> float:
    """Share of the workers' time that is work, when a shard takes so many minutes on average.

    Args:
        minutes: Mean time of a shard without what slows some of them.
        losses: Number of times an hour that a worker is lost.
        generator: Generator of the times.
    """
    shards = max(1, round(WORKERS * HOURS * 60 / minutes))
    work = np.exp(generator.normal(-(SPREAD**2) / 2, SPREAD, shards)) * minutes * 60
    times = START_S + work * np.where(generator.random(shards) < SLOW_SHARE, SLOW, 1.0)
    free = np.zeros(WORKERS)
    for seconds in times:
        worker = int(free.argmin())
        while (lost := generator.exponential(3600 / losses) if losses else np.inf) < seconds:
            free[worker] += lost + START_S
        free[worker] += seconds
    return float(work.sum() / (WORKERS * free.max()))


def shard_sizes() -> list[dict[str, Any]]:
    """The mean efficiency of RUNS simulated runs for each size of a shard and rate of losses."""
    generator = np.random.default_rng(0)
    return [
        {"minutes": minutes, "losses": losses, "efficiency": float(np.mean(found))}
        for minutes in SHARD_MINUTES
        for losses in LOSSES_AN_HOUR
        for found in [[efficiency(minutes, losses, generator) for _ in range(RUNS)]]
    ]


def tables(result: dict[str, Any]) -> str:
    """The plan, then the efficiency of each size of a shard."""
    lines = [
        "| traces | stage | core-hours | hours on 1024 cores | output, TB | memory of the command, GB |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in result["plan"]:
        memory = "" if row["driver_gigabytes"] is None else f"{row['driver_gigabytes']:,.1f}"
        lines.append(
            f"| {row['corpus']} | {row['stage']} | {row['core_hours']:,.0f} | {row['hours']:.2g} | "
            f"{row['terabytes']:.2g} | {memory} |"
        )
    heads = " | ".join(f"each worker lost {losses:g} times an hour" for losses in LOSSES_AN_HOUR)
    lines += ["", f"| minutes a shard | {heads} |", "|---:|" + "---:|" * len(LOSSES_AN_HOUR)]
    for minutes in SHARD_MINUTES:
        found = [each["efficiency"] for each in result["shards"] if each["minutes"] == minutes]
        lines.append(f"| {minutes:g} | {' | '.join(f'{value:.1%}' for value in found)} |")
    return "\n".join(lines)


def main() -> None:
    """Record the plan."""
    scale = json.loads((RESULTS / "toolkit_scale.json").read_text("utf-8"))["result"]
    record(__file__, {"characters": CHARS, "plan": plan(scale), "shards": shard_sizes()}, tables)


if __name__ == "__main__":
    main()
