import re

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


def test_a_series_that_some_steps_lack_or_that_is_not_finite_is_drawn_where_it_is(tmp_path):
    write_plot(
        tmp_path / "page.html",
        [{"step": 1, "policy/entropy": float("nan")}, {"step": 2}, {"step": 3, "policy/entropy": 1.5}],
    )
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 1
    assert "nan" not in page.split("<h2>")[0]
