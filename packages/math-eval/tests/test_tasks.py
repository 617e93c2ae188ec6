import gzip
import json
import os
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from math_eval import RunSettings, grade, run
from math_eval._shared.records import validate
from math_eval.cli import cli
from math_eval.errors import DataError
from math_eval.tasks import gold, load_task
from math_eval.tasks.datasets import BENCHMARKS

DATA = Path(os.environ.get("DATA") or Path(__file__).parents[3] / "data")


def _write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_gold_quirks_of_the_published_files(tmp_path):
    _write(tmp_path / "gsm8k_test.jsonl", {"question": "Q", "answer": "2 * 600 = <<2*600=1200>>1200\n#### 1,200"})
    _write(
        tmp_path / "math500_test.jsonl",
        {"problem": "P", "solution": "S", "answer": r"\frac{1}{2}", "type": "Algebra", "level": 2, "unique_id": "t/1"},
    )
    _write(tmp_path / "amc23.jsonl", {"id": 0, "problem": "P", "question": "P", "answer": 27.0, "url": "u"})
    _write(tmp_path / "aime24.jsonl", {"id": 60, "problem": "P", "solution": "S", "answer": "025", "url": "u"})
    gsm8k, math500, amc23, aime24 = (
        load_task(name, data_dir=tmp_path).problems[0] for name in ("gsm8k", "math500", "amc23", "aime24")
    )
    assert (gsm8k["id"], gsm8k["answer"], gsm8k["solution"][:7]) == ("gsm8k/0", "1,200", "2 * 600")
    assert math500 == {
        "id": "t/1", "question": "P", "answer": r"\frac{1}{2}", "solution": "S", "type": "Algebra", "level": 2
    }  # fmt: skip
    assert amc23 == {"id": "amc23/0", "question": "P", "answer": "27", "url": "u"}
    assert (aime24["id"], aime24["answer"]) == ("aime24/60", "025")


def test_gold_quirks_of_the_larger_benchmarks(tmp_path):
    _write(
        tmp_path / "math_test.jsonl", {"problem": "P", "solution": r"$\boxed{2}$ is $\boxed{\frac{4}{2}}$", "level": 1}
    )
    _write(
        tmp_path / "minerva_math.jsonl",
        {"problem": "P", "solution": r"$\boxed{4.5e33} \mathrm{~erg}$", "type": "Astronomy", "idx": 0},
        {"question": "P", "answer": "np.arcsin(10/13)"},
    )
    _write(
        tmp_path / "olympiadbench.jsonl",
        {"id": 7, "question": "P", "final_answer": ["$69$,$84$"], "unit": None, "is_multiple_answer": True},
        {"id": 8, "question": "P", "final_answer": ["2", r"\$3"], "unit": "km", "image_1": None},
    )
    common = {"Type": "Division", "Equation": "( 290.0 / 2.0 )"}
    _write(
        tmp_path / "svamp_test.jsonl",
        {
            "ID": "chal-1",
            "Body": "He has 290 bananas in 2 groups",
            "Question": "How big is one?",
            "Answer": 145.0,
            **common,
        },
        {"ID": "chal-2", "Body": "He runs.", "Question": "How far?", "Answer": "0.5", **common},
    )
    _write(tmp_path / "aime25.jsonl", {"problem": "P", "answer": "070", "id": "0"})

    def answers(name):
        return [problem["answer"] for problem in load_task(name, data_dir=tmp_path).problems]

    assert answers("math") == [r"\frac{4}{2}"]
    assert answers("minerva_math") == [r"4.5 \times 10^{33}", r"\arcsin(10/13)"]
    assert answers("olympiadbench") == ["69,84", r"2, \$3"]
    assert answers("svamp") == ["145", "0.5"]
    assert answers("aime25") == ["070"]
    questions = [problem["question"] for problem in load_task("svamp", data_dir=tmp_path).problems]
    assert questions == ["He has 290 bananas in 2 groups. How big is one?", "He runs. How far?"]
    kept = load_task("olympiadbench", data_dir=tmp_path).problems
    assert kept[1] == {"id": "olympiadbench/8", "question": "P", "answer": r"2, \$3", "unit": "km"}


def test_contests_of_2025_and_2026_name_their_problems_by_problem_idx(tmp_path):
    for name in ("aime26", "hmmt_feb25", "hmmt_feb26", "brumo25"):
        row = {"problem_idx": 3, "problem": "P", "answer": 7 if name == "aime26" else r"\frac{1}{576}"}
        _write(tmp_path / f"{name}.jsonl", {**row, "problem_type": ["Algebra", " Geometry"]})
        (problem,) = load_task(name, data_dir=tmp_path).problems
        assert (problem["id"], problem["question"]) == (f"{name}/3", "P")
        assert problem["answer"] == ("7" if name == "aime26" else r"\frac{1}{576}")
        assert problem["problem_type"] == ["Algebra", " Geometry"]


