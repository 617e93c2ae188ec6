import json
from pathlib import Path

import pytest

from cot_compressor.budget.counting import TokenCounter
from cot_compressor.evaluation.baselines import BASELINES, select_baseline
from cot_compressor.evaluation.evaluate import evaluate_file
from cot_compressor.evaluation.fidelity import FORM, METRICS, Sample, mean_with_interval, measure_fidelity
from cot_compressor.text.arithmetic import equation_truths
from cot_compressor.text.render import render
from cot_compressor.text.segment import segment

QUESTION = "Tom has 12 pens and gets 15, then 4 more, not 5."
COT = "Tom has 12 pens, not 13. Then 12 + 15 = 27. Then 27 + 4 = 31. So the answer is 31."


def measured(*kept: str, answer: str | None = "31") -> dict:
    spans = sorted((COT.index(piece), COT.index(piece) + len(piece)) for piece in kept)
    return measure_fidelity(Sample(QUESTION, COT, segment(COT), answer), spans, render(COT, spans))


def test_the_whole_text_scores_full_marks() -> None:
    assert measured(COT) == {
        "unit_integrity": 1.0,
        "torn_equations": 0.0,
        "grounded_recall": 1.0,
        "answer_retention": 1.0,
        "response_coverage": None,
        "conclusion_kept": 1.0,
        "decisive": None,
        "question_numbers": 1.0,
        "negations": 1.0,
        "turned": 0.0,
        "equation_validity": 1.0,
        "fragments": 0.0,
        "holes": 0.0,
        "orphan_equations": 0.0,
        "dangling_operators": 0.0,
        "balanced": 1.0,
        "punctuation_pieces": 0.0,
        "piece_words": 23.0,
    }


def test_how_the_pieces_read() -> None:
    values = measured("12 + 15 =", "27 + 4 = 31", ".")
    assert values["orphan_equations"] == 1.0
    assert values["dangling_operators"] == values["punctuation_pieces"] == pytest.approx(1 / 3)
    assert values["piece_words"] == pytest.approx((4 + 5 + 1) / 3)
    assert measured("Tom")["orphan_equations"] is None


@pytest.mark.parametrize(
    ("cot", "spans", "balanced"),
    [
        ("a (b) [c {d}] $e$", [(0, 5)], 1.0),
        ("a (b) [c {d}] $e$", [(2, 4)], 0.0),
        ("a (b) [c {d}] $e$", [(6, 9), (12, 13)], 1.0),
        ("a (b) [c {d}] $e$", [(6, 10), (12, 13)], 0.0),
        ("a (b) [c {d}] $e$", [(14, 16)], 0.0),
        ("pay \\$5 (all)", [(4, 7)], 1.0),
        ("a (b", [(0, 1)], None),
        ("a )b(", [(0, 1)], None),
    ],
)
def test_brackets_and_dollars_still_pair_up(cot: str, spans: list[tuple[int, int]], balanced: float | None) -> None:
    assert measure_fidelity(Sample("", cot, segment(cot), None), spans, render(cot, spans))["balanced"] == balanced


def test_what_the_response_says_and_which_statements_are_kept() -> None:
    cot = "The cook slept at ten. The gardener stood at the gate. So the gardener locked the gate."
    sample = Sample("Who?", cot, segment(cot), None, "The gardener locked it: 2 keys.", ["The cook slept at ten"])

    def values(*kept: str) -> dict:
        spans = [(cot.index(piece), cot.index(piece) + len(piece)) for piece in kept]
        return measure_fidelity(sample, spans, render(cot, spans))

    # The response has gardener, locked and keys, worth 1 each, and the number 2, worth 1.5.
    assert values("So the gardener locked the gate.")["response_coverage"] == pytest.approx(2 / 4.5)
    assert values("So the gardener locked the gate.")["conclusion_kept"] == 1.0
    assert values("The cook slept at ten.")["conclusion_kept"] == 0.0
    assert values("The cook slept at ten.")["decisive"] == 1.0
    assert values("The gardener stood at the gate.")["decisive"] == 0.0
    assert values()["conclusion_kept"] == values()["decisive"] == 0.0
    cut = values("The cook", "at ten", "So the gardener locked the gate.")
    assert (cut["fragments"], cut["holes"]) == (0.5, 0.5)
    end = values("The gardener stood", "So the gardener locked the gate.")
    assert (end["fragments"], end["holes"]) == (0.5, 0.0)
    assert measured("12 + 15 = 27")["fragments"] == 0.0


