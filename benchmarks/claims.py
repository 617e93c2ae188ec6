r"""The claims of the toolkit, each with its figure, its aim, the script that measured it, and whether it holds.

Everything is computed from the recorded results, so a claim that no longer holds says so. `render` puts the table on
the first page of docs/results.

    print("\n".join(table()))
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from recording import RESULTS

EXAMPLES = RESULTS.parents[1] / "examples"
sys.path[:0] = [str(EXAMPLES / name) for name in ("", "frontier/symbolic", "paper_tables")]
from collect import combine, read_seeds  # noqa: E402
from frontier_tables import compared_with_rivals  # noqa: E402
from seed_means import mean_over_seeds  # noqa: E402

Record = Mapping[str, Any]
_ANSWERS = {True: "yes", False: "**no**", None: "within noise"}
_FLOOR_SLACK, _TOKEN_SLACK = 0.01, 1.05


class Claim(NamedTuple):
    """One line of the table."""

    claim: str
    figure: str
    holds: bool | None
    """None if the interval includes both that it holds and that it does not."""
    script: str
    """Name of the benchmark, without its ending."""
    place: str
    """Page and heading of its figures."""


def claims() -> list[Claim]:
    """Every claim."""
    return [make() for make in _CLAIMS]


def table() -> list[str]:
    """The claims as a Markdown table."""
    lines = ["| claim | figure | holds | measured by |", "|---|---|---|---|"]
    for claim, figure, holds, script, place in claims():
        lines.append(f"| {claim} | {figure} | {_ANSWERS[holds]} | [{script}]({place}) |")
    return lines


def _result(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text("utf-8"))["result"]


def _percent(values: Sequence[float], digits: int = 1) -> str:
    middle, low, high = (f"{100 * value:.{digits}f}" for value in values)
    return f"{middle} ({low} to {high})"


def _field(row: Record, name: str) -> list[float]:
    return [row[f"{name}{end}"] for end in ("", "_low", "_high")]


def _shorter() -> Claim:
    runs = _result("examples_quickstart")["runs"]
    rows = [run["comparison"] for run in runs]
    least = min(rows, key=lambda row: row["token_reduction"])
    worst = min(rows, key=lambda row: row["accuracy_difference"])
    accuracies = [{row["name"]: 100 * row["accuracy"] for row in run["conditions"]} for run in runs]
    full = ", ".join(f"{found['chrpo@policy'] - found['sft@1.0']:+.1f}" for found in accuracies)
    return Claim(
        "The pipeline saves at least 60 % of the base model's thinking tokens at no loss of accuracy, in each recorded "
        "seed of the quickstart",
        f"seeds {', '.join(str(run['seed']) for run in runs)}: least saving, %: "
        f"{_percent(_field(least, 'token_reduction'))}; least gain, points: "
        f"{_percent(_field(worst, 'accuracy_difference'))}; gain over SFT at full length, points: {full}",
        least["token_reduction"] >= 0.6 and worst["accuracy_difference_low"] >= 0,
        "examples_quickstart",
        "examples.md#quickstart",
    )


def _rl_pays() -> Claim:
    rows = [run["rl_comparison"] for run in _result("examples_quickstart")["runs"]]
    better = [row["accuracy_difference_low"] > 0 or (row["token_reduction_low"] or 0) >= 0.01 for row in rows]
    figures = "; ".join(f"{_percent(_field(row, 'accuracy_difference'))}" for row in rows)
    tokens = ", ".join(f"{0 - 100 * row['token_reduction']:+.1f}" for row in rows)
    return Claim(
        "RL gains accuracy over SFT, or saves 1 % of the tokens, beyond the interval, in two of three seeds of the "
        "quickstart",
        f"accuracy, points: {figures}; tokens, %: {tokens}",
        sum(better) >= 2,
        "examples_quickstart",
        "examples.md#quickstart",
    )


def _compressions() -> list[Record]:
    """The rows of the paper's tables at .2 and .4 that are compared with SFT on `rules`."""
    rows = combine(read_seeds(EXAMPLES / "paper_tables" / "seeds.jsonl"))["rows"]
    return [row for row in rows if "rival" in row and row["name"].endswith(("@0.2", "@0.4"))]