def test_amc22_is_the_part_of_its_file_with_problems_of_2022(tmp_path):
    url = "https://artofproblemsolving.com/wiki/index.php/{}_AMC_12A_Problems/Problem_1"
    rows = [{"id": index, "problem": "P", "answer": 142.0, "url": url.format(2022 + index % 2)} for index in range(4)]
    file = _write(tmp_path / "aimo_validation_amc.jsonl", *rows)
    task = load_task("amc22", data_dir=tmp_path)
    assert [(problem["id"], problem["answer"]) for problem in task.problems] == [("amc22/0", "142"), ("amc22/2", "142")]
    assert task.source == {"file": "aimo_validation_amc.jsonl", "part": {"url": "/2022_AMC"}}
    _write(file, rows[1])
    with pytest.raises(DataError, match=r"no row of amc22; aimo_validation_amc\.jsonl has those of AI-MO"):
        load_task("amc22", data_dir=tmp_path)


def test_omni_math_is_a_file_of_github_which_the_user_fetches(tmp_path):
    row = {"domain": ["Algebra"], "difficulty": 8.0, "problem": "P", "solution": "S", "answer": "115440", "source": "s"}
    _write(tmp_path / "omni_math_rule.jsonl", row)
    (problem,) = load_task("omni_math", data_dir=tmp_path).problems
    assert (problem["id"], problem["answer"], problem["difficulty"]) == ("omni_math/0", "115440", 8.0)
    with pytest.raises(DataError, match=r"omni_math: is not on the hub; put omni_math_rule\.jsonl of github\.com"):
        load_task("omni_math")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (27.0, "27"),
        (-3.0, "-3"),
        (0.1, "0.1"),
        (1e-05, r"1 \times 10^{-5}"),
        (7, "7"),
        (" 025 ", "025"),
        ([1.0, "x"], "1, x"),
    ],
)
def test_an_answer_becomes_text_without_changing_its_value(value, text):
    assert gold.as_text(value) == text


@pytest.mark.parametrize("value", [None, True, {"a": 1}, [None]])
def test_an_answer_that_is_no_text_or_number_is_refused(value):
    with pytest.raises(DataError, match="expected text, a number or a list"):
        gold.as_text(value)


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"$\boxed{-3}$ or $\boxed{2 - b}$.", "2 - b"),
        (r"so $x = \boxed 5$.", "5"),
        (r"\fbox{(\frac{1}{2}, 3)}", r"(\frac{1}{2}, 3)"),
        (r"\boxed{}", None),
        ("it is 5", None),
    ],
)
def test_the_last_box_of_a_solution_is_its_answer(solution, answer):
    assert gold.last_box(solution) == answer


@pytest.mark.skipif(not DATA.is_dir(), reason="the folder of the published data files is not here; set DATA")
def test_published_solutions_and_answers_agree():
    with gzip.open(DATA / "math_train_with_solutions.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    rows += [json.loads(line) for line in (DATA / "math500_test.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 4164
    assert [row["answer"] for row in rows if gold.last_box(row["solution"]) != row["answer"].strip()] == []
    for name in ("gsm8k", "math500", "amc23", "aime24"):
        assert len(load_task(name, data_dir=DATA).problems) == BENCHMARKS[name].size


def test_a_problems_file_keeps_its_fields_and_names_its_task(tmp_path):
    path = _write(tmp_path / "mine.jsonl", {"id": "a", "question": "Q", "answer": "1", "level": 3})
    task = load_task(str(path))
    assert task.name == "mine"
    assert task.problems == [{"id": "a", "question": "Q", "answer": "1", "level": 3}]


def test_the_content_hash_does_not_depend_on_the_file_name(tmp_path):
    row = {"id": "a", "question": "Q", "answer": "1"}
    one, two = _write(tmp_path / "one.jsonl", row), _write(tmp_path / "two.jsonl", dict(reversed(row.items())))
    assert load_task(str(one)).sha256 == load_task(str(two)).sha256


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "a", "question": "Q", "answer": 1}], r"p\.jsonl:1: answer: got 1"),
        ([{"id": "a", "question": "Q"}], r"p\.jsonl:1: answer: field 'answer' is missing"),
        ([{"id": "a", "question": "Q", "answer": "1"}] * 2, "two problems are called 'a'"),
        ([{"id": "a", "question": "Q", "answer": "1", "verdict": "x"}], "verdict: problem 'a' has a field"),
    ],
)
def test_bad_problems_are_named(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        load_task(str(_write(tmp_path / "p.jsonl", *rows)))


def test_an_unknown_task_and_a_missing_file_say_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"gsm9k: neither a task nor a file; tasks are gsm8k, .*reasoning-gym:NAME"):
        load_task("gsm9k")
    with pytest.raises(DataError, match=r"gsm8k_test\.jsonl: no such file; it has the rows of openai/gsm8k"):
        load_task("gsm8k", data_dir=tmp_path)
    _write(tmp_path / "svamp_test.jsonl", {"question": "Q", "answer": "1"})
    with pytest.raises(
        DataError, match=r"svamp_test.jsonl:1: not a row of svamp \('Body'\); its fields are question, answer"
    ):
        load_task("svamp", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("svamp", "datasets", "hub"), ("reasoning-gym:gcd", "reasoning_gym", "reasoning-gym")],
)
def test_a_package_that_is_not_installed_is_named_with_its_extra(monkeypatch, name, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=rf"{module} is not installed; run: pip install 'cot-math-eval\[{extra}\]'"):
        load_task(name)


