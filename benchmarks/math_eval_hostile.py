"""The cost of hostile completions for the grader: verdict, processor time and memory of each.

The inputs are those of packages/math-eval/tests/hostile.jsonl. Processor time is the sum of the calling thread's and
the worker's. Before each input a worker is started, since the start is not part of a job. A busy machine changes only
the time by the clock.

    python benchmarks/math_eval_hostile.py
"""

import json
import os
import resource
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from recording import record

from math_eval import Grader

_INPUTS = Path(__file__).parents[1] / "packages/math-eval/tests/hostile.jsonl"
_DEADLINE_S = 2.0
_ORDINARY = [(r"\boxed{\int_0^2 x dx}", "2"), (r"\boxed{\log_2 8}", "3"), (r"\boxed{0.5}", r"\frac{1}{2}")]
_TICK = os.sysconf("SC_CLK_TCK")


def inputs() -> dict[str, tuple[str, str]]:
    """Name -> completion and gold."""
    rows = map(json.loads, _INPUTS.read_text("utf-8").splitlines())
    return {row["name"]: (_text(row["completion"]), _text(row["gold"])) for row in rows}


def _text(parts: list[Any]) -> str:
    """The text with these parts: strings, or a string and how often it is repeated."""
    return "".join(part if isinstance(part, str) else part[0] * part[1] for part in parts)


def _ended() -> float:
    """Processor seconds of all workers that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _running(workers: list[int]) -> float:
    """Processor seconds of these workers so far."""
    stats = (Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split() for pid in workers)
    return sum((int(fields[11]) + int(fields[12])) / _TICK for fields in stats)


def measure(grader: Grader, completion: str, gold: str) -> dict[str, Any]:
    """The verdict of one input and its cost, with a worker that is already running."""
    grader.grade(*_ORDINARY[0])
    before = _ended() + _running(grader.worker_pids)
    clock, thread = time.perf_counter(), time.thread_time()
    verdict = grader.grade(completion, gold).verdict
    wall, caller = time.perf_counter() - clock, time.thread_time() - thread
    in_worker = _ended() + _running(grader.worker_pids) - before
    return {"verdict": verdict, "caller": caller, "seconds": caller + in_worker, "wall": wall}


def tables(result: dict[str, Any]) -> str:
    """The totals, and the inputs that cost most."""
    counts = ", ".join(f"{count} `{name}`" for name, count in result["counts"].items())
    slowest = result["rows"][0]["seconds"]
    lines = [
        "| | |\n|---|---|",
        f"| verdicts on {len(result['rows'])} inputs | {counts} |",
        f"| deadline; most processor time for one, caller and worker | {result['deadline']:g} s; {slowest:.2f} s |",
        f"| most by the clock for one | {max(row['wall'] for row in result['rows']):.2f} s |",
        f"| most in the caller alone | {max(row['caller'] for row in result['rows']):.2f} s |",
        f"| memory | caller + {result['caller_mb']:.0f} MB; largest worker {result['worker_mb']:.0f} MB |",
        f"| ordinary items afterwards | {', '.join(f'`{name}`' for name in result['ordinary'])} |",
        "\n| input | verdict | processor seconds |\n|---|---|---:|",
    ]
    lines += [f"| {row['input']} | `{row['verdict']}` | {row['seconds']:.2f} |" for row in result["rows"][:12]]
    return "\n".join(lines)


def main() -> None:
    """Grade each input alone in a worker thread, and record what it cost."""
    rows: list[dict[str, Any]] = []
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def grade_all() -> None:
        rows.extend({"input": name, **measure(grader, *item)} for name, item in inputs().items())

    with Grader(1, deadline_s=_DEADLINE_S) as grader:
        thread = threading.Thread(target=grade_all)
        thread.start()
        thread.join()
        ordinary = [verdict.verdict for verdict in grader.grade_many(_ORDINARY)]
    result = {
        "rows": sorted(rows, key=lambda row: -row["seconds"]),
        "counts": dict(Counter(row["verdict"] for row in rows).most_common()),
        "deadline": _DEADLINE_S,
        "caller_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024,
        "worker_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "ordinary": ordinary,
    }
    record(__file__, result, tables)


if __name__ == "__main__":
    main()
