"""One task and seed: its SFT model, and what each row reaches from there; finished results are files.

What a row sets is left to `row_settings`, tables to `summary`.

    Run(Path("runs/symbolic"), TASKS["shallow"], seed=0).row("l1:0.1")["sampled"]    # {"accuracy": …, "tokens": …}
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from generators import LADDER, Task
from reinforce import BESIDE_THINKING, GROUP, PROMPTS, draw_problems, reference_accuracies, reinforce
from rollouts import TEMPERATURE, evaluate
from row_settings import ROWS, limited, row_controller
from training import base_model, sft_model
from transformer import Transformer

Result = dict[str, Any]
_WEIGHT = re.compile(r"-(?=[\d.]+(e-?\d+)?$)")
PACKED = "rows.jsonl"
"""File of all results of a folder, with which another folder goes on."""


@dataclass(frozen=True)
class Run:
    """One task and seed.

    Args:
        folder: Folder of weights and results.
        task: Task.
        seed: Seed of models, problems and draws.
        steps: Cost of RL: every row generates as many tokens as the SFT model would in this number of steps; after a
            teacher's choice, which is short, as many as it would with a uniform one.
        learning_rate: Learning rate of RL.
    """

    folder: Path
    task: Task
    seed: int
    steps: int = 160
    learning_rate: float = 2e-4

    def start(self) -> dict[str, Result]:
        """Accuracy and tokens of the base model, and of the SFT model at every ratio and at its own choice."""
        return _kept(self._path("start"), self._start)

    def row(self, row: str) -> Result:
        """Accuracy and tokens after RL, with what `reinforce` returns.

        Args:
            row: Row, such as "l1:0.1".
        """
        return _kept(self._row_path(row), lambda: self._row(row))

    def finished(self, row: str) -> bool:
        """True for a row that has been trained and measured."""
        return self._row_path(row).is_file()

    def finished_rows(self) -> list[str]:
        """Every row that has been trained and measured."""
        paths = self.folder.glob(self._row_path("*").name)
        names = [path.stem.split("_", 2)[2].rsplit("_", 2)[0] for path in paths]
        return sorted(name if name in ROWS else _WEIGHT.sub(":", name, count=1) for name in names)

    def references(self) -> list[list[float]]:
        """Accuracy of the SFT model on each RL problem at every ratio, [problems, ratios]."""
        return _kept(self._path("references"), self._references)

    def _row_path(self, row: str) -> Path:
        return self._path(f"{row.replace(':', '-')}_{self.steps}_{self.learning_rate:g}")

    def _path(self, name: str) -> Path:
        return self.folder / f"{self.task.name}_{self.seed}_{name}.json"

    def _start(self) -> dict[str, Result]:
        base = self._evaluated(base_model(self.folder, self.task, self.seed), "none")
        model = sft_model(self.folder, self.task, self.seed)
        at_ratios = {f"sft@{ratio:g}": self._evaluated(model, index) for index, ratio in enumerate(LADDER)}
        return {"base": base, **at_ratios, "sft@policy": self._evaluated(model)}

    def _references(self) -> list[list[float]]:
        problems = draw_problems(self.task, self.seed)
        return reference_accuracies(sft_model(self.folder, self.task, self.seed), self.task, problems, self.seed)

    def _row(self, row: str) -> Result:
        start = self.start()
        chosen = [f"sft@{ratio:g}" for ratio in LADDER] if self.task.taught else ["sft@policy"]
        thinking = sum(start[name]["sampled"]["tokens"] for name in chosen) / len(chosen)
        problems = draw_problems(self.task, self.seed)
        controller = row_controller(row, problems, self.references())
        model = sft_model(self.folder, self.task, self.seed)
        options = {
            "seed": self.seed,
            "learning_rate": self.learning_rate,
            "tokens": round(self.steps * PROMPTS * GROUP * (thinking + BESIDE_THINKING)),
            "name": f"{self.task.name} {self.seed} {row}",
        }
        return {**reinforce(model, limited(self.task, row), problems, controller, **options), **self._evaluated(model)}

    def _evaluated(self, model: Transformer, ratio: int | Literal["none"] | None = None) -> Result:
        kinds = {"greedy": 0.0, "sampled": TEMPERATURE}
        return {
            kind: evaluate(model, self.task, self.seed, ratio=ratio, temperature=temperature)
            for kind, temperature in kinds.items()
        }


def _kept(path: Path, compute: Callable[[], Any]) -> Any:
    """The result in this file, which is computed and written if it is missing."""
    if not path.is_file():
        growing = path.with_suffix(".partial")
        growing.write_text(json.dumps(compute()) + "\n", encoding="utf-8")
        os.replace(growing, path)
    return json.loads(path.read_text("utf-8"))


def pack(folder: Path) -> None:
    """Write every finished result of the folder to its `rows.jsonl`; references, and courses of rows but chrpo, go.

    Args:
        folder: Folder of results.
    """
    lines = []
    for path in sorted(folder.glob("*_*.json")):
        name, result = path.stem, json.loads(path.read_text("utf-8"))
        if name.endswith("_references"):
            continue
        course = result.pop("course", [])
        if name.split("_")[2] == "chrpo":
            result["course"] = [{field: round(value, 4) for field, value in step.items()} for step in course]
        lines.append(json.dumps({"name": name, "result": result}) + "\n")
    (folder / PACKED).write_text("".join(lines), encoding="utf-8")


def unpack(folder: Path) -> None:
    """Put the results of `rows.jsonl` into the folder if they are not there; nothing happens without this file.

    Args:
        folder: Folder of results.
    """
    if (folder / PACKED).is_file():
        for line in (folder / PACKED).read_text("utf-8").splitlines():
            row = json.loads(line)
            _kept(folder / f"{row['name']}.json", lambda row=row: row["result"])