def _task_file(folder, text, *rows):
    _write(folder / "rows.jsonl", *rows)
    (folder / "mine.toml").write_text(text, "utf-8")
    return str(folder / "mine.toml")


def test_a_task_file_maps_fields(tmp_path):
    text = """
        name = "physics"
        problems = "rows.jsonl"
        answer_after = "####"
        keep = ["level"]
        [fields]
        id = "uid"
        question = ["context", "ask"]
        answer = "worked"
    """
    row = {"uid": 3, "context": "It falls.", "ask": "How far?", "worked": "2*3\n#### 6", "level": 2, "model": "x"}
    task = load_task(_task_file(tmp_path, text, row))
    assert (task.name, task.source) == ("physics", {"file": "rows.jsonl"})
    assert task.problems == [{"id": "3", "question": "It falls. How far?", "answer": "6", "level": 2}]


def test_a_short_task_file_numbers_its_rows_and_keeps_the_other_fields(tmp_path):
    text = 'problems = "rows.jsonl"\nfields = {question = "problem", answer = "final"}'
    task = load_task(_task_file(tmp_path, text, {"id": "x", "problem": "P", "final": [1.0, 2.5], "level": 2}))
    assert task.problems == [{"id": "mine/0", "question": "P", "answer": "1, 2.5", "level": 2}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("problems = ", r"mine\.toml: not TOML"),
        ('problems = "rows.jsonl"', "field 'fields' is missing"),
        ('problems = "rows.jsonl"\nfield = 1\nfields = {question = "a", answer = "b"}', "'field' was unexpected"),
        ('fields = {question = "a", answer = "b"}', r"name either hub \(a dataset\) or problems"),
        ('hub = "a/b"\nproblems = "rows.jsonl"\nfields = {question = "a", answer = "b"}', "name either hub"),
        ('problems = "rows.jsonl"\nsplit = "test"\nfields = {question = "a", answer = "b"}', "split belongs to a hub"),
        ('problems = "none.jsonl"\nfields = {question = "a", answer = "b"}', r"none\.jsonl: no such file"),
        (
            'problems = "rows.jsonl"\nfields = {question = "c", answer = "b"}',
            r"rows\.jsonl:1: no field 'c'; .* are a, b",
        ),
        ('problems = "rows.jsonl"\nfields = {question = "a", answer = "a"}', r"rows\.jsonl:1: answer: got None"),
        ('problems = "rows.jsonl"\nanswer_after = "#"\nfields = {question = "b", answer = "b"}', 'answer: got ""'),
    ],
)
def test_a_bad_task_file_is_named(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        load_task(_task_file(tmp_path, text, {"a": None, "b": "1"}))


def test_a_task_file_without_measure_is_refused_before_it_is_read(tmp_path):
    task = tmp_path / "t.toml"
    task.write_text("a" + ".a" * 100_000 + " = 1")
    with pytest.raises(DataError, match=r"t\.toml: has 200005 bytes, more than 16384"):
        load_task(str(task))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"name = 0x{'f' * 8000}", "a number is too long to be shown"),
        ("\n".join(f"key{index} = 1" for index in range(1000)), "Additional properties"),
    ],
)
def test_a_complaint_about_a_task_file_is_short(tmp_path, text, message):
    task = _task_file(tmp_path, text + '\nproblems = "p.jsonl"\nfields = {question = "q", answer = "a"}', {"q": 1})
    with pytest.raises(DataError, match=message) as caught:
        load_task(task)
    assert len(str(caught.value)) < 600


def test_the_task_file_of_the_readme_is_valid():
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    block = next(part for part in readme.split("```toml\n")[1:] if part.startswith("# physics.toml")).partition("```")[
        0
    ]
    assert validate(tomllib.loads(block), "task", "README")["fields"]["answer"] == "solution"


