import json
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ratio_sft import evaluate
from ratio_sft.cli import cli
from ratio_sft.errors import DataError
from ratio_sft.evaluation.ratio_metrics import ratio_metrics, spearman


def sample(problem, ratio, thinking, *, correct=True, **fields):
    return {
        "id": problem,
        "question": f"question {problem}",
        "answer": "1",
        "prompt": "x",
        "completion": "y",
        "finish_reason": "stop",
        "thinking_tokens": thinking,
        "completion_tokens": thinking + 5,
        "extracted": "1",
        "verdict": "correct" if correct else "incorrect",
        "ratio": ratio,
        "seed": 0,
        "sample": 0,
        "latency_s": 0.1,
        **fields,
    }


def test_the_figures_of_three_problems_counted_by_hand(tmp_path, write_lines):
    rows = [sample("a", 0.2, 20), sample("a", 0.6, 60), sample("a", 1.0, 100), sample("a", "policy", 50)]
    rows += [sample("b", 0.2, 20, correct=False), sample("b", 0.6, 15), sample("b", 1.0, 50), sample("b", "policy", 25)]
    rows += [sample("c", 0.2, 5), sample("c", 0.6, 6)]
    files = write_lines(tmp_path / "samples.jsonl", rows)
    report = evaluate([files], output=tmp_path / "following.html")
    assert (report["problems"], report["left_out"], report["reference"]) == (2, 1, "ratio 1")
    low, middle, high, policy = report["conditions"]
    assert (low["asked"], low["realised"]) == (0.2, pytest.approx(0.3))
    assert low["mean_absolute_error"] == pytest.approx(0.1)
    assert (middle["realised"], middle["error"]) == (pytest.approx(0.45), pytest.approx(-0.15))
    assert middle["mean_absolute_error"] == pytest.approx(0.15)
    assert (high["realised"], high["mean_absolute_error"]) == (1.0, 0.0)
    assert (policy["asked"], policy["realised"], "error" in policy) == ("policy", 0.5, False)
    assert (low["accuracy"], low["thinking_tokens"]) == (0.5, 20)
    assert report["monotone_share"] == 0.5
    assert report["mean_absolute_error"] == pytest.approx((0.2 + 0.3) / 6)
    assert json.loads((tmp_path / "following.json").read_text()) == report


def test_the_base_model_is_the_reference_and_samples_of_a_problem_count_as_their_mean(tmp_path, write_lines):
    rows = [
        sample("a", ratio, tokens, sample=n)
        for ratio, both in ((0.5, (40, 60)), (1.0, (90, 90)))
        for n, tokens in enumerate(both)
    ]
    files = write_lines(tmp_path / "samples.jsonl", rows)
    base = write_lines(tmp_path / "base.jsonl", [sample("a", None, 100), sample("b", None, 0)])
    report = evaluate([files], base=[base])
    assert [line["realised"] for line in report["conditions"]] == [0.5, 0.9]
    assert report["base"]["accuracy"] == 1.0


def test_the_command_prints_a_table_and_draws_valid_charts(tmp_path, write_lines):
    rows = [sample(f"p{n}", ratio, round(100 * ratio) + n) for n in range(4) for ratio in (0.2, 1.0)]
    files = write_lines(tmp_path / "samples.jsonl", rows)
    result = CliRunner().invoke(cli, ["evaluate", str(files), "--output", str(tmp_path / "out" / "f.html")])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1].split() == ["0.2", *result.stdout.splitlines()[1].split()[1:]]
    assert "4 problems (0 left out" in result.stdout
    assert "monotone for 100.0%" in result.stdout
    page = (tmp_path / "out" / "f.html").read_text()
    charts = [part.partition("</svg>")[0] + "</svg>" for part in page.split("<svg")[1:]]
    assert len(charts) == 2
    for part in charts:
        tree = ElementTree.fromstring("<svg" + part)
        assert len(tree.findall(".//{*}circle")) == 2


@pytest.mark.parametrize(
    ("rows", "base", "message"),
    [
        ([("a", 0.2), ("a", 1.0), ("a", 0.2)], None, "'a', ratio 0.2, sample 0 appears twice"),
        ([("a", 0.2)], None, r"1 ratio\(s\) sampled"),
        ([("a", 0.2), ("a", 0.4)], None, "sample ratio 1 too, or give --base"),
        ([("a", 0.2), ("b", 1.0)], None, "no problem has a reference"),
        ([("a", 0.2), ("a", 1.0)], [("a", 1.0)], "--base is the base model's samples without --ratio"),
    ],
)
def test_samples_that_cannot_be_compared_are_refused(tmp_path, write_lines, rows, base, message):
    files = write_lines(tmp_path / "samples.jsonl", [sample(*row, 10) for row in rows])
    other = [write_lines(tmp_path / "base.jsonl", [sample(*row, 10) for row in base])] if base else []
    with pytest.raises(DataError, match=message):
        evaluate([files], base=other)


@pytest.mark.parametrize("name", ["", "report.json"])
def test_a_page_is_written_to_an_html_file_only(tmp_path, write_lines, name):
    files = write_lines(tmp_path / "samples.jsonl", [sample("a", 0.2, 10), sample("a", 1.0, 10)])
    result = CliRunner().invoke(cli, ["evaluate", str(files), "--output", str(tmp_path / name)])
    assert (result.exit_code, "must end in .html" in result.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == [files]


def test_two_questions_with_one_id_are_refused(tmp_path, write_lines):
    rows = [sample("a", 0.2, 10), sample("a", 1.0, 10, question="another")]
    with pytest.raises(DataError, match="belongs to two questions"):
        evaluate([write_lines(tmp_path / "samples.jsonl", rows)])


@given(st.lists(st.integers(0, 20), min_size=2, max_size=30))
def test_rank_correlation_is_that_of_any_rising_transformation(values):
    first, second = np.array(values, dtype=float), np.arange(len(values), dtype=float)
    found = spearman(first, second)
    if len(set(values)) == 1:
        assert found is None
        return
    assert -1 <= found <= 1 + 1e-12
    assert spearman(first**3, second) == pytest.approx(found)
    assert spearman(first, first) == pytest.approx(1)
    assert spearman(first, -second) == pytest.approx(-found)


def test_perfect_following_has_no_error():
    report = ratio_metrics({0.2: [0.2, 0.2], 1.0: [1.0, 1.0]})
    assert (report["mean_absolute_error"], report["spearman"], report["monotone_share"]) == (0, 1, 1)
