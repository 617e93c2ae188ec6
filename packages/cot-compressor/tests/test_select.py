import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cot_compressor import Compressor, InfeasibleBudget
from cot_compressor.budget.counting import TokenCounter
from cot_compressor.budget.select import select
from cot_compressor.errors import DataError
from cot_compressor.text.render import line_breaks, merge_spans, render
from cot_compressor.text.segment import segment

PROSE = st.lists(
    st.sampled_from(
        ["Tom", "gets", "12 + 15 = 27", "more", ".", ",", "27", "\n", "so", "x = 3", "wait", "\\(y\\)", "é"]
    ),
    min_size=1,
    max_size=40,
).map(" ".join)


def check_selection(text, scores, budgets, counter):
    """Every promise of `select`, checked against counts of whole renderings."""
    units = segment(text)
    choices = select(text, units, scores, budgets, counter.count, estimate=counter.estimate)
    borders = {unit.start for unit in units} | {unit.end for unit in units}
    allowed = set(range(len(units)))
    for budget, choice in reversed(list(zip(budgets, choices, strict=True))):
        kept = set(choice.kept)
        assert choice.text == render(text, choice.spans)
        assert 0 < choice.tokens == counter.count(choice.text) <= budget
        assert kept <= allowed
        assert {border for span in choice.spans for border in span} <= borders
        for unit in allowed - kept if choice.tokens < budget else ():
            assert counter.count(render(text, merge_spans(units, sorted([*kept, unit])))) > budget
        allowed = kept


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=PROSE, data=st.data())
@pytest.mark.parametrize("tokenizer", ["word_tokenizer", "byte_tokenizer"])
def test_selection_keeps_budgets_nests_and_cannot_take_more_of_the_next_larger(tokenizer, request, text, data) -> None:
    counter = TokenCounter(request.getfixturevalue(tokenizer), "toy")
    units = segment(text)
    if not units:
        return
    scores = data.draw(st.lists(st.floats(-5, 5), min_size=len(units), max_size=len(units)))
    budgets = sorted(data.draw(st.lists(st.integers(0, counter.count(text) + 1), min_size=1, max_size=4)))
    smallest = min(counter.count(text[unit.start : unit.end]) for unit in units)
    if budgets[0] < smallest:
        with pytest.raises(InfeasibleBudget) as caught:
            check_selection(text, scores, budgets, counter)
        assert caught.value.needed_tokens == smallest
    else:
        check_selection(text, scores, budgets, counter)


def words(text: str) -> int:
    return len(text.split())


def test_greedy_order_passes_over_what_does_not_fit() -> None:
    text = "aa 1 + 2 = 3 bb cc"
    units = segment(text)
    (choice,) = select(text, units, [1, 9, 5, 3], [4], words)
    assert choice.text == "aa bb cc"
    (choice,) = select(text, units, [1, 9, 5, 3], [6], words)
    assert choice.text == "1 + 2 = 3 bb"


def test_what_fills_a_small_budget_pushes_no_formula_out_of_a_larger_one() -> None:
    text = "1 + 2 = 3 aa bb cc dd ee"
    units, scores = segment(text), [9, 5, 4, 3, 2, 1]
    assert [choice.text for choice in select(text, units, scores, [4, 8], words)] == ["aa bb cc", "1 + 2 = 3 aa bb cc"]
    assert [choice.text for choice in select(text, units, scores, [4], words)] == ["aa bb cc dd"]


def test_a_small_budget_is_filled_whole_where_that_costs_the_larger_one_little() -> None:
    text = " ".join(f"{at} + 2 = 3" for at in range(30)) + " aa bb cc dd ee"
    units = segment(text)
    small, large = select(text, units, [9.0] * 30 + [1.0] * 5, [52, 150], words)
    assert (small.tokens, large.tokens) == (52, 150)
    assert large.text.count("=") == 29


def test_a_budget_too_small_for_all_that_a_larger_one_keeps_takes_something_else() -> None:
    text = "1 + 1 = 2 aa"
    assert [choice.text for choice in select(text, segment(text), [9, 1], [1, 5], words)] == ["aa", "aa"]