def test_a_run_says_in_its_manifest_where_its_tasks_were_read(tmp_path, tiny_model):
    text = 'problems = "rows.jsonl"\nfields = {question = "ask", answer = "sum"}'
    task = _task_file(tmp_path, text, {"ask": "add 1 and 2", "sum": 3.0})
    run(RunSettings(str(tiny_model), (task,), max_tokens=40, instruction=""), tmp_path / "run")
    manifest = json.loads((tmp_path / "run/manifest.json").read_text("utf-8"))
    assert manifest["sources"] == {"mine": {"file": "rows.jsonl"}}
    assert manifest["settings"]["tasks"] == {"mine": load_task(task).sha256}
    row = json.loads((tmp_path / "run/samples_mine.jsonl").read_text("utf-8"))
    assert (row["id"], row["answer"], row["verdict"]) == ("mine/0", "3", "correct")


def test_a_question_that_is_no_text_is_named_before_a_model_reads_it(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"id": "p7", "question": "a \\ud800 b", "answer": "1"}\n', "utf-8")
    with pytest.raises(DataError, match=r"mine: question: problem 'p7' has half a surrogate pair \('\\ud800'\)"):
        load_task(str(tmp_path / "mine.jsonl"))


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed distribution with an entry point, whose function returns what the test wants."""

    def install(rows):
        about = tmp_path / "more_math-1.2.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: more-math\nVersion: 1.2\n")
        (about / "entry_points.txt").write_text("[math_eval.tasks]\nolympics = more_math_tasks:problems\n")
        (tmp_path / "more_math_tasks.py").write_text(f"def problems():\n    return {rows!r}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "more_math_tasks", raising=False)

    return install


def test_a_plugin_is_listed_and_loaded(plugin):
    plugin([{"id": "a", "question": "Q", "answer": "1"}])
    task = load_task("olympics")
    assert task.problems == [{"id": "a", "question": "Q", "answer": "1"}]
    assert task.source == {"plugin": "more_math_tasks:problems", "package": "more-math", "version": "1.2"}
    listed = CliRunner().invoke(cli, ["tasks"]).output
    assert all(f"{name} " in listed for name in (*BENCHMARKS, "champ", "reasoning-gym:gcd", "olympics"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "plug-in olympics .*returned no problems"),
        ([{"id": "a"}], "plug-in olympics .*row 1: question: field"),
        (
            [{"id": "a", "question": "Q", "answer": "1", "image": b"x"}],
            "olympics: problem 'a' has a field that JSON",
        ),
    ],
)
def test_a_bad_plugin_is_named(plugin, rows, message):
    plugin(rows)
    with pytest.raises(DataError, match=message):
        load_task("olympics")


def test_champ_offers_what_can_be_graded_and_counts_the_rest():
    pytest.importorskip("champ_dataset", reason="needs cot-math-eval[champ]")
    task = load_task("champ")
    assert (len(task.problems), task.source["left_out"]) == (214, 56)
    answers = {problem["id"].removeprefix("champ/P_"): problem["answer"] for problem in task.problems}
    assert answers["Combinatorics_2"] == "252"
    assert answers["Number-Theory_19"] == "0"
    assert answers["Number-Theory_3"] == "376, 625"
    assert answers["Sequence_41"] == r"(1+\sqrt{4a+1})/2"
    assert "Number-Theory_7" not in answers, "its answer is prose"
    written = {"Combinatorics_19": r"2^{n-2}n(n+1)", "Inequality_17": r"1-2^{-1/n}", "Number-Theory_28": "n"}
    for name, answer in written.items():
        assert grade(rf"\boxed{{{answer}}}", answers[name]).correct, name


@pytest.mark.parametrize("name", ["countdown", "simple_integration", "nothing"])
def test_a_generator_that_the_grader_cannot_judge_is_refused(name):
    with pytest.raises(DataError, match=rf"reasoning-gym:{name}: not offered.* choose one of aiw, "):
        load_task(f"reasoning-gym:{name}")


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "task.toml"])
def test_rows_behind_the_limit_are_not_read(tmp_path, name):
    row = json.dumps({"id": "{}", "question": "What is 1 + 1?", "answer": "2"})
    lines = [row.replace("{}", str(number)) for number in range(3)]
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress("\n".join([*lines, "not a row"]).encode()))
    fields = 'problems = "rows.jsonl.gz"\nfields = {id = "id", question = "question", answer = "answer"}'
    (tmp_path / "task.toml").write_text(fields)
    assert [problem["id"] for problem in load_task(str(tmp_path / name), limit=3).problems] == ["0", "1", "2"]
    with pytest.raises(DataError, match=r"rows\.jsonl\.gz:4: not JSON"):
        load_task(str(tmp_path / name), limit=4)
