import json

import pytest
from click.testing import CliRunner

from chrpo.cli import cli
from chrpo.core.bandit import GOLDEN

GOOD = {
    "weights": GOLDEN.weights.tolist(),
    "ratios": GOLDEN.ratios.tolist(),
    "accuracy": GOLDEN.accuracy.tolist(),
    "floor": GOLDEN.floor,
}


def simulate(path, data, *flags):
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return CliRunner().invoke(cli, ["simulate", str(path), *map(str, flags)])


def test_json_is_one_object_with_the_optimum_beside_the_result(tmp_path):
    result = simulate(tmp_path / "b.json", GOOD, "--steps", 4000, "--price-min", 0, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found.keys() == {"accuracy", "savings", "lambda", "policy", "infeasible", "optimum"}
    assert found["optimum"] == pytest.approx({"savings": 0.37733, "lambda": 0.6}, abs=5e-5)
    assert found["accuracy"] == pytest.approx(0.8767, abs=0.002)
    assert found["savings"] == pytest.approx(0.37733, abs=0.002)
    assert found["infeasible"] is False
    assert [sum(row) for row in found["policy"]] == pytest.approx([1, 1, 1])


def test_samples_depend_on_the_seed_alone(tmp_path):
    flags = ["--steps", 200, "--gradient", "sampled", "--json"]
    first, again, other = (simulate(tmp_path / "b.json", GOOD, *flags, "--seed", seed).stdout for seed in (1, 1, 2))
    assert first == again != other


def test_without_constraint_the_price_stays_at_zero(tmp_path):
    found = json.loads(simulate(tmp_path / "b.json", GOOD, "--steps", 1500, "--no-constraint", "--json").stdout)
    assert (found["lambda"], found["infeasible"]) == (0, False)
    assert found["accuracy"] <= 0.72


def test_a_smallest_price_above_the_optimum_keeps_more_accuracy_than_the_floor(tmp_path):
    """At price 1 the third context gets its best ratio: .8 (1 + 0) against .6 (1 + .2); so .95 + .90 + .80, a third."""
    found = json.loads(simulate(tmp_path / "b.json", GOOD, "--steps", 4000, "--json").stdout)
    assert found["lambda"] == 1
    assert found["accuracy"] == pytest.approx((0.95 + 0.90 + 0.80) / 3, abs=0.002)


def test_scaled_advantages_move_a_flat_policy_sooner(tmp_path):
    """Two ratios whose rewards differ by .01: scaled, a step moves each logit by the step size itself."""
    flat = {"weights": [1], "ratios": [0.98, 1.0], "accuracy": [[0.5, 0.5]], "floor": 0.1}
    flags = ["--steps", 30, "--price-min", 0, "--json"]
    plain, scaled = (
        json.loads(simulate(tmp_path / "b.json", flat, *flags, *more).stdout)["policy"][0][0]
        for more in ([], ["--scaled"])
    )
    assert plain < 0.51
    # The mean over the last three steps, after 27 to 29 of them: logits differ by .2 n.
    assert scaled == pytest.approx(sum(1 / (1 + 2.718281828 ** (-0.2 * n)) for n in (27, 28, 29)) / 3, abs=1e-6)


def test_an_infeasible_floor_is_said(tmp_path):
    path, high = tmp_path / "b.json", {**GOOD, "floor": 0.95}
    found = json.loads(simulate(path, high, "--steps", 100, "--json").stdout)
    assert (found["infeasible"], found["optimum"]) == (True, {"savings": None, "lambda": None})
    assert "INFEASIBLE" in simulate(path, high, "--steps", 100).stdout


def test_gains_change_the_run(tmp_path):
    flags = ["--steps", 60, "--json"]
    plain = simulate(tmp_path / "b.json", GOOD, *flags).stdout
    assert plain != simulate(tmp_path / "b.json", GOOD, *flags, "--proportional", 5).stdout


def test_the_plot_shows_the_targets_and_loads_nothing(tmp_path):
    result = simulate(tmp_path / "b.json", GOOD, "--steps", 50, "--plot", tmp_path / "b.html")
    assert result.exit_code == 0
    assert "accuracy" in result.stdout
    page = (tmp_path / "b.html").read_text()
    assert page.count("<svg") == 3
    assert page.count("stroke-dasharray") == 3
    assert "context 3, ratio 0.8" in page
    assert page.count("step 50<") == 3, "the last step is drawn"
    assert "http" not in page


def test_a_page_never_takes_the_place_of_another_file(tmp_path):
    (tmp_path / "b.html").mkdir()
    wrong = {"b.json": "the page is HTML; choose a name that ends in .html", "b.html": "is a folder; name a file"}
    for name, words in wrong.items():
        result = simulate(tmp_path / "b.json", GOOD, "--steps", 5, "--plot", tmp_path / name)
        assert (result.exit_code, result.stderr) == (2, f"error: {tmp_path / name}: {words}\n")
        assert json.loads((tmp_path / "b.json").read_text("utf-8")) == GOOD
    result = simulate(tmp_path / "bandit.html", GOOD, "--steps", 5, "--plot", tmp_path / "bandit.html")
    assert (result.exit_code, "would replace" in result.stderr) == (2, True)


def test_a_folder_in_place_of_the_bandit_is_named(tmp_path):
    result = CliRunner().invoke(cli, ["simulate", str(tmp_path)])
    assert (result.exit_code, result.stderr) == (2, f"error: {tmp_path}: is a folder; name a file\n")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{", "not JSON"),
        ([], "exactly the fields"),
        ({**GOOD, "more": 1}, "exactly the fields"),
        ({**GOOD, "weights": "x"}, "weights must be a list of numbers"),
        ({**GOOD, "accuracy": [[0.1], [0.1, 0.2]]}, "accuracy must be a list of equally long"),
        ({**GOOD, "accuracy": [0.1, 0.2]}, "accuracy must be a list of equally long"),
        ({**GOOD, "floor": None}, "floor must be a number"),
        ({**GOOD, "floor": True}, "floor must be a number"),
        ({**GOOD, "weights": ["0.3", 0.3, 0.4]}, "weights must be a list of numbers"),
        (json.dumps({**GOOD, "floor": 0}).replace('"floor": 0', '"floor": 1e999'), "floor: the number is too large"),
        ({**GOOD, "floor": 87.67}, "must be in [0, 1]"),
        ({**GOOD, "ratios": [20, 40, 60, 80, 100]}, "ratios must rise within (0, 1]"),
    ],
)
def test_a_bad_bandit_ends_in_one_line_and_exit_2(tmp_path, data, words):
    result = simulate(tmp_path / "b.json", data)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_missing_bandit_and_bad_steps_are_named(tmp_path):
    missing = CliRunner().invoke(cli, ["simulate", str(tmp_path / "none.json")])
    assert (missing.exit_code, "none.json: no such file; check the path" in missing.stderr) == (2, True)
    (tmp_path / "half.json").write_text('{\n  "weights": [1,\n')
    half = CliRunner().invoke(cli, ["simulate", str(tmp_path / "half.json")])
    assert half.exit_code == 2
    assert "half.json: not JSON (Expecting value at line 2, column 17); is it incomplete?\n" in half.stderr
    for flags in (["--steps", 0], ["--step-size", "nan"], ["--proportional", "nan"], ["--seed", -1]):
        result = simulate(tmp_path / "b.json", GOOD, "--steps", 5, *flags, "--json")
        assert (result.exit_code, result.stdout) == (2, ""), flags
