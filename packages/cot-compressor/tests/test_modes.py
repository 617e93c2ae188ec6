import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cot_compressor import Compressor, DataError, InfeasibleBudget
from cot_compressor.render import render
from cot_compressor.segment import segment
from cot_compressor.split import split_formula

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
    assert compressor.compress(" ".join("word" for _ in range(90)), ratio=0.7).tokens == 63


def test_exactly_one_length_is_asked_for(compressor: Compressor) -> None:
    for lengths in ({}, {"ratio": 0.5, "max_tokens": 3}, {"max_tokens": 0}, {"threshold": float("nan")}):
        with pytest.raises(DataError):
            compressor.compress(COT, **lengths)
    with pytest.raises(DataError, match="goes with a threshold"):
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
    for keep in ("green", [(5, 5)], [(0, 10_000)]):
        with pytest.raises(DataError, match="keep"):
            compressor.compress(COT, ratio=0.5, keep=keep)
    with pytest.raises(InfeasibleBudget, match="smallest ratio for it is"):
        compressor.compress(COT, ratio=0.1, keep=["12 + 15 = 27"])


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
        with pytest.raises(InfeasibleBudget):
            compressor.compress(cot, ratio=0.3)
        return
    result = compressor.compress(cot, ratio=0.3)
    assert result.text
    assert result.text == render(cot, result.spans)
    assert result.tokens <= 0.3 * result.original_tokens
