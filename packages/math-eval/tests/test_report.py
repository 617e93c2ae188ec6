import json
import re

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from math_eval.cli import cli
from math_eval.errors import DataError
from math_eval.report import write_report
from math_eval.report.chart import Box, Point, place_labels, scatter, ticks

_ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>\x00\ud800"


@pytest.fixture
def runs(write_run):
    base = write_run("base", [{"id": f"p{n}", "level": 1 + n % 2, "thinking_tokens": 100} for n in range(40)])
    policy = [
        {
            "id": f"p{n}",
            "level": 1 + n % 2,
            "ratio": "policy",
            "chosen_ratio": 0.2 if n % 2 else 0.6,
            "thinking_tokens": 20 if n % 2 else 60,
            "verdict": "incorrect" if n == 3 else "correct",
            "completion": f"<think> {_ATTACK} </think> {_ATTACK} \\boxed{{3}}",
            "question": _ATTACK,
        }
        for n in range(40)
    ]
    fixed = [{"id": f"p{n}", "level": 1 + n % 2, "ratio": 0.2, "thinking_tokens": 20} for n in range(40)]
    return base, write_run("sft", [*fixed, *policy])


def test_a_report_names_conditions_and_compares_the_last_with_the_baseline(runs, tmp_path):
    base, sft = runs
    out = tmp_path / "report.html"
    done = CliRunner().invoke(cli, ["report", f"b={base}", str(sft), "--by", "level", "--output", str(out)])
    assert done.exit_code == 0, done.stderr
    data = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert [row["name"] for row in data["conditions"]] == ["b", "sft@0.2", "sft@policy"]
    assert [row["act_ratio"] for row in data["conditions"]] == [1.0, 0.2, 0.4]
    assert data["n"] == 40
    comparison = data["comparison"]
    assert (comparison["a"], comparison["b"], comparison["token_reduction"]) == ("b", "sft@policy", 0.6)
    assert comparison["accuracy_difference"] == pytest.approx(-1 / 40)
    levels = data["by"]["level"]
    assert levels["1"]["sft@policy"]["chosen"] == {"0.6": 1.0}
    assert levels["2"]["sft@policy"]["accuracy"] == pytest.approx(19 / 20)
    lead = "sft@policy thinks with 60 % fewer tokens than b (40.0 against 100.0), at 97.5 % accuracy against 100.0 %"
    assert lead in done.stdout
    assert lead in out.with_suffix(".md").read_text("utf-8")
    assert "| sft@0.2 | 100.0 % | 91.2 – 100.0 | 20.0 | 15.0 | 0.20 |" in out.with_suffix(".md").read_text("utf-8")


def test_nothing_from_a_model_is_markup_and_nothing_is_loaded(runs, tmp_path):
    out = tmp_path / "report.html"
    write_report([f"{runs[0]}", f"x<b>={runs[1]}"], out, by="level", title=_ATTACK, notes=[_ATTACK])
    html = out.read_text("utf-8")
    assert len(re.findall(r"<script", html)) == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<img" not in html
    assert "x<b>" not in html
    assert "\x00" not in html
    assert not re.search(r"(?:src|href)\s*=|url\(|@import", html.replace("src=x onerror", ""))


def test_ten_thousand_long_samples_stay_below_two_megabytes(write_run, tmp_path):
    long = "<think> " + "1 + 2 = 3 & so on. " * 400 + "</think> \\boxed{3}"
    runs = [
        str(write_run(f"r{run}", [{"id": f"p{n}", "completion": long, "level": n % 5} for n in range(2500)]))
        for run in range(4)
    ]
    out = tmp_path / "report.html"
    write_report(runs, out, by="level")
    assert 100_000 < out.stat().st_size < 2_000_000


def test_wrong_names_are_refused_before_anything_is_written(runs, tmp_path):
    base, sft = runs
    out = tmp_path / "report.html"
    with pytest.raises(DataError, match="two conditions are called 'a'"):
        write_report([f"a={base}", f"a={base}"], out)
    with pytest.raises(DataError, match="several conditions of that name"):
        write_report([str(base), str(sft)], out, baseline="sft")
    with pytest.raises(DataError, match="--by colour: no sample has such a field"):
        write_report([str(base)], out, by="colour")
    assert list(tmp_path.glob("report*")) == []


def test_one_condition_alone_has_no_comparison(runs, tmp_path):
    write_report([str(runs[0])], tmp_path / "r.html")
    assert json.loads((tmp_path / "r.json").read_text("utf-8"))["comparison"] is None


@given(
    st.lists(
        st.tuples(st.floats(50, 850), st.floats(30, 380), st.text("abc@.", min_size=1, max_size=14)),
        min_size=1,
        max_size=16,
    ),
    st.booleans(),
)
def test_chart_labels_never_overlap_each_other_or_a_mark(items, phone):
    area = Box(54, 34, 366 if phone else 886, 384)
    anchors = [(min(x, area.right), y) for x, y, _ in items]
    boxes = place_labels([text for _, _, text in items], anchors, [], area)
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:index])
        if box.bottom <= area.bottom:
            assert not any(box.overlaps(Box(x - 6, y - 6, x + 6, y + 6)) for x, y in anchors)


def test_labels_of_equal_points_are_all_there_and_apart():
    boxes = place_labels([f"condition@{n}" for n in range(20)], [(200.0, 200.0)] * 20, [], Box(54, 34, 366, 384))
    assert not any(box.overlaps(other) for index, box in enumerate(boxes) for other in boxes[:index])


def test_axis_ticks_are_round_and_cover_the_data():
    assert ticks(0, 104, 6) == [0, 20, 40, 60, 80, 100, 120]
    assert ticks(0.53, 0.98, 5) == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])


def test_a_chart_of_one_perfect_point_is_drawn():
    svg = scatter([Point("a<b>", 0, (0, 0), 1.0, (1.0, 1.0), 0, "none")], width=380, height=400)
    assert "a&lt;b&gt;" in svg
    assert "nan" not in svg
