import re

import pytest
from click.testing import CliRunner

from chrpo.cli import cli
from chrpo.plot import write_plot


def test_every_group_is_named_inside_its_chart(tmp_path):
    groups = ["policy", *(f"fixed@{ratio}" for ratio in ("0.2", "0.4", "0.6", "0.8", "1"))]
    lines = [
        {"step": step, **{f"floor/{group}": 0.8 for group in groups}, **{f"lambda/{group}": step for group in groups}}
        for step in (1, 2)
    ]
    write_plot(tmp_path / "page.html", lines)
    [chart] = [svg for svg in (tmp_path / "page.html").read_text().split("<svg")[1:] if "Price of" in svg]
    width = int(re.search(r'width="(\d+)"', chart).group(1))
    labels = re.findall(r'<text x="(\d+)" y="(\d+)" fill="#\w+">([\w@.]+)</text>', chart)
    assert {label for *_, label in labels} == set(groups)
    assert all(int(x) + 7 * len(label) <= width for x, _, label in labels)
    assert len({(x, y) for x, y, _ in labels}) == len(groups)
    assert min(float(y) for y in re.findall(r",([\d.]+)", chart)) > max(int(y) for _, y, _ in labels)


def test_accuracy_stands_beside_the_floors_of_what_the_model_chose(tmp_path):
    line = {"step": 1, "accuracy": 0.4, "policy/accuracy": 0.9, "floor/policy/0": 0.85, "floor/fixed@0.2/0": 0.3}
    write_plot(tmp_path / "page.html", [line, {**line, "step": 2, "policy/accuracy": 0.95}])
    chart = (tmp_path / "page.html").read_text().split("</svg>")[0]
    assert ">Accuracy<" in chart
    assert ">floor policy/0<" in chart
    assert "fixed" not in chart
    assert re.findall(r'text-anchor="end" fill="#666">([\d.]+)<', chart) == ["0.85", "0.9", "0.95"]


def test_ticks_and_lines_can_be_told_apart(tmp_path):
    ratios = [0.1, 0.16, 0.2, 0.4, 0.6, 0.8, 1]
    lines = [
        {
            "step": step,
            "policy/entropy": 1.35 + step / 1000,
            **{f"ratio/{ratio}/thinking_tokens": 9 for ratio in ratios},
        }
        for step in (1, 2)
    ]
    write_plot(tmp_path / "page.html", lines)
    entropy, thinking = (tmp_path / "page.html").read_text().split("<svg")[1:]
    assert len(set(re.findall(r'text-anchor="end" fill="#666">([\d.]+)<', entropy))) == 3
    assert len(set(re.findall(r'stroke="(#\w+)" stroke-width', thinking))) == len(ratios) + 1


def test_a_series_that_some_steps_lack_or_that_is_not_finite_is_drawn_where_it_is(tmp_path):
    write_plot(
        tmp_path / "page.html",
        [{"step": 1, "policy/entropy": float("nan")}, {"step": 2}, {"step": 3, "policy/entropy": 1.5}],
    )
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 1
    assert "nan" not in page.split("<h2>")[0]


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 1, "policy/share/x": 1, "ratio/<script>\\u001b\\udc9b/accuracy": 1}',
        '{"step": 1e9, "policy/entropy": -1e100}',
    ],
)
def test_metrics_of_a_stranger_are_drawn_as_text(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(f'{line}\n{{"step": 2, "policy/entropy": 1e100, "loss": 1e999}}\n')
    result = CliRunner().invoke(cli, ["plot", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert not re.search("<script|[\x00-\x08\x0b-\x1f]", (tmp_path / "training.html").read_text("utf-8"))


@pytest.mark.parametrize(
    "line", ["[]", "5", "{}", '{"step": 1e90}', "[" * 200_000, '{"step": 1, "loss": 1' + "0" * 400 + "}", '"\xff"']
)
def test_metrics_that_are_none_are_one_line_that_names_them(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(f"{line}\n", "latin-1")
    result = CliRunner().invoke(cli, ["plot", str(tmp_path)])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert f"{tmp_path}/metrics.jsonl:1: not the metrics of a step" in result.stderr


@pytest.mark.parametrize("option", ["--output", "--out"])
def test_the_page_may_be_named_by_either_spelling(tmp_path, option):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "policy/entropy": 1.5}\n')
    result = CliRunner().invoke(cli, ["plot", str(tmp_path), option, str(tmp_path / "page.html")])
    assert (result.exit_code, result.stderr) == (0, f"{tmp_path / 'page.html'}: written\n")


def test_a_series_of_lines_with_other_names_is_found_in_one_pass(tmp_path):
    class Line(dict):
        looked_at = 0

        def items(self):
            Line.looked_at += len(self)
            return super().items()

        def get(self, *_):
            raise AssertionError("each name is looked up in each line")

    lines = [Line({"step": step, f"policy/share/{step}": 0.5}) for step in range(1, 501)]
    lines += [Line({"step": 501, "policy/share/3": 0.25})]
    write_plot(tmp_path / "page.html", lines)
    assert Line.looked_at == 2 * len(lines) + 2  # the table shows the last line
    assert (tmp_path / "page.html").read_text().count("<polyline") == 500


def test_more_names_than_a_run_has_are_one_line(tmp_path):
    names = ", ".join(f'"policy/share/{number}": 1' for number in range(2001))
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1, {names}}}\n')
    result = CliRunner().invoke(cli, ["plot", str(tmp_path)])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert "2,002 names" in result.stderr
    assert not (tmp_path / "training.html").exists()