def test_a_part_is_exchanged_for_others_that_fill_the_budget_and_the_best_stays() -> None:
    text = "\n".join(["a " * 20, "b " * 12, "c " * 17])
    units = segment(text)
    lines = [tuple(at for at, unit in enumerate(units) if unit.step == step) for step in range(3)]
    (greedy,) = select(text, units, [0.0] * 49, [39], words, stages=[lines])
    (exchanged,) = select(text, units, [0.0] * 49, [39], words, stages=[lines, []])
    assert [choice.text.split().count("a") for choice in (greedy, exchanged)] == [20, 20]
    assert (greedy.tokens, exchanged.tokens) == (32, 37)


def test_single_words_are_taken_only_where_nothing_else_fits() -> None:
    text = "\n".join(["a " * 30, "b " * 60])
    units = segment(text)
    lines = [tuple(at for at, unit in enumerate(units) if unit.step == step) for step in range(2)]
    stages = [lines, [], [(at,) for at in range(90)]]
    for budget, tokens in ((60, 30), (29, 29), (3, 3)):
        (choice,) = select(text, units, [0.0] * 90, [budget], words, stages=stages)
        assert choice.tokens == tokens


def test_equal_scores_keep_the_earlier_unit() -> None:
    (choice,) = select("a b c d", segment("a b c d"), [0, 0, 0, 0], [2], words)
    assert choice.text == "a b"


def test_gaps_become_one_space_or_one_line_break() -> None:
    text = "aa   bb cc\n\ndd  ee"
    (choice,) = select(text, segment(text), [1, 1, 0, 1, 1], [4], words)
    assert choice.text == "aa   bb\ndd  ee"
    assert choice.spans == ((0, 7), (12, 18))


@given(PROSE, st.integers(1, 5))
def test_known_line_breaks_change_nothing(text: str, step: int) -> None:
    units = segment(text)
    spans = merge_spans(units, range(0, len(units), step))
    assert render(text, spans, line_breaks(text)) == render(text, spans)


def test_a_long_neighbour_is_not_counted_again_for_every_word_that_might_fit() -> None:
    def characters_counted(words: int) -> int:
        formula = "$" + "x+" * words + "x$"
        text = formula + " zq" * words
        counted = 0

        def count(part: str) -> int:
            nonlocal counted
            counted += len(part)
            return len(part) // 2

        units = segment(text)
        scores = [1.0] + [0.0] * (len(units) - 1)
        select(text, units, scores, [count(formula) + 1], count)
        return counted

    assert characters_counted(4000) < 2.5 * characters_counted(2000)


def test_units_that_cost_nothing_are_kept_where_everything_fits() -> None:
    """A full stop that merges into the line breaks before it is free; looked for last, it would not be looked for."""
    text = "one\n\n. two"
    choices = select(text, segment(text), [0.0, -9.0, 0.0], [2], lambda part: len(part.replace(".", "").split()))
    assert choices[0].text == text


def test_a_wrong_rough_count_changes_nothing() -> None:
    text = " ".join(f"w{at}" for at in range(50))
    units = segment(text)
    scores = [float(at * 37 % 50) for at in range(50)]
    right = select(text, units, scores, [7, 20], words)
    assert select(text, units, scores, [7, 20], words, estimate=lambda text: words(text) // 3) == right
    assert select(text, units, scores, [7, 20], words, estimate=lambda text: words(text) * 3) == right
    assert select(text, units, scores, [7, 20], words, costs=[9.0] * 50) == right


def test_forced_units_are_kept_inside_the_budget() -> None:
    text = "a b c d"
    (choice,) = select(text, segment(text), [3, 2, 1, 0], [2], words, forced=[3])
    assert choice.text == "a d"
    with pytest.raises(InfeasibleBudget, match="need 2 tokens, the budget is 1"):
        select(text, segment(text), [3, 2, 1, 0], [1], words, forced=[2, 3])


def test_nothing_fits_says_what_would() -> None:
    text = "1 + 1 = 2"
    with pytest.raises(InfeasibleBudget, match="the smallest needs 5") as caught:
        select(text, segment(text), [0.0], [4], words)
    assert caught.value.needed_tokens == 5


def test_falling_budgets_and_missing_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="budgets must rise"):
        select("a b", segment("a b"), [1, 2], [2, 1], words)
    with pytest.raises(ValueError, match="1 scores for 2 units"):
        select("a b", segment("a b"), [1], [1], words)


@pytest.fixture(scope="module")
def compressor(word_tokenizer) -> Compressor:
    return Compressor.from_pretrained("rules", tokenizer=word_tokenizer)