def _above_compressions() -> Claim:
    others = [row for row in _compressions() if not row["name"].startswith(("learnt", "sft"))]
    nearest = max(others, key=lambda row: row["rival_accuracy_difference"])
    return Claim(
        "SFT on `rules` is more accurate than on other compressions of that length, at .2 and .4, beyond the intervals",
        f"nearest of {len(others)} rows: `{nearest['name']}`, "
        f"{_percent(_field(nearest, 'rival_accuracy_difference'))} points",
        max(row["rival_accuracy_difference_high"] for row in others) < 0,
        "examples_paper_tables",
        "examples.md#the-papers-tables-in-miniature",
    )


def _learnt(name: str, claim: str) -> Claim:
    rows = [row for row in _compressions() if row["name"].startswith(name)]
    lowest, highest = (min(row[f"rival_accuracy_difference_{end}"] for row in rows) for end in ("low", "high"))
    return Claim(
        claim,
        "points at .2 and .4: " + "; ".join(_percent(_field(row, "rival_accuracy_difference")) for row in rows),
        (lowest >= 0 or None) if highest >= 0 else False,
        "examples_paper_tables",
        "examples.md#the-papers-tables-in-miniature",
    )


def _learnt_inside() -> Claim:
    return _learnt("sft", "SFT on `rules` with a learnt scorer is not less accurate than on `rules` alone")


def _learnt_alone() -> Claim:
    return _learnt("learnt", "SFT on a learnt scorer alone is not less accurate than on `rules`")


def _beside_rivals() -> Claim:
    seeds = _result("examples_objectives")["seeds"]
    rows = {found[0]["name"]: found for found in zip(*(seed["rows"] for seed in seeds), strict=True)}
    ours = rows.pop("chrpo")
    leads = {
        name: mean_over_seeds("lead", [own["accuracy"] - row["accuracy"] for own, row in zip(ours, found, strict=True)])
        for name, found in rows.items()
    }
    name, least = min(leads.items(), key=lambda each: each[1]["lead"])
    cheapest = min(rows, key=lambda name: fmean(row["thinking_tokens"] for row in rows[name]))
    fewer = 1 - fmean(row["thinking_tokens"] for row in rows[cheapest]) / fmean(row["thinking_tokens"] for row in ours)
    return Claim(
        f"On the quickstart, `chrpo` is at least as accurate as each of {len(rows)} settings of other objectives",
        f"least lead {_percent(_field(least, 'lead'))} points, over `{name}`; `{cheapest}` uses {100 * fewer:.0f} % "
        f"fewer tokens, {100 * leads[cheapest]['lead']:.1f} points lower",
        least["lead"] >= 0 and (least["lead_low"] >= 0 or None),
        "examples_objectives",
        "examples.md#rl-objectives-on-the-quickstarts-problems",
    )


def _pretrained() -> Claim:
    found = _result("examples_smollm2")["chrpo_against"]["base"]
    accuracy = _field(found, "accuracy_difference")
    return Claim(
        "On pretrained weights, `chrpo` saves at least 60 % of the base model's thinking tokens at no loss of accuracy",
        f"fewer tokens, %: {_percent(_field(found, 'token_reduction'))}; accuracy, points: {_percent(accuracy)}",
        _at_least_zero(accuracy) if found["token_reduction"] >= 0.6 else False,
        "examples_smollm2",
        "examples.md#the-whole-pipeline-on-pretrained-weights",
    )