def test_half_an_equation_is_torn() -> None:
    values = measured("12 + 15", "27 + 4 = 31")
    assert values["torn_equations"] == 0.5
    assert values["unit_integrity"] == 0.5
    assert values["grounded_recall"] == 0.0
    assert values["negations"] == 0.0


def test_what_is_negated_without_its_negation_is_turned() -> None:
    assert measured("13")["turned"] == 1.0
    assert measured("13")["negations"] == 0.0
    assert measured("not")["turned"] == 0.0
    assert measured("not 13")["negations"] == 1.0
    assert measured("12 pens")["turned"] == 0.0


@pytest.mark.parametrize("cot", ["91 is **not** a prime.", "91 is not (yet) a prime."])
def test_marks_around_a_negation_neither_turn_nor_hide_it(cot: str) -> None:
    def turned(*kept: str) -> float | None:
        spans = [(cot.index(piece), cot.index(piece) + len(piece)) for piece in kept]
        return measure_fidelity(Sample("", cot, segment(cot), None), spans, render(cot, spans))["turned"]

    marks = "**" if "*" in cot else ")"
    assert turned("prime") == turned(marks, "a prime") == 1.0
    assert turned("not", "prime") == turned(marks) == turned(cot) == 0.0


def test_an_equation_without_its_ground_does_not_count() -> None:
    assert measured("27 + 4 = 31")["grounded_recall"] == 0.0
    assert measured("12 + 15 = 27")["grounded_recall"] == 0.5
    assert measured("12 + 15 = 27")["answer_retention"] == 0.0
    assert measured("12 + 15 = 27")["question_numbers"] == pytest.approx(2 / 3)


def test_what_is_not_there_is_not_measured() -> None:
    sample = Sample("Why?", "because so", segment("because so"), None)
    values = measure_fidelity(sample, [(0, 7)], "because")
    assert {name for name, value in values.items() if value is not None} == FORM.keys() - {"orphan_equations"}
    assert set(measure_fidelity(sample, [], "").values()) == {None, 1.0}
    assert measured(COT, answer="99")["answer_retention"] is None


def test_answers_match_as_numbers_or_as_spellings() -> None:
    def says(answer: str, text: str) -> float | None:
        return measure_fidelity(Sample("", text, segment(text), answer), [(0, len(text))], text)["answer_retention"]

    assert says("1200", "It is 1,200.00 then") == 1.0
    assert says("3", "It is 31") is None
    assert says("\\frac{1}{4}", "so $ \\dfrac{1}{4} $") == 1.0
    assert says("x + 1", "so x+1") == 1.0


def test_bootstrap_by_hand() -> None:
    assert mean_with_interval([None, None], ["a", "b"]) is None
    flat = mean_with_interval([0.5] * 10, list("abcdefghij"))
    assert flat is not None
    assert (flat.mean, flat.low, flat.high, flat.rows) == (0.5, 0.5, 0.5, 10)
    mixed = mean_with_interval([0.0, 1.0] * 50, [str(at) for at in range(100)], seed=1)
    assert mixed is not None
    assert mixed.low == pytest.approx(0.5 - 1.96 * 0.05, abs=0.02)
    assert mixed.high == pytest.approx(0.5 + 1.96 * 0.05, abs=0.02)
    one_group = mean_with_interval([0.0, 1.0, None], ["a", "a", "b"])
    assert one_group is not None
    assert (one_group.low, one_group.high) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("text", "truths"),
    [
        ("12 + 15 = 27, then 48/2 = 25", [True, False]),
        ("12 x $5 = $60 and 2 - -3 = 5 and 2^3 * (4 + 1) = 40", [True, True, True]),
        ("\\(\\frac{1}{4} + \\frac{10}{40} = 0.5\\)", [True]),
        ("2/3 = 0.67, 2/3 = 0.68, 1/8 = 12.5%", [True, False, True]),
        ("1,200 + 300 = 1,500 = 1500", [True]),
        ("x = 3, 27 = 27, 1/0 = 5, 2^999999999 = 1, P(A) = 1 - 2, sin(3) = 1", []),
        ("(" * 150 + "1" + ")" * 150 + " + 1 = 2", []),
        ("10+60=70, +30=100", [True]),
        ("(((9^64)^64)^64)^64 = 1, 9^9^9^9 = 1, 1/(((9^64)^64)^64)^-64 = 1", []),
        ("*".join(["9^1900"] * 25) + " = 1", []),
        ("+".join(f"1/{at}^1500" for at in range(3, 22)) + " = 1", []),
        ("2^100 = 1267650600228229401496703205376", [True]),
    ],
)
def test_equations_between_numbers_are_judged_by_value(text: str, truths: list[bool]) -> None:
    assert equation_truths(text) == truths


