"""The page of a folder of runs: its front, its table, what strangers write in it, and its size."""

import csv
import json
import re
import shutil

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from math_eval.cli import cli
from math_eval.errors import DataError
from math_eval.report import write_leaderboard
from math_eval.report.frame import Box, Frame
from math_eval.report.front import pareto_front

_ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def _rows(count, correct, tokens, **more):
    return [
        {"id": f"p{n}", "verdict": "correct" if n < correct else "incorrect", "completion_tokens": tokens, **more}
        for n in range(count)
    ]


@pytest.fixture
def folder(write_run, tmp_path):
    """Four runs: `long` and `short` are on the front, `worse` is beaten by both; one is unfinished."""
    runs = tmp_path / "runs"
    runs.mkdir()
    for name, correct, tokens in (("long", 9, 800), ("short", 6, 100), ("worse", 5, 200)):
        shutil.move(write_run(name, _rows(10, correct, tokens)), runs / name)
    shutil.copytree(runs / "long", runs / "unfinished")
    (runs / "unfinished" / "results.json").unlink()
    (runs / "notes").mkdir()
    (runs / "checkpoint").mkdir()
    (runs / "checkpoint" / "manifest.json").write_text('{"command": "ratio-sft train", "settings": {}}', "utf-8")
    return runs


def _sortable(page):
    """Rows of the tables as lists of (text, data-value)."""
    cells = re.compile(r'<t[hd](?: scope=row| data-value="([^"]*)")?>(.*?)</t[hd]>')
    for row in re.findall(r"<tr>(.*?)</tr>", page):
        yield [(text, value) for value, text in cells.findall(row)]


def test_the_folder_becomes_a_page_with_a_front_and_a_table(folder, tmp_path):
    out = tmp_path / "board.html"
    done = CliRunner().invoke(cli, ["report", str(folder), "--output", str(out)])
    assert done.exit_code == 0, done.stderr
    page = out.read_text("utf-8")
    rows = list(_sortable(page))[1:]
    assert [(row[0][0], row[1][0], row[2][1]) for row in rows] == [
        ("long", "●", "0.9"), ("short", "●", "0.6"), ("worse", "", "0.5")
    ]  # fmt: skip
    assert "left out because they are not finished: unfinished" in page
    assert done.stdout.splitlines()[-2:] == [
        "left out because they are not finished: unfinished",
        "left out because they are no run folders: checkpoint",
    ]
    assert re.search(r"^short +\* +60\.0 % +100\.0 +10\.0 +166\.7 ", done.stdout, re.MULTILINE)
    numbers = list(csv.DictReader(out.with_suffix(".csv").read_text("utf-8").splitlines()))
    assert [(row["task"], row["condition"], row["front"]) for row in numbers] == [
        ("sums", "long", "1"), ("sums", "short", "1"), ("sums", "worse", "0")
    ]  # fmt: skip
    assert float(numbers[1]["tokens_per_correct"]) == pytest.approx(1000 / 6)


def test_runs_on_other_problems_of_the_same_name_are_not_ranked_together(folder, tmp_path):
    manifest = folder / "short" / "manifest.json"
    content = json.loads(manifest.read_text("utf-8"))
    content["settings"]["tasks"]["sums"] = "abcdef0123456789"
    manifest.write_text(json.dumps(content), "utf-8")
    text = write_leaderboard(folder, tmp_path / "board.html")
    assert re.findall(r"^(sums, problems .*):$", text, re.MULTILINE) == [
        "sums, problems 0",
        "sums, problems abcdef012345",
    ]
    assert (tmp_path / "board.html").read_text("utf-8").count("<svg") == 4, "two drawings for each, one for phones"


def test_the_policy_of_the_page_lets_only_its_own_script_run(folder, tmp_path):
    (folder / "long").rename(folder / "x<b id=stranger>")
    write_leaderboard(folder, tmp_path / "board.html", title=_ATTACK, notes=[_ATTACK])
    page = (tmp_path / "board.html").read_text("utf-8")
    assert len(re.findall("<script", page)) == 1
    assert not re.search(r"<img|<b |(?:src|href)\s*=|url\(|@import", page.replace("src=x onerror", ""))
    assert "x&lt;b id=stranger&gt;" in page
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert re.fullmatch(
        r"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[\w+/]{43}='; form-action 'none'", policy
    )


def test_a_value_that_no_schema_checks_is_a_number_or_nothing(folder, tmp_path):
    path = folder / "long" / "results.json"
    content = json.loads(path.read_text("utf-8"))
    content["conditions"][0]["samples"] = f'"><b>{_ATTACK}'
    path.write_text(json.dumps(content), "utf-8")
    write_leaderboard(folder, tmp_path / "board.html")
    assert _ATTACK not in (tmp_path / "board.html").read_text("utf-8") + (tmp_path / "board.csv").read_text("utf-8")


def _conditions(folder, *changes):
    """Give the run `long` one condition for each change."""
    path = folder / "long" / "results.json"
    (condition,) = json.loads(path.read_text("utf-8"))["conditions"]
    path.write_text(json.dumps({"conditions": [condition | change for change in changes]}), "utf-8")