def _pretrained_beside_l1() -> Claim:
    result = _result("examples_smollm2")
    found = result["chrpo_against"][result["best_l1"]]
    accuracy, tokens = (_field(found, name) for name in ("accuracy_difference", "token_reduction"))
    better = [values[1] > 0 and other[2] >= 0 for values, other in ((accuracy, tokens), (tokens, accuracy))]
    worse = [values[2] < 0 and other[1] <= 0 for values, other in ((accuracy, tokens), (tokens, accuracy))]
    return Claim(
        "On pretrained weights, `chrpo` is more accurate or shorter than L1 at its best weight and loses neither",
        f"over `{result['best_l1']}`: {_percent(accuracy)} points, {_percent(tokens)} % fewer tokens",
        True if any(better) else False if any(worse) else None,
        "examples_smollm2",
        "examples.md#the-whole-pipeline-on-pretrained-weights",
    )


def _at_least_zero(values: Sequence[float]) -> bool | None:
    """Whether a difference is at least 0; None if its interval has both signs."""
    _, low, high = values
    return True if low >= 0 else False if high < 0 else None


def _tasks() -> dict[str, list[Record]]:
    record = json.loads((EXAMPLES / "frontier" / "results.json").read_text("utf-8"))
    return {name: task["rows"] for name, task in record["tasks"].items() if name != "taught"}


def _row(rows: Sequence[Record], name: str) -> Record:
    return next(row for row in rows if row["name"] == name)


def _floors_hold() -> Claim:
    rows = [_row(rows, "chrpo") for rows in _tasks().values()]
    least = min(row["least_over_floor"] for row in rows)
    return Claim(
        "`chrpo` with its defaults ends at most 1 point below the floor in every run of five tasks",
        f"{sum(len(row['seeds']) for row in rows)} runs; the lowest ends {100 * least:+.1f} points from it",
        least >= -_FLOOR_SLACK,
        "examples_frontier",
        "examples.md#one-setting-for-every-task",
    )


def _lower_floors() -> Claim:
    found = {
        (lower, name): row
        for name, rows in _tasks().items()
        for lower in (2, 5)
        for row in rows
        if row["name"] == f"chrpo-{lower}"
    }
    runs = sum(len(row["seeds"]) for row in found.values())
    (lower, name), worst = min(found.items(), key=lambda each: each[1]["least_over_floor"])
    return Claim(
        "With a floor 2 or 5 points lower, `chrpo` ends at most 1 point below it in every run",
        f"{runs} runs; the lowest ends {100 * worst['least_over_floor']:+.1f} points from it ({name}, {lower} lower)",
        worst["least_over_floor"] >= -_FLOOR_SLACK,
        "examples_frontier",
        "examples.md#one-setting-for-every-task",
    )


def _few_tokens() -> Claim:
    times = {name: compared_with_rivals(rows, "chrpo")[2] for name, rows in _tasks().items()}
    return Claim(
        "`chrpo` with its defaults needs at most 5 % more tokens than the cheapest rival as accurate in a task",
        ", ".join(f"{name} {100 * (value - 1):+.0f} %" for name, value in times.items()),
        max(times.values()) <= _TOKEN_SLACK,
        "examples_frontier",
        "examples.md#one-setting-for-every-task",
    )


def _no_other_setting() -> Claim:
    tasks = _tasks()
    names = {row["name"] for rows in tasks.values() for row in rows if row["family"] not in ("base", "sft", "chrpo")}
    complete = {name for name in names if all(any(row["name"] == name for row in rows) for rows in tasks.values())}

    def kept(name: str) -> int:
        found = [compared_with_rivals(rows, name) for rows in tasks.values()]
        return sum(least >= -_FLOOR_SLACK and times <= _TOKEN_SLACK for _, least, times, _ in found)

    good = sorted(name for name in complete if kept(name) == len(tasks))
    return Claim(
        "No single setting of a rival ends at most 1 point below the floor with at most 5 % more tokens, in every task",
        f"{len(complete)} settings that ran in every task: {', '.join(good) or 'none'} does; the best keeps both in "
        f"{max(map(kept, complete))} of {len(tasks)} tasks, `chrpo` in {kept('chrpo')}",
        not good,
        "examples_frontier",
        "examples.md#one-setting-for-every-task",
    )