def test_a_baseline_that_tears_can_make_a_false_equation() -> None:
    text = "2 + 3 + 4 = 9"
    sample = Sample("", text, segment(text), None)
    assert measure_fidelity(sample, [(0, 5), (10, 13)], "2 + 3 = 9")["equation_validity"] == 0.0


def test_steps_are_dropped_whole_and_rare_words_lose_signs_first(word_tokenizer) -> None:
    counter = TokenCounter(word_tokenizer, "toy")
    steps = {unit.step: [] for unit in segment(COT)}
    for unit in segment(COT):
        steps[unit.step].append((unit.start, unit.end))
    borders = {spans[0][0] for spans in steps.values()}
    choice = select_baseline("drop-steps", COT, 20, counter)
    assert choice.spans
    assert {start for start, _ in choice.spans} <= borders
    assert select_baseline("rare-words", COT, 12, counter).text == "Tom 12 pens not 13 12 15 27 27 4 31 31"


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_meet_the_length_and_depend_on_the_seed_alone(name: str, word_tokenizer) -> None:
    counter = TokenCounter(word_tokenizer, "toy")
    choice = select_baseline(name, COT, 9, counter, seed=1)
    assert counter.count(choice.text) == choice.tokens <= 9
    assert choice == select_baseline(name, COT, 9, counter, seed=1)
    if name == "head":
        assert COT.startswith(choice.text[:20])
    elif name == "tail":
        assert choice.text.endswith("31.")
    elif name == "random":
        assert choice != select_baseline(name, COT, 9, counter, seed=2)


def test_evaluate_compares_with_the_baselines_and_escapes_what_it_shows(
    tmp_path: Path, toy_traces: list[dict], tokenizer_folder: Path
) -> None:
    rows = [{**row, "question": row["question"] + "<script>alert(1)</script>"} for row in toy_traces[:20]]
    rows.append({**rows[0], "id": "short", "cot": "12 + 15 = 27"})
    source, out = tmp_path / "in.jsonl", tmp_path / "report"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    table = evaluate_file(source, out, ratios=[0.2, 0.4], scorer="rules", tokenizer=tokenizer_folder)
    assert table is not None
    assert "20 rows" in table
    assert table.endswith("21 read, 20 measured, 1 rejected (infeasible_budget 1)")
    report = json.loads((out / "report.json").read_text("utf-8"))
    assert report["rows"] == 20
    results = {(entry["ratio"], entry["method"]): entry for entry in report["results"]}
    assert set(results) == {(ratio, method) for ratio in (0.2, 0.4) for method in ("rules", *BASELINES)}
    for ratio in (0.2, 0.4):
        ours = results[ratio, "rules"]
        assert ours["metrics"].keys() == METRICS.keys()
        assert ours["metrics"]["unit_integrity"]["mean"] == 1.0
        assert ours["metrics"]["torn_equations"]["mean"] == 0.0
        assert -0.05 < ours["metrics"]["ratio_error"]["mean"] <= 0
        assert abs(ours["metrics"]["ratio_error"]["mean"]) <= ours["ratio_error_p95"] < 0.05
        assert 0.85 <= ours["metrics"]["budget_used"]["mean"] <= 1.0
        for name in BASELINES:
            other = results[ratio, name]
            assert other["tokens"] <= ours["tokens"]
            assert other["metrics"]["grounded_recall"]["mean"] < ours["metrics"]["grounded_recall"]["mean"]
    page = (out / "report.html").read_text("utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<mark>" in page
    assert "http" not in page
    rejected = [json.loads(line) for line in (out / "metrics.rejected.jsonl").read_text("utf-8").splitlines()]
    assert [row["id"] for row in rejected] == ["short"]
    assert evaluate_file(source, out, ratios=[0.2, 0.4], scorer="rules", tokenizer=tokenizer_folder) is None
