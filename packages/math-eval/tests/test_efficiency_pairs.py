import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from math_eval.compare import compare
from math_eval.efficiency_pairs import compare_efficiency
from math_eval.run_folders import load_condition


def _row(tokens, right=True, *, thinking=0, cut=False, **more):
    verdict = "correct" if right else "incorrect"
    return {"verdict": verdict, "completion_tokens": tokens, "thinking_tokens": thinking, "truncated": cut, **more}


def test_every_measure_of_two_problems_by_hand():
    """A needs 1,000 tokens for the one and misses the other, cut at 600; B needs 400 and 500."""
    values = compare_efficiency(
        [([_row(1000)], [_row(400)]), ([_row(600, right=False, cut=True)], [_row(500)])], (2000, 1000)
    )
    assert values["aes"] == pytest.approx(1 - 900 / 1600 + 3 * 1)
    assert (values["tokens_per_correct_a"], values["tokens_per_correct_b"]) == (1600, 450)
    assert values["tokens_per_correct_ratio"] == pytest.approx(450 / 1600)
    assert values["completion_tokens_correct_ratio"] == pytest.approx(400 / 1000)
    assert values["completion_tokens_incorrect_ratio"] is None
    assert (values["hard_easy_ratio_a"], values["hard_easy_ratio_b"]) == (600 / 1000, 500 / 400)
    assert values["hard_easy_ratio_change"] == pytest.approx(500 / 400 / (600 / 1000))
    assert [values[f"accuracy_untruncated_{end}"] for end in ("a", "b", "difference")] == [1, 1, 0]
    curve = {point["tokens"]: (point["accuracy_a"], point["accuracy_b"]) for point in values["budget_curve"]}
    assert (curve[256], curve[512], curve[1024]) == ((0, 0), (0, 1), (0.5, 1))
    areas = [math.log2(32768 / tokens) / 7 for tokens in (1000, 400, 500)]
    assert values["budget_area_difference"] == pytest.approx((areas[1] + areas[2] - areas[0]) / 2)
    efficient = 1 - 800 / 2000
    assert values["overthinking_score_a"] == pytest.approx(2 * 0.5 * efficient / (0.5 + efficient))
    assert values["overthinking_score_b"] == pytest.approx(2 * 0.55 / 1.55)
    assert values["after_first_correct_difference"] is values["after_first_correct_a"] is None
    assert not any(name.startswith("shortest") for name in values)


def test_a_run_without_a_correct_answer_has_no_cost_of_one_to_compare():
    values = compare_efficiency([([_row(100, right=False)], [_row(50)])] * 3, (2000, 2000))
    for name in ("tokens_per_correct_a", "tokens_per_correct_ratio", "aes", "aes_low", "hard_easy_ratio_change"):
        assert values[name] is None
    assert values["tokens_per_correct_b"] == 50


def test_the_share_after_the_answer_and_the_shortest_of_two_by_hand():
    a = [
        _row(90, thinking=80, thinking_chars=200, first_correct_chars=50),
        _row(50, right=False, thinking_chars=9, first_correct_chars=None),
    ]
    b = [_row(30, thinking=20, thinking_chars=50, first_correct_chars=40), *a[1:]]
    values = compare_efficiency([(a, b)], (100, 100))
    assert (values["after_first_correct_a"], values["after_first_correct_b"]) == (0.75, pytest.approx(0.2))
    assert values["after_first_correct_difference"] == pytest.approx(-0.55)
    assert [values[f"shortest@2_{end}"] for end in ("a", "b", "difference")] == [0, 1, 1]
    assert values["shortest@2_difference_low"] < 1 <= values["shortest@2_difference_high"]


def test_a_problem_cannot_say_how_problems_differ_and_many_can():
    pair = ([_row(1000)], [_row(400)])
    other = ([_row(900, right=False)], [_row(800)])
    assert compare_efficiency([pair], (2000, 2000))["aes_low"] is None
    values = compare_efficiency([pair, other] * 20, (2000, 2000))
    for name in ("aes", "budget_area_difference", "tokens_per_correct_ratio", "overthinking_score_difference"):
        assert values[f"{name}_low"] < values[name] < values[f"{name}_high"]


_SAMPLES = st.builds(
    _row,
    st.integers(1, 70_000),
    st.booleans(),
    thinking=st.integers(0, 9000),
    cut=st.booleans(),
    thinking_chars=st.just(100),
    first_correct_chars=st.none() | st.integers(0, 100),
)
_PAIRS = st.lists(st.tuples(*[st.lists(_SAMPLES, min_size=2, max_size=2)] * 2), min_size=1, max_size=6)


@settings(max_examples=30)
@given(_PAIRS)
def test_a_run_does_not_differ_from_itself(problems):
    values = compare_efficiency([(one, one) for one, _ in problems], (8192, 8192))
    for name, value in values.items():
        if value is not None and not name.endswith(("low", "high")):
            if name.endswith(("_ratio", "_change")):
                assert value == pytest.approx(1)
            elif name.endswith("_difference") or name == "aes":
                assert value == pytest.approx(0)
    assert {point["difference"] for point in values["budget_curve"]} == {0}


@settings(max_examples=30)
@given(_PAIRS)
def test_swapping_the_runs_turns_differences_and_ratios_around(problems):
    forward = compare_efficiency(problems, (8192, 8192))
    backward = compare_efficiency([(two, one) for one, two in problems], (8192, 8192))
    for name, value in forward.items():
        if name.endswith("_difference") and value is not None:
            assert backward[name] == pytest.approx(-value)
        if name in ("tokens_per_correct_ratio", "completion_tokens_correct_ratio") and value:
            assert backward[name] == pytest.approx(1 / value)


def test_a_comparison_of_runs_contains_the_measures(write_run):
    rows = [{"id": f"p{n}", "completion_tokens": 40 + n, "verdict": "correct"} for n in range(8)]
    a = write_run("a", rows)
    b = write_run("b", [{**row, "completion_tokens": 20} for row in rows])
    values = compare(load_condition(a), load_condition(b)).values
    assert values["aes"] == pytest.approx(1 - 160 / sum(40 + n for n in range(8)))
    assert values["aes_low"] < values["aes"] < values["aes_high"]
    assert values["completion_tokens_correct_ratio"] == pytest.approx(160 / sum(40 + n for n in range(8)))
