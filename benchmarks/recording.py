"""Records what a benchmark measured, and the machine it ran on, as JSON; `render` makes the pages of docs/results.

Every benchmark ends with `record` and has a function `tables(result)` that turns the JSON into Markdown.

    record(__file__, {"items_per_second": spread([10.0, 12.0, 11.0])}, tables)
"""

import json
import os
import platform
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import click

RESULTS = Path(__file__).parent / "results"
PAGES = RESULTS.parents[1] / "docs" / "results"
_LIBRARIES = ("torch", "transformers", "trl", "math-verify", "numpy")

data_dir_option = click.option(
    "--data-dir",
    envvar="DATA",
    type=click.Path(path_type=Path),
    default=Path("data"),
    show_default=True,
    help="Folder of the data files.",
)
"""The option of a benchmark that reads the published data files."""


def record(script: str, result: dict[str, Any], tables: Callable[[dict[str, Any]], str]) -> None:
    """Print the tables and write results/NAME.json.

    Args:
        script: The benchmark's `__file__`.
        result: Measured values, JSON types only.
        tables: Function that makes Markdown from a result.
    """
    content = {"result": result, "machine": machine()}
    path = RESULTS / f"{Path(script).stem}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(tables(json.loads(path.read_text("utf-8"))["result"]))


def machine() -> dict[str, Any]:
    """Date, processor, cores, load average and versions, which a reader needs to judge a figure."""
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name))},
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, minimum and maximum of repeated measurements."""
    return {"median": median(values), "low": min(values), "high": max(values)}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