def test_phrases_fill_a_small_budget_from_what_the_larger_one_keeps(compressor: Compressor) -> None:
    cot = "25 + 14 = 39, as I read here that 14 coins go in. 39 - 16 = 23, since it says here that 16 coins go out."
    smaller, larger = compressor.compress(cot, ratios=[0.6, 0.8])
    assert (smaller.tokens, larger.tokens) == (19, 25)
    assert "25 + 14 = 39" in smaller.text
    assert "39 - 16 = 23" in smaller.text


def test_ratio_one_gives_the_text_back(compressor: Compressor) -> None:
    cot = "\n Wait.  12 + 15 = 27,\n\nso\tthe answer is 27. \n"
    whole = compressor.compress(cot, ratio=1.0)
    assert whole.text == cot.strip()
    assert whole.tokens == whole.original_tokens
    assert whole.spans == ((2, len(cot) - 2),)


def test_one_ratio_gives_one_result_and_several_give_a_rising_list(compressor: Compressor) -> None:
    cot = "Tom gets 12 + 15 = 27 pens. He buys 3 more, so 27 + 3 = 30. Then he goes home. So the answer is 30."
    short, long = compressor.compress(cot, ratios=[0.8, 0.5, 0.8])
    assert (short.ratio, long.ratio) == (0.5, 0.8)
    assert short == compressor.compress(cot, ratio=0.5)
    assert short.tokens <= 0.5 * short.original_tokens
    assert compressor.compress(cot, ratios=np.array([0.5, 0.8])) == [short, long]
    with pytest.raises(DataError, match="no ratio given"):
        compressor.compress(cot, ratios=np.array([]))


def test_keep_holds_a_span_whatever_it_scores(compressor: Compressor) -> None:
    cot = "Wait, so 12 + 15 = 27 then. The answer is 27."
    asked = "What is 12 + 15?"
    assert compressor.compress(cot, question=asked, ratio=0.5, keep=[(0, 2)]).text == "Wait so 12 + 15 = 27"
    assert "Wait" not in compressor.compress(cot, question=asked, ratio=0.5).text


@pytest.mark.parametrize(
    ("ratio", "hint"), [(20, "Did you mean 0.2"), (0, "got 0"), (-1, "got -1"), (float("nan"), "nan")]
)
def test_a_ratio_outside_its_range_is_refused(compressor: Compressor, ratio: float, hint: str) -> None:
    with pytest.raises(DataError, match=hint):
        compressor.compress("a b", ratio=ratio)


def test_infeasible_ratio_names_the_smallest_feasible_one(compressor: Compressor) -> None:
    with pytest.raises(InfeasibleBudget, match=r"ratio 0\.1 of 5 tokens.*smallest ratio for it is 1\.0000"):
        compressor.compress("12 + 15 = 27", ratio=0.1)
    with pytest.raises(InfeasibleBudget, match="blank"):
        compressor.compress(" \n", ratio=0.5)


@pytest.mark.parametrize("length", [3, 6, 7, 9, 11])
def test_the_ratio_that_an_error_names_is_enough(length: int) -> None:
    compressor = Compressor.from_pretrained("rules")
    cot = " ".join("word" for _ in range(length))
    with pytest.raises(InfeasibleBudget) as caught:
        compressor.compress(cot, ratio=0.01)
    named = float(str(caught.value).rpartition(" ")[2])
    assert compressor.compress(cot, ratio=named).tokens == 1


@pytest.mark.parametrize(
    "cot", ["a \x00 b c", "x \ud800 y z", "a\r\nb\r\nc d", "👍🏽 é $ unclosed \\( more words", "שלום עולם טוב"]
)
def test_odd_text_comes_out_as_pieces_of_itself(byte_tokenizer, cot: str) -> None:
    compressor = Compressor.from_pretrained("rules", tokenizer=byte_tokenizer)
    result = compressor.compress(cot, ratio=0.7)
    assert result.text
    assert result.text == render(cot, result.spans)


def test_counting_ignores_the_truncation_a_tokenizer_file_asks_for(word_tokenizer) -> None:
    limited = type(word_tokenizer)(tokenizer_object=word_tokenizer.backend_tokenizer)
    limited.backend_tokenizer.enable_truncation(2)
    try:
        assert TokenCounter(limited, "toy").count("Tom gets 5 more .") == 5
        assert limited.backend_tokenizer.truncation is not None
    finally:
        limited.backend_tokenizer.no_truncation()
