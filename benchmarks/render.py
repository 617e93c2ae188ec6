"""Makes the pages of docs/results: the text of each benchmark around the tables of its last recorded result.

Text is in results/NAME.md, the recorded result in results/NAME.json, and the tables are made by benchmarks/NAME.py.

    python benchmarks/render.py            # write
    python benchmarks/render.py --check    # exit code 1 if a page differs from what the recorded results give
"""

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from recording import PAGES, RESULTS

sys.path.insert(0, str(RESULTS.parents[1] / "examples"))
from seed_means import mean_over_seeds

TITLES = {
    "examples": "Results of the examples",
    "cot_compressor": "Results of cot-compressor",
    "ratio_sft": "Results of ratio-sft",
    "chrpo": "Results of chrpo",
    "math_eval": "Results of math-eval",
    "toolkit": "Results of the toolkit as a whole",
}
NOTE = "<!-- made by benchmarks/render.py; edit benchmarks/results instead -->"
PLACE, CLAIMS = "{tables}", "{claims}"
# The conditions of the quickstart that the summary shows, and what each one is.
SUMMARY_ROWS = {
    "base": "base model, full-length thinking",
    "sft@1.0": "after SFT, ratio 1 requested",
    "sft@0.4": "after SFT, ratio .4 requested",
    "sft@0.2": "after SFT, ratio .2 requested",
    "sft@policy": "after SFT, the model chooses the ratio",
    "chrpo@policy": "after CHRPO, the model chooses the ratio",
}


def section(text: Path) -> str:
    """The text of one benchmark with the tables of its recorded result."""
    script = f"benchmarks/{text.stem}.py"
    result = text.with_suffix(".json")
    if not result.is_file():
        return text.read_text("utf-8").replace(PLACE, f"Not measured yet: `{script}` measures it.").strip()
    recorded = json.loads(result.read_text("utf-8"))
    tables = importlib.import_module(text.stem).tables(recorded["result"]).strip()
    machine = recorded["machine"]
    where = f"Printed by `{script}` on {machine['processor']}, {machine['cores']} cores, {machine['date']}."
    return text.read_text("utf-8").replace(PLACE, f"{tables}\n\n{where}").strip()


def summary() -> str:
    """The first page: accuracy and thinking tokens of the main rows, around the text of results/index.md."""
    runs = json.loads((RESULTS / "examples_quickstart.json").read_text("utf-8"))["result"]["runs"]
    conditions = [{row["name"]: row for row in run["conditions"]} for run in runs]
    lines = [
        "| model | accuracy, % | thinking tokens | all tokens | fewer thinking tokens, % |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, meaning in SUMMARY_ROWS.items():
        accuracy = _interval([found[name]["accuracy"] for found in conditions])
        tokens, completion = (
            fmean(found[name][field] for found in conditions) for field in ("thinking_tokens", "completion_tokens")
        )
        reduction = "" if name == "base" else _interval([1 - found[name]["act_ratio"] for found in conditions])
        lines.append(f"| {meaning} | {accuracy} | {tokens:.1f} | {completion:.1f} | {reduction} |")
    text, tables = (RESULTS / "index.md").read_text("utf-8"), "\n".join(lines)
    found = "\n".join(importlib.import_module("claims").table())
    return f"{NOTE}\n\n{text.replace(PLACE, tables).replace(CLAIMS, found).strip()}\n"


def _interval(seeds: Sequence[float]) -> str:
    found = mean_over_seeds("", seeds)
    middle, low, high = (100 * found[end] for end in ("", "_low", "_high"))
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def pages() -> dict[Path, str]:
    """Every page and its content: the summary, and one page for each package, for the examples and for the toolkit."""
    made = {PAGES / "index.md": summary()}
    for owner, title in TITLES.items():
        sections = [section(text) for text in sorted(RESULTS.glob(f"{owner}_*.md"))]
        made[PAGES / f"{owner.replace('_', '-')}.md"] = "\n\n".join([NOTE, f"# {title}", *sections]) + "\n"
    return made


def main() -> None:
    """Write the pages, or compare them."""
    check = "--check" in sys.argv[1:]
    for path, text in pages().items():
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text("utf-8") != text:
            sys.exit(f"{path}: differs from what the recorded results give; run benchmarks/render.py")


if __name__ == "__main__":
    main()
