import pickle
import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from cot_compressor import Compressor, InfeasibleBudget
from cot_compressor.budget.split import split_formula
from cot_compressor.errors import DataError, RejectedRow
from cot_compressor.text.render import render
from cot_compressor.text.segment import segment

COT = "Okay, let me think. Tom buys 15 more, so 12 + 15 = 27. Check: 12 + 15 = 27, yes. The sky is not green."
PARAGRAPHS = st.lists(
    st.sampled_from(
        ["12 + 15 = 27.", "Wait, no.", "\n\n", "\n", "\\[ x", "\\]", "```", "the sky " * 40, "so $y$", "é"]
    ),
    max_size=60,
).map(" ".join)


@pytest.fixture(scope="module")
def compressor() -> Compressor:
    return Compressor.from_pretrained("rules")


def test_max_tokens_is_exact_and_a_large_one_gives_the_text_back(compressor: Compressor) -> None:
    result = compressor.compress(COT, max_tokens=9)
    assert result.tokens == result.kept_tokens == 9
    assert result.ratio == pytest.approx(9 / result.original_tokens)
    assert compressor.compress(COT, max_tokens=10_000).text == COT
    with pytest.raises(InfeasibleBudget, match="max_tokens 1 of 5"):
        compressor.compress("12 + 15 = 27", max_tokens=1)


def test_a_ratio_that_no_float_hits_loses_no_token(compressor: Compressor) -> None:
    assert compressor.compress("\n".join("word" for _ in range(90)), ratio=0.7).tokens == 63


def test_exactly_one_length_is_asked_for(compressor: Compressor) -> None:
    for lengths, complaint in (
        ({}, "exactly one of"),
        ({"ratio": 0.5, "max_tokens": 3}, "exactly one of"),
        ({"max_tokens": 0}, "max_tokens must be at least 1; got 0"),
        ({"threshold": float("nan")}, "threshold must be a number; got nan"),
    ):
        with pytest.raises(DataError, match=complaint):
            compressor.compress(COT, **lengths)
    with pytest.raises(DataError, match="growing needs a threshold"):
        compressor.compress(COT, ratio=0.5, growing=True)


def test_a_threshold_keeps_what_scores_above_it(compressor: Compressor) -> None:
    assert compressor.compress(COT, question="12 and 15?", threshold=-4).text == "12 + 15 = 27"
    assert compressor.compress(COT, threshold=-99).text == COT
    with pytest.raises(InfeasibleBudget, match="no unit scores above 1"):
        compressor.compress(COT, threshold=1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=PARAGRAPHS, more=PARAGRAPHS)
def test_what_a_growing_text_has_emitted_never_changes(compressor: Compressor, text: str, more: str) -> None:
    early = compressor.compress(text, threshold=-5, growing=True)
    later = compressor.compress(text + more, threshold=-5, growing=True)
    assert later.text.startswith(early.text)
    assert later.spans[: len(early.spans)] == early.spans
    if later.text:
        assert compressor.compress(text + more, threshold=-5).text.startswith(later.text)


def test_a_pattern_that_looks_ahead_does_not_change_what_was_emitted(compressor: Compressor) -> None:
    text = "x = 1 and more words. " * 100 + "\n\ntail y"
    keep = [re.compile(r"and(?=.*END)", re.DOTALL)]
    early = compressor.compress(text, threshold=-4, growing=True, keep=keep)
    later = compressor.compress(text + " then END", threshold=-4, growing=True, keep=keep)
    assert later.text.startswith(early.text)
    assert early.text
    with pytest.raises(DataError, match="empty string"):
        compressor.compress(text, ratio=0.5, keep=[""])


def test_a_growing_text_is_emitted_before_it_ends(compressor: Compressor) -> None:
    text = (COT + "\n\n") * 50
    assert len(compressor.compress(text, threshold=-6, growing=True).text) > 200


def test_keep_takes_spans_strings_and_patterns(compressor: Compressor) -> None:
    start = COT.index("green")
    for keep in ([(start, start + 5)], ["green"], [re.compile("gre+n")]):
        assert "green" in compressor.compress(COT, ratio=0.3, keep=keep).text
    assert compressor.compress(COT, ratio=0.5, keep=["27"]).text.count("12 + 15 = 27") == 2
    assert compressor.compress(COT, ratio=0.3, keep=["absent"]) == compressor.compress(COT, ratio=0.3)
    for keep, complaint in (
        ("green", "keep must be a list"),
        ([(5, 5)], r"no span \[5, 5\)"),
        ([(0, 10_000)], r"no span \[0, 10000\)"),
    ):
        with pytest.raises(DataError, match=complaint):
            compressor.compress(COT, ratio=0.5, keep=keep)
    with pytest.raises(InfeasibleBudget, match="smallest ratio for it is"):
        compressor.compress(COT, ratio=0.1, keep=["12 + 15 = 27"])


