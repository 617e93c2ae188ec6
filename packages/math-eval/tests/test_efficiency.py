import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from math_eval import efficiency as measures
from math_eval import metrics
from math_eval.efficiency import accuracy_at, aes, efficiency, overthinking_score, shortest


def _row(tokens, right=True, *, thinking=0, cut=False, **more):
    verdict = "correct" if right else "incorrect"
    return {"verdict": verdict, "completion_tokens": tokens, "thinking_tokens": thinking, "truncated": cut, **more}


# Two problems: 300 and 1,000 tokens correct, 2,000 cut and 600 incorrect.
_PROBLEMS = [[_row(300), _row(1000)], [_row(2000, right=False, cut=True), _row(600, right=False)]]


def test_every_measure_of_four_samples_by_hand():
    values = efficiency(_PROBLEMS, 2000)
    curve = {point["tokens"]: point["accuracy"] for point in values["budget_curve"]}
    assert curve == {256: 0, 512: 0.25, 1024: 0.5, 2048: 0.5, 4096: 0.5, 8192: 0.5, 16384: 0.5, 32768: 0.5}
    assert values["budget_area"] == pytest.approx((math.log2(32768 / 300) + math.log2(32768 / 1000)) / 7 / 4)
    assert values["accuracy_untruncated"] == pytest.approx(2 / 3)
    assert values["tokens_per_correct"] == 3900 / 2
    assert (values["completion_tokens_correct"], values["completion_tokens_incorrect"]) == (650, 1300)
    assert values["hard_easy_ratio"] == 1300 / 650
    efficient = 1 - 975 / 2000
    assert values["overthinking_score"] == pytest.approx(2 * 0.5 * efficient / (0.5 + efficient))
    assert values["after_first_correct"] is values["first_correct_rate"] is None


def test_what_samples_cannot_give_is_none():
    cut = efficiency([[_row(64, right=False, cut=True)]], 64)
    for name in ("accuracy_untruncated", "tokens_per_correct", "completion_tokens_correct", "hard_easy_ratio"):
        assert cut[name] is None
    assert cut["overthinking_score"] == 0
    right = efficiency([[_row(64)]], 64)
    assert (right["completion_tokens_incorrect"], right["after_first_correct"]) == (None, None)


def test_thinking_after_the_answer_by_hand():
    """400 tokens of 1,000 characters with the answer at 250, 100 tokens that never state it, an incorrect sample."""
    rows = [
        _row(500, thinking=400, thinking_chars=1000, first_correct_chars=250),
        _row(150, thinking=100, thinking_chars=300, first_correct_chars=None),
        _row(900, thinking=800, right=False, thinking_chars=2000, first_correct_chars=5),
        _row(9, thinking_chars=0, first_correct_chars=None),
    ]
    values = efficiency([[row] for row in rows], 1024)
    assert values["after_first_correct"] == pytest.approx(300 / 500)
    assert values["first_correct_rate"] == 1 / 2
    without = [*rows[:-1], _row(9)]
    assert efficiency([[row] for row in without], 1024)["after_first_correct"] is None


def test_the_score_of_two_runs_by_hand():
    """O1-Pruner: 40 % fewer tokens and a tenth more or less accuracy."""
    assert aes(50, 55, 1000, 600) == pytest.approx(0.4 + 3 * 0.1)
    assert aes(50, 45, 1000, 600) == pytest.approx(0.4 - 5 * 0.1)
    assert aes(50, 50, 1000, 1200) == pytest.approx(-0.2)


def test_the_shortest_sample_is_the_first_drawn_of_equal_ones_and_no_refused_request():
    rows = [_row(0, right=False, refused="too long"), _row(50, right=False), _row(40, sample=2), _row(40, sample=3)]
    assert shortest(rows)["sample"] == 2
    assert shortest(rows[:1]) is rows[0]
    assert efficiency([rows], 64)["completion_tokens_incorrect"] == 50, "a refused request has no length"


def test_the_error_of_a_quotient_is_the_textbook_formula():
    """Above 2, 6, 4 and below 1, 2, 3: the quotient is 2, the residuals 0, 2 and -2."""
    assert metrics.quotient_error([2, 6, 4], [1, 2, 3]) == pytest.approx(math.sqrt(8 * 3 / 2) / 6)
    assert metrics.quotient_interval([2, 6, 4], [1, 2, 3])[0] == 2