def _constraint() -> Claim:
    missed = {name: _row(rows, "chrpo-no-constraint") for name, rows in _tasks().items()}
    off = {name: 100 * (row["accuracy"] - row["floor"]) for name, row in missed.items()}
    return Claim(
        "Without the constraint, the floor is missed by 2 points or more in at least one task",
        ", ".join(f"{name} {value:+.1f}" for name, value in off.items()),
        min(off.values()) <= -2,
        "examples_frontier",
        "examples.md#one-setting-for-every-task",
    )


def _following() -> Claim:
    runs = list(_result("ratio_sft_following")["runs"].values())
    return Claim(
        "After SFT, a smaller requested ratio never gives longer thinking for 95 % of the problems, in every seed",
        "monotone: " + ", ".join(f"{run['monotone_share']:.1%}" for run in runs),
        min(run["monotone_share"] for run in runs) >= 0.95,
        "ratio_sft_following",
        "ratio-sft.md#requested-and-realised-ratios",
    )


def _gains(method: str, others: Sequence[str], ratios: Sequence[float]) -> list[tuple[str, Record]]:
    """Paired gains in response coverage over other methods, and what each is about."""
    return [
        (f"{group['name']} at {lead['ratio']:g} over {lead['other']}", lead["gain"])
        for group in _result("cot_compressor_meaning")["groups"]
        for lead in group["leads"]
        if lead["method"] == method and lead["other"] in others and lead["ratio"] in ratios
    ]


def _shown(gain: Record) -> str:
    return f"{gain['mean']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})"


def _meaning() -> Claim:
    gains = _gains("rules", ("random", "head", "tail", "drop-steps", "rare-words", "overlap"), (0.1, 0.2, 0.4))
    what, least = min(gains, key=lambda each: each[1]["mean"])
    return Claim(
        "`rules` keeps more of the response than every simple method, at .1, .2 and .4, in each group of domains",
        f"least of {len(gains)} paired gains over the best simple method: {_shown(least)}, {what}",
        least["mean"] > 0 and (least["low"] > 0 or None),
        "cot_compressor_meaning",
        "cot-compressor.md#what-is-kept-of-the-meaning",
    )


def _trained() -> Claim:
    gains = [gain for what, gain in _gains("trained", ("rules before",), (0.1, 0.2, 0.4)) if what[:4] == "math"]
    return Claim(
        "The trained scorer keeps .10 more of the response than the first rules in mathematics, at .1, .2 and .4",
        "; ".join(map(_shown, gains)),
        min(gain["mean"] for gain in gains) >= 0.1,
        "cot_compressor_meaning",
        "cot-compressor.md#what-is-kept-of-the-meaning",
    )


def _rules_speed() -> Claim:
    wall, _ = _result("cot_compressor_speed")["methods"]["rules, one ratio"]["ratios"]
    total = wall["total"]
    return Claim(
        "`rules` is 20 times as fast as llmlingua",
        f"{total:.1f} times, {wall['low']:.1f} to {wall['high']:.1f} over the texts, one ratio, two cores",
        total >= 20,
        "cot_compressor_speed",
        "cot-compressor.md#speed-compared-with-llmlingua",
    )


def _agreement() -> Claim:
    rows = _result("math_eval_agreement")["rows"]
    ours = [row["graders"]["math-eval"] for row in rows]
    best = [max(grader["agree"] for grader in row["graders"].values()) for row in rows]
    behind = sum(other - own["agree"] for own, other in zip(ours, best, strict=True))
    items = sum(row["n"] for row in rows)
    return Claim(
        "The grader calls no more wrong answers correct than any other one, and agrees at least as often on each set",
        f"{items:,} items, {rows[0]['n']:,} of them GSM8K; wrong answers called correct: "
        f"{sum(own['wrong'] for own in ours)}; items behind the best grader of a set: {behind}",
        behind == 0,
        "math_eval_agreement",
        "math-eval.md#agreement-of-the-grader",
    )


