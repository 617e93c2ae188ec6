import csv
import itertools
import json
import re

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from math_eval._shared.terminal import terminal_line
from math_eval.cli import cli
from math_eval.errors import DataError
from math_eval.report import write_report
from math_eval.report.chart import Box, Point, place_labels, scatter, ticks
from math_eval.report.curve import Curve, curves, legend
from math_eval.report.escaping import csv_cell, html, markdown_text
from math_eval.report.ratios import shares

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
    assert data["conditions"][1]["act_ratio_low"] is None, "forty equal ratios give no interval"
    assert data["n"] == 40
    assert "accuracy_difference" not in data["conditions"][0]
    assert [row["accuracy_difference"] for row in data["conditions"][1:]] == [0, pytest.approx(-1 / 40)]
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


_ELEMENT = "\"'><b id=stranger>[x](javascript:1)`|\x1b[31m\x9b"


def test_every_field_of_a_run_is_text_in_every_medium(write_run, tmp_path):
    """Names, settings and fields alike; what the schema of a manifest admits may hold any text."""
    task = "t<b id=stranger>"
    rows = [
        {"id": f"{_ELEMENT}{n}", "task": task, "question": _ELEMENT, "answer": _ELEMENT, "level": f"={n}{_ELEMENT}"}
        | {"completion": _ELEMENT, "extracted": _ELEMENT, "model": _ELEMENT, "ratio": ratio, "chosen_ratio": 0.2}
        for n in range(3)
        for ratio in (0.2, "policy")
    ]
    run = write_run("run", rows, (task,))
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    manifest["settings"]["model_sha256"] = "<b id=stranger>"
    manifest["environment"] = {"<b id=stranger>": _ELEMENT, "torch": "<b id=stranger>"}
    (run / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    out, label = tmp_path / "r.html", "l<i>[x](y)"
    arguments = ["report", f"{label}={run}", "--by", "level", "--title", _ELEMENT, "--note", _ELEMENT, "--output", out]
    done = CliRunner().invoke(cli, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    page, markdown, table = (out.with_suffix(suffix).read_text("utf-8") for suffix in (".html", ".md", ".csv"))
    assert not re.search("<b id|<i>", page + markdown)
    assert page.count("&lt;b id=stranger&gt;") > 30
    for line in markdown.splitlines():
        assert not re.search(r"(?<!\\)[\[\]`]", line)
        assert line.count("|") - line.count("\\|") in (0, 12, 11)
    for text in (page, markdown, table, done.output):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
    assert {row["value"][:2] for row in csv.DictReader(table.splitlines())} == {"", "'="}


def test_a_condition_without_a_label_is_refused_since_it_names_a_folder(runs, tmp_path):
    with pytest.raises(DataError, match=rf"={runs[0]}: no label; write LABEL=RUN"):
        write_report([f"={runs[0]}"], tmp_path / "r.html")
    assert not list(tmp_path.glob("r.*"))


@given(st.text())
def test_each_medium_keeps_text_text(text):
    assert not re.search("[<>\"'\x00-\x08\x0b-\x1f\x7f-\x9f]", html(text))
    assert not re.search("[<\n\r\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", markdown_text(text))
    assert not re.search(r"(?<!\\)[`*|\[\]]", markdown_text(text).replace("\\\\", ""))
    assert not csv_cell(text).startswith(("=", "+", "-", "@", "\t", "\n", "\r"))
    assert not re.search("[\n\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", terminal_line(text))


@given(st.text("abcXYZ 019.,:;%()–@=_^$€äß", min_size=1).filter(lambda text: text[0] not in "=@"))
def test_usual_text_stays_as_it_is(text):
    assert html(text) == csv_cell(text) == terminal_line(text) == text
    assert markdown_text(text) == text


@pytest.mark.parametrize("piece", ["1 + 2 = 3 & so on. ", "<\"&'>"])
def test_ten_thousand_long_samples_stay_below_two_megabytes(piece, write_run, tmp_path):
    long = "<think> " + piece * (8000 // len(piece)) + "</think> \\boxed{3}"
    runs = [
        str(write_run(f"r{run}", [{"id": f"p{n}", "completion": long, "level": n % 5} for n in range(2500)]))
        for run in range(4)
    ]
    out = tmp_path / "report.html"
    write_report(runs, out, by="level")
    assert 100_000 < out.stat().st_size < 2_000_000
    html = out.read_text("utf-8")
    shown = html.count("<article")
    assert f"<p>{shown} of 2,500 samples, as many as fit in this page" in html
    assert f"Texts cut in the middle, at 3,000 characters: {4 * shown:,}." in html


def test_every_sample_is_shown_if_there_is_room_and_long_text_keeps_both_ends(write_run, tmp_path):
    rows = [{"id": f"p{n}"} for n in range(300)]
    rows[7]["completion"] = "<think> the start " + "so " * 2000 + "the end </think> \\boxed{3}"
    write_report([str(write_run("r", rows))], tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text("utf-8")
    assert "<p>All 300 samples. Texts cut in the middle, at 3,000 characters: 1." in html
    assert html.count("<article") == 300
    (thought,) = re.findall(r"<pre>the start.*?</pre>", html, re.DOTALL)
    assert thought.endswith("the end</pre>")
    assert "3,017 characters left out here; the whole text is in samples_sums.jsonl" in thought


def test_changed_verdicts_come_first_when_not_all_fit(write_run, tmp_path):
    long = "<think> " + "so " * 1500 + "</think> \\boxed{3}"
    a = write_run("a", [{"id": f"p{n}", "completion": long} for n in range(2000)])
    wrong = {1, 500, 1999}
    rows = [{"id": f"p{n}", "completion": long} | ({"verdict": "incorrect"} if n in wrong else {}) for n in range(2000)]
    write_report([str(a), str(write_run("b", rows))], tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text("utf-8")
    assert html.count('data-change="correct only in a"') == 3
    shown = [int(n) for n in re.findall(r'class="about">sums · p(\d+)', html)]
    assert shown == sorted(shown)
    assert max(two - one for one, two in itertools.pairwise(shown)) < 25


def test_nothing_right_anywhere_is_no_headline_to_boast_of(write_run, tmp_path):
    runs = [
        str(write_run(name, [{"id": f"p{n}", "verdict": "incorrect", "thinking_tokens": tokens} for n in range(20)]))
        for name, tokens in (("a", 100), ("b", 50))
    ]
    said = write_report(runs, tmp_path / "r.html")
    assert "Neither a nor b has a correct answer: accuracy cannot be compared" in said
    assert "fewer tokens" not in said


def test_the_headline_is_about_the_last_condition_that_is_not_the_baseline(runs, tmp_path):
    said = write_report([str(runs[1]), str(runs[0])], tmp_path / "r.html", baseline="base")
    assert "sft@policy thinks with 60 % fewer tokens than base" in said


def test_several_seeds_and_samples_have_their_columns_and_their_articles(write_run, tmp_path):
    rows = [
        {"id": f"p{n}", "seed": seed, "sample": k, "verdict": "correct" if n + seed else "incorrect"}
        for n in range(2)
        for seed in (0, 1)
        for k in range(2)
    ]
    table = write_report([str(write_run("r", rows))], tmp_path / "r.html")
    heads, line = (re.split(r"\s{2,}", line) for line in table.splitlines()[:2])
    cells = dict(zip(heads, line, strict=True))
    assert (cells["over seeds"], cells["pass@4"], cells["problems"]) == ("± 35.4 (2 seeds)", "100.0 %", "2 × 4")
    html = (tmp_path / "r.html").read_text("utf-8")
    assert "sums · p1 · seed 2 of 2 · sample 1<" in html
    assert "With 2 problems and 8 samples, no difference from another run can be shown" in html


def test_csv_has_a_line_for_each_condition_and_each_value(runs, tmp_path):
    write_report([f"b={runs[0]}", str(runs[1])], tmp_path / "r.html", by="level")
    lines = list(csv.DictReader((tmp_path / "r.csv").read_text("utf-8").splitlines()))
    assert [(line["condition"], line["field"], line["value"]) for line in lines[:4]] == [
        ("b", "", ""), ("sft@0.2", "", ""), ("sft@policy", "", ""), ("b", "level", "1")
    ]  # fmt: skip
    assert lines[2]["verdict_incorrect"] == "1"
    assert float(lines[2]["act_ratio"]) == pytest.approx(0.4)
    assert lines[3]["act_ratio"] == ""


def test_a_value_of_the_data_is_no_formula_in_the_csv(write_run, tmp_path):
    run = write_run("r", [{"id": "a", "level": "=HYPERLINK(1)"}, {"id": "b", "level": -1}])
    write_report([str(run)], tmp_path / "r.html", by="level")
    lines = list(csv.DictReader((tmp_path / "r.csv").read_text("utf-8").splitlines()))
    assert [line["value"] for line in lines] == ["", "'-1", "'=HYPERLINK(1)"]


def test_results_files_have_the_shape_of_lm_evaluation_harness(runs, tmp_path):
    """The keys of `EvalResults` and the pairing rule of `make_table`, lm_eval 0.4.13."""
    write_report([str(run) for run in runs], tmp_path / "r.html")
    files = sorted((tmp_path / "r.lm-eval").glob("*/results_*.json"))
    assert [file.parent.name for file in files] == ["base", "sft@0.2", "sft@policy"]
    found = json.loads(files[2].read_text("utf-8"))
    assert found["n-samples"] == {"sums": {"original": 40, "effective": 40}}
    for part in ("configs", "versions", "n-shot", "higher_is_better"):
        assert set(found[part]) == {"sums"}
    scores = {name: value for name, value in found["results"]["sums"].items() if name not in ("alias", "sample_len")}
    assert scores["acc,none"] == pytest.approx(39 / 40)
    assert scores["acc_stderr,none"] == pytest.approx((39 / 40 * 1 / 40 / 39) ** 0.5)
    assert all(name.endswith(",none") and isinstance(value, float) for name, value in scores.items())
    assert found["higher_is_better"]["sums"]["acc"] is True


def _lengths(lengths, **more):
    return [{"id": f"p{n}", "completion_tokens": length, **more} for n, length in enumerate(lengths)]


def test_the_page_draws_accuracy_at_a_budget_and_the_tables_contain_the_measures(write_run, tmp_path):
    base = write_run("base", _lengths([300, 500, 900, 1700]))
    short = write_run("short", _lengths([150, 250, 450, 850], ratio=0.2))
    printed = write_report([str(base), str(short)], tmp_path / "r.html")
    second = printed.split("\n\n")[1].splitlines()
    heads, line = (re.split(r"\s{2,}", line) for line in (second[0], second[2]))
    cells = dict(zip(heads, line, strict=True))
    assert (cells["tokens per correct"], cells["AES"], cells["after answer"]) == ("425.0", "+0.50", "–")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert page.count('<polyline class="line"') == page.count('<polygon class="band') == 2 * 2
    assert "base: 100.0% within 2,048 tokens" in page
    (row,) = [row for row in csv.DictReader((tmp_path / "r.csv").read_text("utf-8").splitlines()) if row["ratio"]]
    assert (row["accuracy_at_256"], row["accuracy_at_512"], row["aes"]) == ("0.5", "0.75", "0.5")


def test_a_line_ends_at_the_limit_of_a_run_that_it_cut_and_only_there(write_run, tmp_path):
    """The limit of these runs is 64 tokens."""
    cut = write_run("cut", [*_lengths([10, 20, 40]), {"id": "p3", "completion_tokens": 64, "finish_reason": "length"}])
    free = write_run("free", _lengths([10, 20, 40, 200]))
    write_report([str(cut), str(free)], tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "cut: 100.0% within 64 tokens" in page
    assert "free: 100.0% within 256 tokens" in page
    assert "A line ends at the token limit" in page


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=9), st.booleans())
def test_lines_and_bands_stay_inside_the_chart(accuracies, banded):
    points = [(2.0**power, *sorted(some)) for power, some in enumerate(accuracies)]
    line = Curve("<a>", 9, [(budget, middle, low, high) for budget, low, middle, high in points], banded, dash=1)
    drawn = curves([line], width=380, height=340)
    for corners in re.findall(r'points="([^"]*)"', drawn):
        for corner in corners.split():
            x, y = map(float, corner.split(","))
            assert 54 <= x <= 364
            assert 34 <= round(y, 1) <= 294
    assert "<a>" not in drawn + legend([line])


def test_own_ratios_fall_into_bins_of_a_twentieth():
    assert shares([0.0, 0.04, 0.15, 1.0, 2.0, 9.0])[:4] == [2 / 6, 0, 0, 1 / 6]
    assert shares([0.0, 0.04, 0.15, 1.0, 2.0, 9.0])[20] == 1 / 6
    assert shares([0.0, 0.04, 0.15, 1.0, 2.0, 9.0])[40] == 2 / 6


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


@pytest.mark.parametrize("name", ["results", "manifest"])
def test_no_output_replaces_a_file_of_a_run_that_is_read(runs, name):
    base, sft = (str(run) for run in runs)
    before = {path: path.read_bytes() for run in runs for path in run.iterdir()}
    target, samples = runs[1] / f"{name}.json", runs[1] / "samples_sums.jsonl"
    for command, written in (
        (["report", base, sft, "--output", str(target.with_suffix(".html"))], target),
        (["compare", base, f"{sft}:0.2", "--output", str(target)], target),
        (["export", "traces", sft, str(samples), "--ratio", "0.2"], samples),
    ):
        refused = CliRunner().invoke(cli, command)
        assert (refused.exit_code, f"{written}: would replace" in refused.stderr) == (2, True)
    assert {path: path.read_bytes() for run in runs for path in run.iterdir()} == before
    write_report([base, sft], runs[1] / "report.html")
    assert (runs[1] / "report.json").exists()


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
