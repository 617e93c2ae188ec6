import json

import pytest
from click.testing import CliRunner

from math_eval import metrics
from math_eval.cli import cli
from math_eval.compare import compare
from math_eval.errors import DataError
from math_eval.report.text import conclusion, flips, sentences
from math_eval.run_folders import load_condition, load_run


def _run(write_run, name, scores, tokens, **more):
    verdicts = {1: "correct", 0: "incorrect"}
    rows = [
        {"id": f"p{n}", "verdict": verdicts[score], "thinking_tokens": count, **more}
        for n, (score, count) in enumerate(zip(scores, tokens, strict=True))
    ]
    return write_run(name, rows)


def test_a_comparison_by_hand(write_run):
    a = _run(write_run, "a", [1, 1, 1, 0, 0], [100, 200, 100, 100, 0])
    b = _run(write_run, "b", [1, 1, 0, 1, 1], [50, 50, 25, 100, 25])
    comparison = compare(load_condition(a), load_condition(b))
    values = comparison.values
    assert (values["n"], values["accuracy_a"], values["accuracy_b"]) == (5, 0.6, 0.8)
    assert values["accuracy_difference"] == pytest.approx(0.2)
    assert values["token_reduction"] == pytest.approx(1 - 250 / 500)
    assert values["act_ratio_paired"] == pytest.approx((0.5 + 0.25 + 0.25 + 1) / 4)
    assert (values["only_a_correct"], values["only_b_correct"], values["mcnemar_p"]) == (1, 2, 1.0)
    assert comparison.only_a_correct == [("sums", "p2", 0, 0)]
    assert values["accuracy_difference_low"] < 0.2 < values["accuracy_difference_high"]
    assert values["token_reduction_low"] < 0.5 < values["token_reduction_high"]


def test_swapping_the_two_swaps_the_sign(write_run):
    a = load_condition(_run(write_run, "a", [1, 0] * 40, [100, 80] * 40))
    b = load_condition(_run(write_run, "b", [1, 1, 1, 0] * 20, [30, 20] * 40))
    forward, backward = compare(a, b).values, compare(b, a).values
    assert forward["accuracy_difference"] == -backward["accuracy_difference"]
    assert forward["accuracy_difference_low"] == pytest.approx(-backward["accuracy_difference_high"], abs=0.03)
    assert forward["mcnemar_p"] == backward["mcnemar_p"]


def test_samples_of_one_problem_count_as_one_cluster(write_run):
    def rows(verdicts):
        return [{"id": f"p{n}", "sample": k, "verdict": verdicts[n]} for n in range(10) for k in range(8)]

    a = write_run("a", rows(["incorrect"] * 3 + ["correct"] * 7))
    b = write_run("b", rows(["correct"] * 10))
    values = compare(load_condition(a), load_condition(b)).values
    assert (values["n"], values["problems"], values["mcnemar_p"]) == (80, 10, 0.25)
    assert values["accuracy_difference_low"] <= 0.1


def test_nothing_right_on_either_side_claims_nothing(write_run):
    a = load_condition(_run(write_run, "a", [0] * 20, [100] * 20))
    b = load_condition(_run(write_run, "b", [0] * 20, [50] * 20))
    values = compare(a, b).values
    assert values["accuracy_difference_high"] == pytest.approx(0.1611, abs=1e-4)
    text = "\n".join(sentences(values))
    assert "difference 0.0 points (95 % -16.1 to +16.1)" in text
    assert "no answer is correct in either, so accuracy cannot be compared on 20 problems" in text


def test_what_could_not_be_seen_is_said(write_run):
    a = load_condition(_run(write_run, "a", [1] * 30 + [0] * 10, [100] * 40))
    b = load_condition(_run(write_run, "b", [1] * 28 + [0] * 10 + [1] * 2, [50] * 40))
    values = compare(a, b).values
    assert values["smallest_detectable"] == pytest.approx(metrics.smallest_difference(0.1, 40))
    assert "a true difference below 18.5 points would be missed in more than one case of five" in conclusion(values)
    few = compare(*(load_condition(_run(write_run, name, [1], [10])) for name in "cd")).values
    assert conclusion(few).endswith("1 problem cannot show any")
    five = compare(_seeded(write_run, "e", {0: [1] * 5}), _seeded(write_run, "f", {0: [0] * 5})).values
    assert conclusion(five).endswith("5 problems cannot show any")
    assert few["token_reduction_low"] is None


def _seeded(write_run, name, seeds):
    verdicts = {1: "correct", 0: "incorrect"}
    rows = [
        {"id": f"p{n}", "seed": seed, "sample": k, "verdict": verdicts[score]}
        for seed, scores in seeds.items()
        for n, score in enumerate(scores)
        for k in range(2)
    ]
    return load_condition(write_run(name, rows))


def test_several_seeds_are_paired_seed_by_seed_and_their_spread_is_told(write_run):
    a = _seeded(write_run, "a", {0: [1, 0, 0, 0], 1: [1, 1, 0, 0]})
    b = _seeded(write_run, "b", {0: [1, 1, 0, 0], 1: [1, 1, 1, 1]})
    values = compare(a, b).values
    assert (values["n"], values["problems"]) == (16, 4)
    assert values["accuracy_difference_by_seed"] == {"0": 0.25, "1": 0.5}
    assert values["accuracy_difference_seed_sd"] == pytest.approx(0.25 / 2**0.5)
    assert "over seeds: +25.0 (seed 0), +50.0 (seed 1); standard deviation 17.7 points" in sentences(values)
    assert flips(compare(a, b))[0] == "correct only in B: sums p1 seed 0 sample 0"
    summary = b.summary()
    assert (summary["samples"], summary["avg@4"], summary["pass@2"]) == (
        4,
        0.75,
        pytest.approx((1 + 1 + 5 / 6 * 2) / 4),
    )
    assert summary["accuracy_by_seed"] == {"0": 0.5, "1": 1.0}
    assert summary["accuracy_seed_sd"] == pytest.approx(0.5 / 2**0.5)