def _kills() -> Claim:
    rows = _result("toolkit_kills")["rows"]
    faults = sum(len(row["faults"]) for row in rows)
    return Claim(
        "A killed command never leaves a partial output, and ends as an undisturbed one when it is repeated",
        f"{sum(row['kills'] for row in rows)} kills, {len({row['command'] for row in rows})} commands, {faults} faults",
        faults == 0,
        "toolkit_kills",
        "toolkit.md#kills",
    )


def _hostile() -> Claim:
    found = _result("math_eval_hostile")
    slowest = max(row["seconds"] for row in found["rows"])
    correct = found["counts"].get("correct", 0)
    return Claim(
        "No hostile completion is graded correct, or takes more than a tenth longer than the deadline",
        f"{len(found['rows'])} completions: {correct} correct; at most {slowest:.2f} s of processor time, deadline "
        f"{found['deadline']:.0f} s",
        not correct and slowest <= 1.1 * found["deadline"],
        "math_eval_hostile",
        "math-eval.md#hostile-completions",
    )


def _budgets() -> Claim:
    counts = _result("cot_compressor_fidelity")["exactness"].values()
    selections, above, nested, split, formulas = (
        sum(found[name] for found in counts) for name in ("selections", "above", "not_nested", "split", "formulas")
    )
    return Claim(
        "`rules` exceeds no budget, keeps in a larger budget what it keeps in a smaller one, and cuts no formula of "
        "real traces",
        f"{selections:,} selections: {above} above the budget, {nested} not nested; {split} of {formulas:,} formulas "
        "cut; two tokenizers",
        not above and not nested and not split,
        "cot_compressor_fidelity",
        "cot-compressor.md#what-rules-keeps",
    )


def _workers() -> Claim:
    sizes = _result("toolkit_scale")["sizes"]
    largest = [size for size in sizes if not any(found["ray"]["killed"] for found in size["stages"].values())][-1]
    times = {stage: found["local"]["seconds"] / found["ray"]["seconds"] for stage, found in largest["stages"].items()}
    return Claim(
        "Two workers on Ray are 1.6 times as fast as one process",
        f"{largest['rows']:,} rows: " + ", ".join(f"{stage} {value:.2f}" for stage, value in times.items()),
        min(times.values()) >= 1.6,
        "toolkit_scale",
        "toolkit.md#growth-of-the-data-stages",
    )


def _overhead() -> Claim:
    found = _result("chrpo_overhead")["steps"]["128"]
    share, whole = ([found[part][name] for name in ("median", "low", "high")] for part in ("share", "ratio"))
    return Claim(
        "The objective takes at most 1 % of a training step with rollouts of 128 tokens",
        f"{_percent(share, 2)} % in the parts that were measured; the whole step is {_percent(whole)} % longer",
        share[0] <= 0.01,
        "chrpo_overhead",
        "chrpo.md#what-does-the-objective-cost",
    )


def _step() -> Claim:
    times = _result("chrpo_step")["variants"]["both"]["times"]
    return Claim(
        "A step of `chrpo train` takes less processor time than with TRL's own decoding and passes",
        f"{times['median']:.1f} ({times['low']:.1f} to {times['high']:.1f}) times as fast; one thread, 0.6 M weights",
        times["low"] > 1,
        "chrpo_step",
        "chrpo.md#what-does-a-step-cost",
    )


def _packing() -> Claim:
    found = _result("ratio_sft_throughput")["packed_to_padded"]
    return Claim(
        "Packing is 1.3 times as fast as padded batches",
        f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f}) times",
        found["median"] >= 1.3,
        "ratio_sft_throughput",
        "ratio-sft.md#how-fast-is-training",
    )


_CLAIMS: tuple[Callable[[], Claim], ...] = (
    _shorter, _rl_pays, _above_compressions, _learnt_inside, _learnt_alone, _beside_rivals, _pretrained,
    _pretrained_beside_l1, _floors_hold, _lower_floors, _few_tokens, _no_other_setting, _constraint, _following,
    _budgets, _meaning, _trained, _rules_speed, _agreement, _hostile, _kills, _workers, _overhead, _step, _packing,
)  # fmt: skip