def test_of_a_long_front_forty_names_are_drawn_and_all_are_in_the_table(folder, tmp_path):
    _conditions(folder, *({"accuracy": n / 300, "completion_tokens": 1000.0 + n} for n in range(300)))
    for other in ("short", "worse"):
        shutil.rmtree(folder / other)
    write_leaderboard(folder, tmp_path / "board.html")
    page = (tmp_path / "board.html").read_text("utf-8")
    assert (page.count('<text class="label'), page.count("<tr>")) == (80, 301), "two drawings, one for phones"
    assert "40 of 300 names are shown; the table has all." in page


@pytest.mark.parametrize("count", [0, 1001])
def test_results_without_a_condition_or_with_too_many_are_refused(count, folder, tmp_path):
    _conditions(folder, *[{}] * count)
    with pytest.raises(DataError, match=r"conditions: got .*; expected a value: .* 1 to 1,000"):
        write_leaderboard(folder, tmp_path / "board.html")


def test_names_of_measures_are_no_formulas_and_replace_no_column(folder, tmp_path):
    _conditions(folder, {"=1+1": 5, "x\x1b=1": 6, "front": 7, "condition": 8})
    write_leaderboard(folder, tmp_path / "board.html")
    heads, first, *_ = csv.reader((tmp_path / "board.csv").read_text("utf-8").splitlines())
    row = dict(zip(heads, first, strict=True))
    assert (row["'=1+1"], row["x\ufffd=1"], row["front"], row["condition"]) == ("5", "6", "1", "long")
    assert heads[:4] == ["task", "problems_sha256", "condition", "front"]


def test_results_with_a_thousand_measures_are_refused(folder, tmp_path):
    _conditions(folder, {f"x{n}": n for n in range(1000)})
    with pytest.raises(DataError, match="different measures, and a table has at most 1,000; remove the runs"):
        write_leaderboard(folder, tmp_path / "board.html")


def test_folders_of_other_programs_and_strange_names_are_left_out_by_name(folder, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text('{"command": "math-eval run", "settings": {"password": 1}}', "utf-8")
    for name, content in (("array", "[1]"), ("text", "no json"), ("line\nbreak\x1b", "{}")):
        (folder / name).mkdir()
        (folder / name / "manifest.json").write_text(content, "utf-8")
    (folder / "link").mkdir()
    (folder / "link" / "manifest.json").symlink_to(secret)
    (folder / "unfinished").rename(folder / "un\nfinished")
    done = CliRunner().invoke(cli, ["report", str(folder), "--output", str(tmp_path / "board.html")])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == [
        r"left out because they are not finished: un\nfinished",
        r"left out because they are no run folders: array, checkpoint, line\nbreak\x1b, link, text",
    ]


def test_two_hundred_runs_fit_in_a_page_of_five_megabytes(folder, tmp_path):
    content = json.loads((folder / "long" / "results.json").read_text("utf-8"))
    for number in range(200):
        run = folder / f"run-with-a-rather-long-name-{number:03}"
        shutil.copytree(folder / "long", run)
        (condition,) = content["conditions"]
        condition |= {"accuracy": (number * 37 % 200) / 200, "completion_tokens": 200.0 + number * 91 % 7000}
        (run / "results.json").write_text(json.dumps(content), "utf-8")
    write_leaderboard(folder, tmp_path / "board.html")
    page = (tmp_path / "board.html").read_text("utf-8")
    assert page.count("<tr>") == 204
    assert len(page.encode()) < 5_000_000


def test_a_folder_without_a_finished_run_and_options_of_single_runs_are_refused(folder, tmp_path):
    refused = CliRunner().invoke(cli, ["report", str(folder), "--by", "level", "--output", str(tmp_path / "b.html")])
    assert (refused.exit_code, "--baseline and --by are for single runs" in refused.stderr) == (2, True)
    for run in folder.iterdir():
        (run / "results.json").unlink(missing_ok=True)
    refused = CliRunner().invoke(cli, ["report", str(folder), "--output", str(tmp_path / "b.html")])
    assert (refused.exit_code, "no finished run in it" in refused.stderr) == (2, True)
    assert not (tmp_path / "b.html").exists()


_points = st.lists(
    st.tuples(st.integers(0, 6).map(float), st.integers(0, 6).map(lambda n: n / 6)), min_size=1, max_size=20
)


@given(_points)
def test_the_front_has_exactly_the_points_that_no_other_beats(points):
    def beaten(point):
        return any(
            other[0] <= point[0] and other[1] >= point[1] and other != point  # at least as good, and not the same
            for other in points
        )

    front = pareto_front(points)
    assert sorted(front) == [place for place, point in enumerate(points) if not beaten(point)]
    assert [points[place][0] for place in front] == sorted(points[place][0] for place in front)


def test_a_frame_places_by_value_or_by_logarithm():
    area = Box(10, 0, 110, 50)
    assert Frame((0, 4), (0, 1), area).place(1, 0.5) == (35, 25)
    assert Frame((1, 16), (0, 1), area, log=True).place(4, 1) == (60, 0)
    assert Frame((256, 2**15), (0, 1), area, log=True).powers(900) == [2**power for power in range(8, 16)]
    assert Frame((256, 2**15), (0, 1), area, log=True).powers(380) == [256, 1024, 4096, 16384]