def test_runs_with_other_seeds_are_paired_in_order_and_it_is_said(write_run):
    a = _seeded(write_run, "a", {0: [1, 0]})
    b = _seeded(write_run, "b", {7: [1, 1], 8: [1, 1]})
    values = compare(a, b).values
    assert (values["n"], values["unpaired_b"]) == (4, 4)
    assert "seeds differ and are paired in order: seed 0 of A, seed 7, 8 of B" in sentences(values)


def test_a_baseline_that_never_thinks_has_no_reduction(write_run):
    a = load_condition(_run(write_run, "a", [1], [0]))
    values = compare(a, a).values
    assert values["token_reduction"] is None
    assert values["act_ratio"] is None


def test_unpaired_samples_are_counted_and_nothing_shared_is_an_error(write_run):
    a = write_run("a", [{"id": "p0"}, {"id": "p1"}])
    b = write_run("b", [{"id": "p1"}, {"id": "p2"}, {"id": "p3"}])
    c = write_run("c", [{"id": "p9"}])
    values = compare(load_condition(a), load_condition(b)).values
    assert (values["n"], values["unpaired_a"], values["unpaired_b"]) == (1, 1, 2)
    with pytest.raises(DataError, match=r"share no \(task, id, sample\)"):
        compare(load_condition(a), load_condition(c))


def test_the_command_takes_run_and_ratio_and_writes_json(write_run, tmp_path):
    base = write_run("base", [{"id": "a", "thinking_tokens": 100}])
    sft = write_run(
        "sft", [{"id": "a", "ratio": 0.2, "thinking_tokens": 20}, {"id": "a", "ratio": 1.0, "thinking_tokens": 90}]
    )
    refused = CliRunner().invoke(cli, ["compare", str(base), str(sft)])
    assert (refused.exit_code, "(0.2, 1.0)" in refused.stderr) == (2, True)
    out = tmp_path / "c.json"
    done = CliRunner().invoke(cli, ["compare", str(base), f"{sft}:0.2", "--output", str(out)])
    assert done.exit_code == 0, done.stderr
    assert json.loads(out.read_text("utf-8"))["token_reduction"] == pytest.approx(0.8)
    assert "reduction 80.0%" in done.stdout
    missing = CliRunner().invoke(cli, ["compare", str(base), f"{sft}:0.4"])
    assert (missing.exit_code, "it has 0.2, 1.0" in missing.stderr) == (2, True)


def test_the_numbers_never_take_the_place_of_rows_or_a_folder(write_run, tmp_path):
    run, rows = write_run("a", [{"id": "a"}]), tmp_path / "mine.jsonl"
    rows.write_text("{}\n", "utf-8")
    (tmp_path / "folder.json").mkdir()
    for out, words in (
        (rows, "choose a name that ends in .json"),
        (tmp_path / "folder.json", "is a folder; name a file"),
    ):
        refused = CliRunner().invoke(cli, ["compare", str(run), str(run), "--output", str(out)])
        assert (refused.exit_code, refused.stderr.count("\n"), words in refused.stderr) == (2, 1, True), refused.output
    assert rows.read_text("utf-8") == "{}\n"


def test_results_hold_avg_pass_and_majority_for_several_samples(write_run):
    rows = [
        {"id": "a", "sample": k, "extracted": extracted, "verdict": "correct" if extracted == "3" else "incorrect"}
        for k, extracted in enumerate(["3", "3", "4", None])
    ] + [{"id": "b", "sample": k, "extracted": "9", "verdict": "incorrect"} for k in range(4)]
    (condition,) = load_run(write_run("r", rows))
    summary = condition.summary()
    assert (summary["avg@4"], summary["pass@4"], summary["maj@4"]) == (0.25, 0.5, 0.5)
    assert (summary["n"], summary["samples"]) == (2, 4)


def test_several_tasks_are_compared_each_and_together_and_flips_are_named(write_run, tmp_path):
    def rows(verdicts):
        return [{"id": f"p{n}", "task": task, "verdict": verdicts[task][n]} for task in verdicts for n in range(2)]

    a = write_run("a", rows({"one": ["correct"] * 2, "two": ["incorrect"] * 2}), tasks=("one", "two"))
    b = write_run("b", rows({"one": ["correct", "incorrect"], "two": ["correct"] * 2}), tasks=("one", "two"))
    out = tmp_path / "c.json"
    done = CliRunner().invoke(cli, ["compare", str(a), str(b), "--output", str(out)])
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.endswith(":")] == ["one:", "two:", "all tasks together:"]
    assert lines[-3:] == [
        "correct only in A: one p1 sample 0", "correct only in B: two p0 sample 0", "correct only in B: two p1 sample 0"
    ]  # fmt: skip
    written = json.loads(out.read_text("utf-8"))
    assert written["accuracy_difference"] == pytest.approx(0.25)
    assert {task: one["accuracy_difference"] for task, one in written["tasks"].items()} == {"one": -0.5, "two": 1.0}


def test_equal_answers_vote_together_however_they_are_spelt(write_run):
    answers = ["7", "0.5", "7", r"\frac{1}{2}", "1/2"]
    rows = [
        {"id": "a", "sample": k, "extracted": one, "verdict": "incorrect" if one == "7" else "correct"}
        for k, one in enumerate(answers)
    ]
    (condition,) = load_run(write_run("r", rows))
    assert condition.summary()["maj@5"] == 1.0
