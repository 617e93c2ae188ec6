"""The figures of one seed, and their means and intervals over several seeds.

Reads samples; compares every row with the base model and with its competitor. The stages are
defined in `pipeline`, the Markdown in `tables`, the pictures in `charts`.

    combine(read_seeds(Path("examples/paper_tables/seeds.jsonl")))["rows"][0]["accuracy"]
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from pipeline import COMPRESSIONS, WAYS
from quickstart import RATIOS
from seed_means import mean_over_seeds

Row = dict[str, Any]
_MEANS = ("accuracy", "thinking_tokens", "completion_tokens", "latency_s")


def measure(run: Path, seed: int) -> Row:
    """The rows of one seed: means over all test problems, over each level, and over longer problems, if there are any.

    minimal_length_ratio = thinking tokens / tokens of the equations that the answer needs, each stated once.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run / "base", local_files_only=True)

    def needed(samples: Iterable[Row]) -> float:
        return fmean(sum(len(tokenizer(text).input_ids) for text in sample["equations"]) for sample in samples)

    rows: dict[str, Row] = {}
    for folder in sorted(path for path in (run / "rows").iterdir() if path.is_dir()):
        for name, samples in _by_row(folder, "test").items():
            row = _means(samples)
            row["minimal_length_ratio"] = row["thinking_tokens"] / needed(samples)
            row["levels"] = {level: _means(group) for level, group in _group(samples, "level")}
            longer = _by_row(folder, "longer").get(name, [])
            row["longer"] = {level: _means(group) for level, group in _group(longer, "steps")}
            rows[name] = row
    return {"seed": seed, "rows": rows}


def read_seeds(path: Path) -> list[Row]:
    """The recorded figures of every seed, one JSON line per seed."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _by_row(folder: Path, task: str) -> dict[str, list[Row]]:
    """The samples of one evaluation, grouped by the name of their table row, such as `sft@0.4`."""
    found: dict[str, list[Row]] = defaultdict(list)
    path = folder / f"samples_{task}.jsonl"
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        sample = json.loads(line)
        sample["steps"] = f"{len(sample['equations'])} steps"
        ratio = sample["ratio"]
        fixed = f"{folder.name}@{ratio:g}" if isinstance(ratio, float) else folder.name
        found["sft@policy" if fixed == "sft-policy" else fixed].append(sample)
    return found


def _group(samples: Sequence[Row], field: str) -> list[tuple[Any, list[Row]]]:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for sample in samples:
        groups[sample[field]].append(sample)
    return sorted(groups.items())


def _means(samples: Sequence[Row]) -> Row:
    return {
        "accuracy": fmean(sample["verdict"] == "correct" for sample in samples),
        **{name: fmean(sample[name] for sample in samples) for name in _MEANS[1:]},
    }


def combine(seeds: Sequence[Row]) -> Row:
    """The table over seeds: means, 95 % t intervals over seeds (null for one seed), paired differences.

    `token_reduction` and `accuracy_difference` compare a row with base. `rival` is SFT on the compressions of the rules
    alone, at the same ratio; `rival_…` fields are differences or ratios of this row against it.
    """
    names = [name for name in _order() if all(name in seed["rows"] for seed in seeds)]
    return {
        "format": 1,
        "seeds": [seed["seed"] for seed in seeds],
        "rows": [_row(name, seeds) for name in names],
    }


def _order() -> list[str]:
    ladder = [f"@{ratio:g}" for ratio in RATIOS]
    compressions = [f"{name}{ratio}" for name in ("sft", *COMPRESSIONS) for ratio in ladder]
    return ["base", *(f"base, {way}" for way in WAYS), *compressions, "sft@policy"]


def rival(name: str) -> str | None:
    """The row, besides base, that `name` is compared with."""
    method, at, ratio = name.partition("@")
    return f"rules{at}{ratio}" if method != "rules" and ratio not in {"", "policy"} else None


def _row(name: str, seeds: Sequence[Row]) -> Row:
    ours = [seed["rows"][name] for seed in seeds]
    bases = [seed["rows"]["base"] for seed in seeds]
    row: Row = {"name": name}
    for field in (*_MEANS, "minimal_length_ratio"):
        row |= mean_over_seeds(field, [own[field] for own in ours])
    row |= _against("", ours, bases)
    if other := rival(name):
        row |= {"rival": other, **_against("rival_", ours, [seed["rows"][other] for seed in seeds])}
    for field in ("levels", "longer"):
        row[field] = {
            key: {mean: fmean(own[field][key][mean] for own in ours) for mean in _MEANS} for key in ours[0][field]
        }
    return row


def _against(prefix: str, ours: Sequence[Row], others: Sequence[Row]) -> Row:
    def paired(name: str, difference: Callable[[Row, Row], float]) -> Row:
        return mean_over_seeds(f"{prefix}{name}", [difference(a, b) for a, b in zip(ours, others, strict=True)])

    return {
        **paired("accuracy_difference", lambda a, b: a["accuracy"] - b["accuracy"]),
        **paired("act_ratio", lambda a, b: a["thinking_tokens"] / b["thinking_tokens"]),
        **paired("token_reduction", lambda a, b: 1 - a["thinking_tokens"] / b["thinking_tokens"]),
    }
