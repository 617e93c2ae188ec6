import json
from itertools import product

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ratio_sft.cli import cli
from ratio_sft.data.clean import below_floor, collapse

# 64 words of ten letters, no two alike.
WORDS = ["".join(letters) * 3 for letters in product("abcd", repeat=3)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("!" * 21, ("character_run", "'!' 21 times")),
        ("1" * 20 + " = 1", ("", "")),
        (f"|{'-' * 40}|{'=' * 40}|{'_' * 40}|{'*' * 40}| 1 + 1", ("", "")),
        ("no 1 + " * 12, ("repeated_phrase", "'no 1 +' 12 times in a row")),
        ("no 1 + " * 11, ("", "")),
        (" ".join(f"wait {word} wait" for word in WORDS[:17]), ("common_word", "'wait' is 34 of 51 words")),
        (" ".join(f"wait {word} wait" for word in WORDS[:16]), ("", "")),
        (" ".join(f"wait {word} {word[0]}" for word in WORDS[:20]), ("", "")),
        (" + ".join(map(str, range(40))), ("", "")),
        (" ".join(f"x {word} x" for word in WORDS[:17]), ("", "")),
        ((" ".join(WORDS[:20]) + "\n") * 11, ("repeated_trigrams", "198 of 218 trigrams")),
        ((" ".join(WORDS[:20]) + "\n") * 9, ("", "")),
        ("so . , . , 5", ("punctuation", "4 of 7 characters")),
        ("so . , . 57", ("", "")),
        ("\\frac{1}{2}+\\frac{(x+1)(x-1)}{x}", ("", "")),
        ("", ("", "")),
    ],
)
def test_collapsed_text_is_detected_and_normal_text_is_not(text, found):
    assert collapse(text) == found


@given(phrase=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8), times=st.integers(12, 20))
def test_a_phrase_repeated_twelve_times_is_a_collapse(phrase, times):
    assert collapse(" ".join(phrase * times))[0] == "repeated_phrase"


@given(paragraph=st.lists(st.sampled_from(WORDS), min_size=20, max_size=40, unique=True), times=st.integers(11, 15))
def test_a_paragraph_repeated_eleven_times_is_a_collapse(paragraph, times):
    assert collapse(" ".join(paragraph * times))[0] == "repeated_trigrams"


@given(st.lists(st.integers(0, 10**9), max_size=200, unique=True))
def test_text_without_repetition_is_none(numbers):
    assert collapse(" + ".join(map(str, numbers))) == ("", "")


@given(first=st.integers(10, 99), steps=st.lists(st.integers(1, 9), min_size=1, max_size=60))
def test_a_chain_of_sums_is_none_however_long(first, steps):
    lines = []
    for step in steps:
        lines.append(f"{first} + {step} = {first + step}, so now there are {first + step} in all.")
        first += step
    assert collapse(" ".join(lines)) == ("", "")


TEN = "1 2 3 4 5 6 7 8 9 10"


@pytest.mark.parametrize(
    ("text", "tokens", "ratio", "found"),
    [
        ("1 2 3 4", 100, 0.2, ("", "")),
        ("1 2 3 4", 99, 0.2, ("below_floor", "99 tokens, fewer than 100")),
        ("1 2 3", 100, 0.2, ("lost_anchors", "3 of 10 numbers, fewer than 35%")),
        ("1 2 3 3 3.0", 100, 0.2, ("lost_anchors", "3 of 10 numbers, fewer than 35%")),
        ("1 2 3 4", 100, 0.1, ("", "")),
        ("1 2 3 4", 90, 0.3, ("", "")),
        ("1 2 3 4", 89, 0.3, ("below_floor", "89 tokens, fewer than 90")),
        ("1 2 3", 90, 0.3, ("lost_anchors", "3 of 10 numbers, fewer than 40%")),
        (TEN, 50, 1.0, ("", "")),
        (TEN[:-3], 50, 1.0, ("lost_anchors", "9 of 10 numbers, fewer than 100%")),
    ],
)
def test_the_floors_are_the_papers_and_linear_between_its_ratios(text, tokens, ratio, found):
    assert below_floor(TEN, text, tokens, ratio) == found


def test_a_text_without_numbers_keeps_them_all():
    assert below_floor("none at all", "none", 100, 0.2) == ("", "")


def test_floors_are_asked_for_and_every_reject_is_counted_by_reason(tmp_path, trace, write_lines):
    def long(number, kept):
        """500 tokens whose numbers are 0 to 9, and of them `kept` in the text for 0.2."""
        cot = "0 1 2 3 4 5 6 7 8 9"
        entries = [
            {**entry, "text": cot[: 2 * kept] if entry["ratio"] == 0.2 else cot, "tokens": round(500 * entry["ratio"])}
            for entry in trace(number)["compressions"]
        ]
        return trace(number, cot=cot, compressions=entries)

    rows = [trace(0), long(1, kept=3), long(2, kept=4), long(3, kept=9)]
    rows.append(trace(4, compressions=[{**entry, "text": "wait " * 12} for entry in trace(4)["compressions"]]))
    traces = write_lines(tmp_path / "in.jsonl", rows)
    for flags, expected in [
        ([], {"repeated_phrase": 1}),
        (["--paper-floors"], {"below_floor": 1, "lost_anchors": 1, "repeated_phrase": 1}),
    ]:
        out = tmp_path / f"mix{len(flags)}"
        done = CliRunner().invoke(cli, ["build", str(traces), str(out), "--policy-share", "0", *flags])
        assert done.exit_code == 0, done.output
        card = json.loads((out / "card.json").read_text())
        assert card["rejected_by_reason"] == expected
        assert card["settings"].get("paper_floors", False) is bool(flags)
    other = CliRunner().invoke(cli, ["build", str(traces), str(out), "--policy-share", "0"])
    assert other.exit_code == 2
    assert "made with other settings (paper_floors was True, is None)" in other.stderr