PARTS = st.lists(
    st.sampled_from(
        ["so he", "= 60 / 2", "speed = distance / time", "12 + 15 = 27", "\n", "5 days", "$x = 3 = y$", ".", "个"]
    ),
    min_size=1,
    max_size=12,
)
CHAINS = st.builds(str.join, st.sampled_from(["", " "]), PARTS)
KEEPS = st.sampled_from([(), [re.compile(r"\d")], ["distance"], [re.compile("=")], [re.compile(r"[^.\s]")]])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cot=CHAINS, keep=KEEPS, ratio=st.floats(0.01, 0.6))
@pytest.mark.parametrize("tokenizer", [None, "byte_tokenizer"])
def test_a_kept_formula_is_whole_and_what_an_error_names_is_enough(tokenizer, request, cot, keep, ratio) -> None:
    counts = tokenizer and request.getfixturevalue(tokenizer)
    compressor = Compressor.from_pretrained("rules", tokenizer=counts)
    if not cot.strip():
        return
    try:
        results = [compressor.compress(cot, ratio=ratio, keep=keep)]
    except InfeasibleBudget as error:
        named = float(str(error).rpartition(" ")[2])
        results = [
            compressor.compress(cot, max_tokens=error.needed_tokens, keep=keep),
            compressor.compress(cot, ratio=named, keep=keep),
        ]
    patterns = [re.compile(wanted) for wanted in keep]
    for result in results:
        for unit in segment(cot):
            if any(pattern.search(cot, unit.start, unit.end) for pattern in patterns):
                assert any(start <= unit.start and unit.end <= end for start, end in result.spans)


def test_a_formula_is_not_cut_to_keep_a_word_in_it(compressor: Compressor) -> None:
    cot = "Speed = distance / time = 60 / 2 = 30 and so he is home before noon."
    with pytest.raises(InfeasibleBudget, match=r"budget is 5; the smallest ratio for it is 0\.5790") as caught:
        compressor.compress(cot, ratio=0.3, keep=["distance"])
    assert caught.value.needed_tokens == 11
    assert compressor.compress(cot, max_tokens=11, keep=["distance"]).text == cot[: cot.index(" and")]


def test_a_part_that_counts_more_than_the_whole_needs_no_more_than_that() -> None:
    words = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = WhitespaceSplit()
    compressor = Compressor.from_pretrained("rules", tokenizer=PreTrainedTokenizerFast(tokenizer_object=words))
    cot, keep = "so,he,at noon", ["so", "he", "at"]
    assert compressor.compress(cot, ratio=1, keep=keep).text == cot
    with pytest.raises(InfeasibleBudget, match=r"need 3 tokens.*ratio for it is 1\.0000") as caught:
        compressor.compress(cot, ratio=0.5, keep=keep)
    assert compressor.compress(cot, max_tokens=caught.value.needed_tokens, keep=keep).text == cot


def _fail() -> None:
    Compressor.from_pretrained("rules").compress("12 + 15 = 27", ratio=0.1)


def test_errors_come_out_of_other_processes() -> None:
    row = pickle.loads(pickle.dumps(RejectedRow("no_answer", "none")))
    assert (str(row), row.reason, row.detail) == ("no_answer: none", "no_answer", "none")
    with ProcessPoolExecutor(1, get_context("spawn")) as pool, pytest.raises(InfeasibleBudget, match="of 5") as caught:
        pool.submit(_fail).result(60)
    assert caught.value.needed_tokens == 5


def test_a_tokenizer_of_the_call_counts_instead_of_its_own(compressor: Compressor, byte_tokenizer) -> None:
    result = compressor.compress(COT, ratio=0.4, tokenizer=byte_tokenizer)
    assert result == Compressor.from_pretrained("rules", tokenizer=byte_tokenizer).compress(COT, ratio=0.4)
    assert result.original_tokens != compressor.compress(COT, ratio=0.4).original_tokens


ALIGN = "\\begin{align} a &= b + 1 \\\\ &= \\frac{c = 1}{2} = (d = 3) = 4 \\\\ e &= 5 \\end{align}"


def test_a_formula_above_the_budget_is_cut_between_lines_and_in_chains_and_that_is_told(compressor: Compressor) -> None:
    parts = [ALIGN[start:end] for start, end in split_formula(ALIGN, 0, len(ALIGN))]
    assert parts == [
        "\\begin{align} a &= b + 1 \\\\",
        "&= \\frac{c = 1}{2}",
        "= (d = 3)",
        "= 4 \\\\",
        "e &= 5 \\end{align}",
    ]
    result = compressor.compress(ALIGN, ratio=0.5)
    assert result.split == ((0, len(ALIGN)),)
    assert result.to_record()["split"] == [[0, len(ALIGN)]]
    assert result.text == render(ALIGN, result.spans)
    assert 0 < result.tokens <= 0.5 * result.original_tokens
    assert "split" not in compressor.compress(ALIGN, ratio=1.0).to_record()
    assert compressor.compress("So we have " + ALIGN, ratio=0.1).text == "So we have"


@pytest.mark.parametrize("equation", ["12 + 15 = 27", "$x = y$", "x <= y", "f(a = 1, b = 2) = c", "\\(" * 50])
def test_a_single_equation_is_never_cut(equation: str) -> None:
    assert split_formula(equation, 0, len(equation)) == [(0, len(equation))]


@pytest.mark.parametrize(
    "cot",
    [
        "\\(" * 100_000,
        "a = " * 20_000 + "b",
        "```\n" * 20_000,
        "\x00" * 20_000,
        "\u202e שלום " * 5_000,
        "👍🏽" * 5_000,
        "\ud800 " * 5_000,
        "$" * 50_001,
        "x\r\n" * 10_000,
    ],
)
def test_hostile_text_gives_a_result_or_a_clear_error(compressor: Compressor, cot: str) -> None:
    if len(segment(cot)) == 1 and "=" not in cot:
        with pytest.raises(InfeasibleBudget, match="no unit fits a budget of"):
            compressor.compress(cot, ratio=0.3)
        return
    result = compressor.compress(cot, ratio=0.3)
    assert result.text
    assert result.text == render(cot, result.spans)
    assert result.tokens <= 0.3 * result.original_tokens
