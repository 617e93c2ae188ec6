import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ratio_sft.cli import cli
from ratio_sft.data.decontaminate import NGRAM, TestQuestions
from ratio_sft.errors import DataError


def questions(*texts):
    tests = TestQuestions()
    for text in texts:
        tests.add("test.jsonl", text)
    return tests


WORDS = st.lists(st.sampled_from(["alpha", "beta", "gamma", "3", "+", "4"]), min_size=NGRAM, max_size=30)


@given(words=WORDS, start=st.integers(0, 20))
def test_thirteen_consecutive_words_are_found_at_any_place(words, start):
    tests = questions(" ".join(words))
    run = " ".join(words[start : start + NGRAM])
    found = tests.match(f"Before, {run.upper()} after?")
    assert (found is not None) is (len(words[start : start + NGRAM]) == NGRAM)


def test_twelve_words_are_not_enough_and_short_questions_match_as_a_whole():
    tests = questions("one two three four five six seven eight nine ten eleven twelve thirteen", "What is 3 + 4?")
    assert tests.match("one two three four five six seven eight nine ten eleven twelve fourteen") is None
    assert tests.match("what is 3 + 4 ?!") == "test.jsonl: the same question"
    assert tests.match("What is 3 - 4?") is None
    assert tests.match("Tell me: What is 3 + 4?") is None
    assert tests.report() == {"ngram": 13, "files": {"test.jsonl": {"questions": 2, "matches": 1}}}


def test_a_question_without_spaces_is_found_with_another_clause_behind_it():
    tests = questions("小明有三个苹果又买了五个苹果一共有多少个", "りんごを三個と五個買うと全部でいくつですか")
    assert "shares" in tests.match("问题:小明有三个苹果又买了五个苹果一共有多少个请写出步骤")
    assert "shares" in tests.match("質問。りんごを三個と五個買うと全部でいくつですか答えなさい")
    assert tests.match("小红有三本书又借了五本书一共有多少本") is None


@pytest.mark.parametrize(("question", "other"), [("🙂", "?!"), ("🍎 + 🍎 = ?", "🙂 + 🙂 = ?")])
def test_a_question_without_words_matches_only_itself(question, other):
    tests = questions(question)
    assert tests.match(other) is None
    assert tests.match(f" {question}") == "test.jsonl: the same question"


def test_build_rejects_test_questions_and_reports_them(tmp_path, trace, write_lines):
    rows = [trace(number) for number in range(8)]
    traces = write_lines(tmp_path / "in.jsonl", rows)
    problems = [{"id": f"t{n}", "question": rows[n]["question"].upper(), "answer": "1"} for n in (2, 5)]
    exclude = write_lines(tmp_path / "test.jsonl", problems)
    command = ["build", str(traces), str(tmp_path / "mix"), "--exclude", str(exclude)]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    assert "test.jsonl: 2 test questions, 2 traces rejected for them" in result.stdout
    card = json.loads((tmp_path / "mix" / "card.json").read_text())
    assert card["rejected_by_reason"] == {"in_test": 2}
    assert card["decontamination"] == {"ngram": 13, "files": {"test.jsonl": {"questions": 2, "matches": 2}}}
    for name in ("train.jsonl", "heldout.jsonl"):
        ids = {json.loads(line)["id"] for line in (tmp_path / "mix" / name).read_text().splitlines()}
        assert ids.isdisjoint({"p2", "p5"})
    again = CliRunner().invoke(cli, command[:-2])
    assert (again.exit_code, "other settings (exclude was " in again.stderr) == (2, True)


def test_a_missing_test_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        TestQuestions.read([tmp_path / "absent.jsonl"])
