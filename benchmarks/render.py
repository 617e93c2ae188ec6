"""Makes the pages of docs/results: the text of each benchmark around the tables of its last recorded result.

Text is in results/NAME.md, the recorded result in results/NAME.json, and the tables are made by benchmarks/NAME.py.

    python benchmarks/render.py            # write
    python benchmarks/render.py --check    # exit code 1 if a page differs from what the recorded results give
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from recording import PAGES, RESULTS

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
EARLIER = ("examples_paper_tables",)
EARLIER_NOTE = (
    "The RL rows were measured with an earlier objective of chrpo 0.1.0: every prompt rolled out at every ratio, "
    "a price that started at 0 and had no minimum."
)
# The rows of the paper's tables that the summary shows, and what each row is.
SUMMARY_ROWS = {
    "base": "base model, full-length thinking",
    "sft@1": "after SFT, ratio 1 requested",
    "sft@0.4": "after SFT, ratio .4 requested",
    "sft@0.2": "after SFT, ratio .2 requested",
    "sft@policy": "after SFT, the model chooses the ratio",
    "chrpo": "after CHRPO, the model chooses the ratio",
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
    where = f"Printed by `{script}` on {machine['processor']}, {machine['cores']} cores."
    if text.stem in EARLIER:
        where = f"{where} {EARLIER_NOTE}"
    return text.read_text("utf-8").replace(PLACE, f"{tables}\n\n{where}").strip()


def summary() -> str:
    """The first page: accuracy and thinking tokens of the main rows, around the text of results/index.md."""
    example = importlib.import_module("examples_paper_tables")
    result = example.combine(example.read_seeds(example.EXAMPLE / "seeds.jsonl"))
    rows = {row["name"]: row for row in result["rows"]}
    lines = ["| model | accuracy, % | thinking tokens | fewer thinking tokens, % |", "|---|---:|---:|---:|"]
    for name, meaning in SUMMARY_ROWS.items():
        row = rows[name]
        reduction = "" if name == "base" else _interval(row, "token_reduction")
        lines.append(f"| {meaning} | {_interval(row, 'accuracy')} | {row['thinking_tokens']:.1f} | {reduction} |")
    text = (RESULTS / "index.md").read_text("utf-8")
    tables = "\n".join([*lines, "", EARLIER_NOTE])
    found = "\n".join(importlib.import_module("claims").table())
    return f"{NOTE}\n\n{text.replace(PLACE, tables).replace(CLAIMS, found).strip()}\n"


def _interval(row: dict[str, Any], name: str) -> str:
    middle, low, high = (100 * row[f"{name}{end}"] for end in ("", "_low", "_high"))
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
