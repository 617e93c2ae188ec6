import json

import pytest

from math_eval.errors import DataError
from math_eval.tasks import load_task


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


def test_an_unknown_task_and_a_missing_data_dir_say_what_to_do(tmp_path):
    with pytest.raises(DataError, match="neither a task"):
        load_task("gsm9k")
    with pytest.raises(DataError, match="--data-dir"):
        load_task("gsm8k")
    with pytest.raises(DataError, match="no such file"):
        load_task("gsm8k", data_dir=tmp_path)