_SAMPLES = st.builds(
    _row, st.integers(0, 70_000), st.booleans(), thinking=st.integers(0, 9000), cut=st.booleans()
)  # fmt: skip
_RUNS = st.lists(st.lists(_SAMPLES, min_size=1, max_size=4), min_size=1, max_size=8)


@given(_RUNS)
def test_the_curve_rises_to_the_accuracy_and_its_area_lies_between_its_ends(problems):
    values = efficiency(problems, 40_000)
    curve = [point["accuracy"] for point in values["budget_curve"]]
    rows = [row for some in problems for row in some]
    assert curve == sorted(curve)
    assert (
        curve[-1] <= accuracy_at(problems, math.inf)[0] == pytest.approx(sum(map(measures.correct, rows)) / len(rows))
    )
    assert curve[0] - 1e-9 <= values["budget_area"] <= curve[-1] + 1e-9
    assert all(point["low"] <= point["accuracy"] <= point["high"] for point in values["budget_curve"])


@given(_RUNS)
def test_the_area_is_the_mean_accuracy_over_budgets_on_a_log_scale(problems):
    steps = 2000
    budgets = [256 * 2 ** (7 * (step + 0.5) / steps) for step in range(steps)]
    within = [sum(measures.correct_within(row, one) for some in problems for row in some) for one in budgets]
    samples = sum(map(len, problems))
    assert efficiency(problems, 40_000)["budget_area"] == pytest.approx(sum(within) / steps / samples, abs=1e-3)


@given(_RUNS)
def test_measures_keep_their_ranges_and_do_not_depend_on_the_order(problems):
    values = efficiency(problems, 40_000)
    mirrored = efficiency([some[::-1] for some in problems[::-1]], 40_000)
    for name, value in values.items():
        if isinstance(value, float):
            assert mirrored[name] == pytest.approx(value)
    for name in ("budget_area", "accuracy_untruncated", "overthinking_score"):
        assert values[name] is None or 0 <= values[name] <= 1
    for name in ("tokens_per_correct", "completion_tokens_correct", "completion_tokens_incorrect"):
        value, low, high = (values[name + end] for end in ("", "_low", "_high"))
        assert value is None or low <= value <= high
    if values["tokens_per_correct"] is not None:
        assert values["tokens_per_correct"] >= values["completion_tokens_correct"] - 1e-9


@given(_RUNS, st.integers(2, 9))
def test_all_lengths_times_a_factor_change_no_ratio(problems, factor):
    longer = [[{**row, "completion_tokens": factor * row["completion_tokens"]} for row in some] for some in problems]
    before, after = (efficiency(some, 1)["hard_easy_ratio"] for some in (problems, longer))
    assert (before is None) == (after is None)
    assert before is None or after == pytest.approx(before)
    if (first := efficiency(problems, 1)["tokens_per_correct"]) is not None:
        assert efficiency(longer, 1)["tokens_per_correct"] == pytest.approx(factor * first)


@given(st.lists(_SAMPLES, min_size=1, max_size=8), _SAMPLES)
def test_a_longer_sample_never_becomes_the_shortest(rows, other):
    chosen = shortest(rows)
    if other["completion_tokens"] >= chosen["completion_tokens"]:
        assert shortest([*rows, other]) is chosen
    assert chosen["completion_tokens"] == min(row["completion_tokens"] for row in rows)


@given(st.floats(0, 1), st.floats(0, 5000), st.floats(0, 5000))
def test_the_overthinking_score_is_between_its_parts_and_falls_with_tokens(accuracy, one, two):
    fewer, more = sorted((one, two))
    score = overthinking_score(accuracy, fewer, 4096)
    saved = max(0.0, 1 - fewer / 4096)
    assert min(accuracy, saved) - 1e-9 <= score <= max(accuracy, saved) + 1e-9
    assert overthinking_score(accuracy, more, 4096) <= score + 1e-9


@given(st.integers(1, 50), st.integers(0, 50), st.integers(1, 5000), st.integers(0, 5000))
def test_a_loss_of_accuracy_costs_more_than_the_same_gain_brings(right, change, before, after):
    gain, loss = aes(right, right + change, before, after), aes(right, right - change, before, after)
    saved = aes(right, right, before, after)
    assert saved == pytest.approx(1 - after / before)
    assert gain - saved == pytest.approx(3 * change / right)
    assert saved - loss == pytest.approx(5 * change / right)
