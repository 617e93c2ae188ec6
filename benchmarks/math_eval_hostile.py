"""What hostile completions cost the grader: verdict, processor time and memory of each.

The inputs are those of packages/math-eval/tests/test_hostile.py. Processor time is that of the calling thread plus
that of the worker on this job (starting a worker is not part of a job), so a busy machine changes nothing. The time by
the clock is that of the caller and of the same job.

    python benchmarks/math_eval_hostile.py
"""

import importlib.util
import os
import resource
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from recording import record

from math_eval import Grader
from math_eval.grading.pool import _Worker

_TESTS = Path(__file__).parents[1] / "packages/math-eval/tests/test_hostile.py"
_TICK = os.sysconf("SC_CLK_TCK")


def _inputs() -> Any:
    spec = importlib.util.spec_from_file_location("test_hostile", _TESTS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _reaped() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Clock:
    """Adds up the processor time of jobs in workers, and their time by the clock."""

    def __init__(self) -> None:
        self.seconds = self.wall = 0.0
        self._ask = _Worker.ask
        clock = self

        def ask(worker: _Worker, job: dict[str, Any], deadline_s: float) -> dict[str, Any]:
            before, reaped, start = clock.of(worker), _reaped(), time.perf_counter()
            try:
                return clock._ask(worker, job, deadline_s)
            finally:
                clock.wall += time.perf_counter() - start
                used = clock.of(worker)
                clock.seconds += (used if used is not None else _reaped() - reaped) - (before or 0.0)

        _Worker.ask = ask  # type: ignore[method-assign]

    @staticmethod
    def of(worker: _Worker) -> float | None:
        try:
            fields = Path(f"/proc/{worker._process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return (int(fields[11]) + int(fields[12])) / _TICK


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
    tests, clock = _inputs(), _Clock()
    rows: list[dict[str, Any]] = []
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def grade_all() -> None:
        for name, (completion, gold) in tests.INPUTS.items():
            clock.seconds, clock.wall, start = 0.0, 0.0, time.thread_time()
            verdict = grader.grade(completion, gold).verdict
            caller = time.thread_time() - start
            seconds, wall = caller + clock.seconds, caller + clock.wall
            rows.append({"input": name, "verdict": verdict, "caller": caller, "seconds": seconds, "wall": wall})

    with Grader(1, deadline_s=tests.DEADLINE_S) as grader:
        thread = threading.Thread(target=grade_all)
        thread.start()
        thread.join()
        ordinary = [verdict.verdict for verdict in grader.grade_many(tests.ORDINARY)]
    result = {
        "rows": sorted(rows, key=lambda row: -row["seconds"]),
        "counts": dict(Counter(row["verdict"] for row in rows).most_common()),
        "deadline": tests.DEADLINE_S,
        "caller_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024,
        "worker_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "ordinary": ordinary,
    }
    record(__file__, result, tables)


if __name__ == "__main__":
    main()
