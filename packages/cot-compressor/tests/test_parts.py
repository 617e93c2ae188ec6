import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cot_compressor import Compressor
from cot_compressor.budget.ratios import token_budget
from cot_compressor.budget.stages import Stager
from cot_compressor.text.parts import is_content, phrases, read_parts
from cot_compressor.text.segment import segment

TEXTS = st.lists(
    st.sampled_from(
        [
            "The lamp is red.",
            "So 12 + 15 = 27, but it is not enough because the box is small.",
            "| a | b |\n|---|---|\n| 1 | 2 |\n",
            "```python\nx = 3\nprint(x)\n```\n",
            "Call `run(x)` at 10:30 UTC.",
            "v = u + at = 22 m/s",
            "他不在这里。所以门是开的。",
            "1. Heat it.\n",
            "not so",
        ]
    ),
    min_size=1,
    max_size=14,
).map(" ".join)


def texts(text: str, kind: str) -> list[str]:
    units = segment(text)
    return [text[units[part[0]].start : units[part[-1]].end] for part in getattr(read_parts(text, units), kind)]


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("The red one is left, so Noor packed it.", ["The red one is left", "so Noor packed it."]),
        ("It is wet because the tap was left open.", ["It is wet"]),
        ("Because the tap was left open, so it is wet.", ["so it is wet."]),
        ("If the pump runs, the cellar is closed, unless it is dry.", []),
        ("A red, a green and a white basket stand there.", []),
        ("He (who came late, but stayed for long) left early.", []),
    ],
)
def test_clauses_end_at_connectives_lose_no_condition_and_are_no_mere_reason(text: str, clauses: list[str]) -> None:
    assert texts(text, "clauses") == clauses


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("So 12 + 15 = 27 pens are left.", ["12 + 15 = 27"]),
        ("We cannot have x = 5 here.", []),
        ("We do not add, as 12 + 15 = 27 is known.", ["12 + 15 = 27"]),
        ("The total is (as said) + 5 = 9.", []),
        ("So the answer is \\boxed{7}.", ["\\boxed{7}"]),
        ("Use <answer>7</answer> now.", ["<answer>7</answer>"]),
    ],
)
def test_a_formula_stands_alone_only_where_it_says_what_its_clause_says(text: str, alone: list[str]) -> None:
    assert texts(text, "formulas") == alone


def test_a_phrase_is_cut_before_function_words_and_never_from_a_negation() -> None:
    text = "The red basket was packed by Noor in the hall. It is not in the cellar."
    units = segment(text)
    found = phrases(text, units, read_parts(text, units).divided)
    assert [text[units[part[0]].start : units[part[-1]].end] for part in found] == [
        "The red basket",
        "was packed",
        "by Noor",
        "in the hall",
    ]


def test_the_last_member_of_a_list_is_no_clause_but_a_short_equation_is() -> None:
    assert texts("The bowl holds plums, pears, and quinces.", "clauses") == []
    assert texts("I add 9 to 33 for that, and 33 + 9 = 42.", "clauses") == [
        "I add 9 to 33 for that",
        "and 33 + 9 = 42.",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("桥边有一家店，店里卖灯笼。", ["桥边有一家店", "店里卖灯笼"]),
        ("如果下雨，比赛就取消。", []),
        ("他不在店里，店门开着。", []),
    ],
)
def test_a_run_of_chinese_between_marks_is_a_phrase_unless_the_clause_has_a_condition_or_negation(
    text: str, found: list[str]
) -> None:
    units = segment(text)
    parts = phrases(text, units, read_parts(text, units).divided)
    assert [text[units[part[0]].start : units[part[-1]].end] for part in parts] == found


def test_deep_json_on_the_last_line_is_one_part() -> None:
    answer = '{"stops": [{"at": "Quai", "min": 4}, {"at": "Dom", "min": 9}], "late": false}'
    assert answer in texts(f"The tram goes by the quay.\nSo it is on time.\n\n{answer}", "sentences")


def test_a_row_brings_its_header_and_a_line_of_code_its_fences() -> None:
    text = "See:\n\n| Pump | Pipe |\n|---|---|\n| Orla | 40 mm |\n| Pike | 32 mm |\n\n```\na = 1\nb = 2\n```\n"
    units = segment(text)
    parts = read_parts(text, units).sentences
    lines = [[text[units[at].start : units[at].end] for at in part] for part in parts]
    assert ["| Pump | Pipe |", "|---|---|", "| Pike | 32 mm |"] in lines
    assert ["```", "b = 2", "```"] in lines
    assert ["```"] not in lines


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.sampled_from([[0.2, 0.4, 0.7], [0.3], [0.5, 0.9]]))
def test_selections_stay_exact_and_nested_and_tear_no_literal(text: str, ratios: list[float]) -> None:
    compressor = Compressor.from_pretrained("rules")
    try:
        results = compressor.compress(text, question="Where is the lamp?", ratios=ratios)
    except ValueError:
        return
    units = segment(text)
    borders = {border for unit in units for border in unit[:2]}
    for result in results:
        budget = token_budget(result.ratio, result.original_tokens)
        assert result.tokens == compressor.counter.count(result.text) <= budget
        assert result.split or {border for span in result.spans for border in span} <= borders
    for small, large in itertools.pairwise(results):
        kept = {at for start, end in large.spans for at in range(start, end)}
        assert all(at in kept for start, end in small.spans for at in range(start, end) if not text[at].isspace())


def test_a_repeated_formula_stands_alone_once_unless_it_is_ranked_above_its_sentence() -> None:
    text = "So 1 + 2 = 3. Check it: 1 + 2 = 3, yes."
    units = segment(text)
    formulas = [at for at, unit in enumerate(units) if unit.kind == "math"]
    scores = [2.0 if at < 3 else 1.0 for at in range(len(units))]
    assert [part for part in Stager(text, units, scores).whole() if set(part) <= set(formulas)] == [(formulas[0],)]
    scores[formulas[1]] = 3.0
    alone = [part for part in Stager(text, units, scores).whole() if set(part) <= set(formulas)]
    assert alone == [(formulas[1],)] or alone == [(formulas[1],), (formulas[0],)]


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Who locked it?", "The guard came at ten. The cook left at nine and saw 3 cats. So the cook locked it."),
        ("Wer war es?", "Jana kam um neun. Ole blieb bis elf und sah 4 Hunde. Also war es Ole."),
        ("谁拿走了？", "老张早上来过。小李下午来过，一共3次。所以是小李拿走的。"),
    ],
)
def test_no_lone_mark_number_or_function_word_fills_a_budget(question: str, text: str) -> None:
    units = segment(text)
    for at in range(4, 10):
        for start, end in Compressor.from_pretrained("rules").compress(text, question=question, ratio=at / 10).spans:
            kept = [unit for unit in units if start <= unit.start < end]
            assert len(kept) > 1 or kept[0].kind == "math" or is_content(text, kept[0])
