"""Makes docs/results.md: each benchmark's own words around the tables of its last recorded result.

python benchmarks/render.py            # write
python benchmarks/render.py --check    # exit 1 if docs/results.md is not what the recorded results give
"""

import importlib.util
import json
import sys
from pathlib import Path

from recording import RESULTS

PAGE = RESULTS.parents[1] / "docs" / "results.md"
PLACE = "{tables}"


def section(words: Path) -> str:
    """The words of results/NAME.md with the tables of results/NAME.json, made by benchmarks/NAME.py."""
    script = RESULTS.parent / f"{words.stem}.py"
    spec = importlib.util.spec_from_file_location(words.stem, script)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = words.with_suffix(".json")
    if not result.is_file():
        return words.read_text("utf-8").replace(PLACE, f"Not measured yet: `benchmarks/{script.name}` does it.").strip()
    recorded = json.loads(result.read_text("utf-8"))
    machine = recorded["machine"]
    where = f"Printed by `benchmarks/{script.name}` on {machine['processor']}, {machine['cores']} cores."
    return words.read_text("utf-8").replace(PLACE, f"{module.tables(recorded['result']).strip()}\n\n{where}").strip()


def page() -> str:
    """The whole of docs/results.md, packages in alphabetical order."""
    parts = ["# Results\n\nMade by `benchmarks/render.py` from `benchmarks/results/`; do not edit."]
    package = ""
    for words in sorted(RESULTS.glob("*.md")):
        owner = next(
            name
            for name in ("chrpo", "cot_compressor", "examples", "math_eval", "ratio_sft")
            if words.stem.startswith(name)
        )
        if owner != package:
            package = owner
            parts.append(f"## {owner.replace('_', '-')}")
        parts.append(section(words))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write the page, or compare it."""
    made = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made, encoding="utf-8")
    elif PAGE.read_text("utf-8") != made:
        sys.exit(f"{PAGE} is not what the recorded results give; run benchmarks/render.py")


if __name__ == "__main__":
    main()
