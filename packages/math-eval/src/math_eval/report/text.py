"""A comparison as sentences, for a terminal and for a report: what the numbers show and what they cannot show.

The numbers come from `compare`; nothing is computed here.

    sentences(compare(a, b).values)[1]
    # 'accuracy: 64.2% -> 64.8%, difference +0.6 points (95 % -2.1 to +3.3)'
"""

from typing import Any

from math_eval.compare import Comparison

_FLIPS_SHOWN = 20


def points(fraction: float) -> str:
    """A difference of fractions in percentage points, with its sign: `-0.002` -> `-0.2`; zero has no sign."""
    text = f"{100 * fraction:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def sentences(values: dict[str, Any]) -> list[str]:
    """A comparison, one line for each fact."""
    lines = [f"A = {values['a']}, B = {values['b']}, {_pairs(values)}"]
    if values["seeds_a"] != values["seeds_b"]:
        seeds = ["seed " + ", ".join(map(str, values[side])) for side in ("seeds_a", "seeds_b")]
        lines.append(f"seeds differ and are paired in order: {seeds[0]} of A, {seeds[1]} of B")
    lines.append(
        f"accuracy: {values['accuracy_a']:.1%} -> {values['accuracy_b']:.1%}, difference "
        f"{points(values['accuracy_difference'])} points (95 % {points(values['accuracy_difference_low'])} to "
        f"{points(values['accuracy_difference_high'])})"
    )
    lines.append(conclusion(values))
    if spread := over_seeds(values):
        lines.append(spread)
    if values["token_reduction"] is not None:
        lines.append(
            f"thinking tokens: {values['thinking_tokens_a']:.1f} -> {values['thinking_tokens_b']:.1f}, reduction "
            f"{values['token_reduction']:.1%}{_interval(values, 'token_reduction')}; mean of the samples' own ratios "
            f"{values['act_ratio_paired']:.2f}"
        )
    lines.append(f"flips: {values['only_a_correct']} correct only in A, {values['only_b_correct']} correct only in B")
    lines += efficiency(values)
    if values["unpaired_a"] or values["unpaired_b"]:
        lines.append(
            f"left out because the other has no such sample: {values['unpaired_a']} of A, {values['unpaired_b']} of B"
        )
    return lines


def efficiency(values: dict[str, Any]) -> list[str]:
    """The measures of thinking, one line for each kind that the samples give."""
    lines: list[str] = []
    if values["aes"] is not None:
        lines.append(
            f"AES: {values['aes']:+.2f}{_range(values, 'aes', '+.2f')}, the share of completion tokens saved + 3 x "
            "relative gain or - 5 x relative loss of accuracy"
        )
    if values["tokens_per_correct_ratio"] is not None:
        lines.append(
            f"completion tokens for each correct answer: {values['tokens_per_correct_a']:,.1f} -> "
            f"{values['tokens_per_correct_b']:,.1f}, ratio {_ratio(values, 'tokens_per_correct_ratio')}"
        )
    if lengths := [
        f"both {kind} {_ratio(values, f'completion_tokens_{kind}_ratio')}"
        for kind in ("correct", "incorrect")
        if values[f"completion_tokens_{kind}_ratio"] is not None
    ]:
        lines.append(f"ratio of completion tokens where the verdict is the same: {'; '.join(lengths)}")
    if points_shown := [_at_budget(point) for point in values["budget_curve"] if _is_below(point, values)]:
        lines.append(f"accuracy within a budget of completion tokens: {'; '.join(points_shown)}")
    lines.append(
        f"area under that curve: {values['budget_area_a']:.3f} -> {values['budget_area_b']:.3f}, difference "
        f"{values['budget_area_difference']:+.3f}{_range(values, 'budget_area_difference', '+.3f')}"
    )
    if values["after_first_correct_difference"] is not None:
        change = values["after_first_correct_difference"]
        lines.append(
            f"thinking after the first statement of the correct answer: {values['after_first_correct_a']:.1%} -> "
            f"{values['after_first_correct_b']:.1%}, difference {points(change)} points"
            f"{_range(values, 'after_first_correct_difference', '+.1f', 100)}"
        )
    return lines


def _is_below(point: dict[str, Any], values: dict[str, Any]) -> bool:
    """Whether a budget lies on the rising part of a curve: something is correct, and not all that will be."""
    both = [(point[f"accuracy_{side}"], values[f"accuracy_{side}"]) for side in "ab"]
    return any(now > 0 for now, _ in both) and any(now < final for now, final in both)


def _at_budget(point: dict[str, Any]) -> str:
    return (
        f"{point['tokens']:,}: {point['accuracy_a']:.1%} -> {point['accuracy_b']:.1%} "
        f"({points(point['difference'])}, 95 % {points(point['low'])} to {points(point['high'])})"
    )


def _ratio(values: dict[str, Any], name: str) -> str:
    return f"{values[name]:.2f}{_range(values, name, '.2f')}"


def _range(values: dict[str, Any], name: str, form: str, times: float = 1) -> str:
    low, high = values[f"{name}_low"], values[f"{name}_high"]
    return "" if low is None else f" (95 % {times * low:{form}} to {times * high:{form}})"


def conclusion(values: dict[str, Any]) -> str:
    """Whether the accuracies differ, and the smallest difference that these samples could have shown."""
    if not values["accuracy_a"] and not values["accuracy_b"]:
        return f"no answer is correct in either, so accuracy cannot be compared on {_problems(values['problems'])}"
    p = f"exact McNemar p = {values['mcnemar_p']:.2g}"
    if values["mcnemar_p"] < 0.05:
        found = f"such a difference is unlikely by chance ({p})"
    else:
        found = f"no difference in accuracy is shown ({p})"
    smallest = values["smallest_detectable"]
    if smallest is None:
        return f"{found}; {_problems(values['problems'])} cannot show any"
    return f"{found}; a true difference below {100 * smallest:.1f} points would be missed in more than one case of five"


def over_seeds(values: dict[str, Any]) -> str:
    """The differences of the single seeds; empty for one seed."""
    means = values.get("accuracy_difference_by_seed")
    if not means:
        return ""
    spread = 100 * values["accuracy_difference_seed_sd"]
    each = ", ".join(f"{points(mean)} (seed {seed})" for seed, mean in means.items())
    return f"over seeds: {each}; standard deviation {spread:.1f} points"


def flips(comparison: Comparison) -> list[str]:
    """The samples whose verdict changed, one a line; at most twenty of each kind, then the number of the others."""
    several = len(comparison.values["seeds_a"]) > 1
    lines: list[str] = []
    for words, keys in (("A", comparison.only_a_correct), ("B", comparison.only_b_correct)):
        for task, name, seed, sample in keys[:_FLIPS_SHOWN]:
            drawn = f"seed {seed} sample {sample}" if several else f"sample {sample}"
            lines.append(f"correct only in {words}: {task} {name} {drawn}")
        if len(keys) > _FLIPS_SHOWN:
            lines.append(f"correct only in {words}: {len(keys) - _FLIPS_SHOWN} more, listed by --output")
    return lines


def _problems(count: int) -> str:
    return "1 problem" if count == 1 else f"{count:,} problems"


def _pairs(values: dict[str, Any]) -> str:
    pairs = f"{values['n']} paired samples"
    return pairs if values["problems"] == values["n"] else f"{pairs} of {_problems(values['problems'])}"


def _interval(values: dict[str, Any], name: str) -> str:
    low, high = values[f"{name}_low"], values[f"{name}_high"]
    return "" if low is None else f" (95 % {low:.1%} to {high:.1%})"
