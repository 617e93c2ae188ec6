import pytest

from cot_compressor.budget.stages import Stager
from cot_compressor.scorers.base import ScoringInput
from cot_compressor.scorers.rules import RuleScorer
from cot_compressor.scorers.statements import closing_sentences, statement_role
from cot_compressor.text.relations import grounded, numbers_in, question_numbers, read_equation, read_equations
from cot_compressor.text.segment import segment

QUESTION = "Tom has 12 pens. He gets 15 more and gives away half. How many are left if he then buys 4 packs of 5?"
COT = (
    "Okay, let me see. Tom has 12 pens. The sky is 99. He gets 15 more: 12 + 15 = 27. Check: 12 + 15 = 27, yes. "
    "By the way 27 * 4 = 108. He buys 4 packs: 4 * 5 = 20. Then 27 + 20 = 47. So the answer is 47."
)


def ranked(question: str, cot: str) -> list[str]:
    units = segment(cot)
    (scores,) = RuleScorer().score([ScoringInput(question, cot, units)])
    return [cot[units[at].start : units[at].end] for at in sorted(range(len(units)), key=lambda at: -scores[at])]


def test_the_chain_comes_first_then_the_statement_of_the_result_then_other_equations() -> None:
    order = ranked(QUESTION, COT)
    assert order[:3] == ["12 + 15 = 27", "4 * 5 = 20", "27 + 20 = 47"]
    assert order[3] == "27 * 4 = 108"
    assert " ".join(order[4:9]) == "So the answer is 47"


def test_without_a_chain_to_the_result_its_statement_comes_first() -> None:
    order = ranked("Which basket is Noor's?", "There are 2 + 1 = 3 baskets. One is red. So the red one is hers. Okay.")
    assert " ".join(order[:7]) == "So the red one is hers ."
    assert order.index("2 + 1 = 3") < order.index("There")


def test_the_words_of_a_sentence_stay_together() -> None:
    cot = "The cook was in the kitchen. The gardener stood at the gate with a lamp. So the gardener locked the gate."
    order = ranked("Who locked the gate?", cot)
    assert " ".join(order[:7]) == "So the gardener locked the gate ."
    assert " ".join(order[7:]) in {
        "The cook was in the kitchen . The gardener stood at the gate with a lamp .",
        "The gardener stood at the gate with a lamp . The cook was in the kitchen .",
    }


def test_what_stands_before_the_closing_statement_comes_before_sentences_that_add_as_much() -> None:
    plain = [
        f"The {noun} was in the {place}." for noun, place in [("cart", "yard"), ("goat", "shed"), ("sack", "barn")]
    ]
    order = ranked("Who did it?", " ".join([*plain, "The rope was in the loft.", "So Emil did it."]))
    assert " ".join(order[:12]) == "So Emil did it . The rope was in the loft ."


def test_repetitions_chatter_and_what_a_correction_replaces_come_last() -> None:
    cot = (
        "The sign says the market is on Sunday. A baker sells bread. A baker sells bread. Hmm. "
        "Wait, the market was moved to Friday. So it is Friday."
    )
    text = " ".join(ranked("When is the market?", cot))
    assert text.index("Friday") < text.index("A baker")
    assert text.endswith("Hmm . The sign says the market is on Sunday . A baker sells bread .")


@pytest.mark.parametrize(
    ("cot", "statement"),
    [
        (
            "Ten guests are too many. Try 6 + 9 = 15. Try 7 + 9 = 16. That is all. So the answer is 7.",
            "So the answer is 7.",
        ),
        (
            "Mit 4 gilt 4 + 8 = 12. Mit 5 gilt 5 + 8 = 13. Das passt. Also ist Ole heute 5 Jahre alt.",
            "Also ist Ole heute 5 Jahre alt.",
        ),
        ("I count upwards. It must be whole. So the answer is 5. Check: 5 + 7 = 12. It fits.", "So the answer is 5."),
        ("Option A gives 5 * 8 = 40. Option B gives 6 * 8 = 48. So the answer is B.", "So the answer is B."),
    ],
)
def test_a_statement_whose_answer_is_only_an_operand_comes_before_the_equations(cot: str, statement: str) -> None:
    order = ranked("4, 5, 6, 7, 8 and 9?", cot)
    assert "".join(order).replace(" ", "").startswith(statement.replace(" ", ""))


@pytest.mark.parametrize(
    "answer",
    [
        '```json\n{\n  "lamp": 3,\n  "town": "Porto"\n}\n```',
        '```\n[{"move": "g3"}, {"move": "g4"}]\n```\nDone.',
        '{"stops": ["Aldo", "Carn"], "km": 75}',
    ],
)
def test_the_json_that_ends_a_text_comes_first_and_whole(answer: str) -> None:
    cot = f"The lamp costs 12 + 15 = 27. I checked that twice. So the form can be filled.\n\n{answer}"
    units = segment(cot)
    (scores,) = RuleScorer().score([ScoringInput("12 and 15?", cot, units)])
    part = Stager(cot, units, scores).whole()[0]
    assert cot[units[part[0]].start : units[part[-1]].end] == answer.removesuffix("\nDone.")
    assert len(part) == part[-1] - part[0] + 1


@pytest.mark.parametrize(
    ("claim", "correction"),
    [
        ("Das Fass steht im Hof.", "Warte, das Fass steht nicht im Hof, sondern im Stall."),
        ("El saco pesa veinte kilos.", "Un momento, el saco no pesa veinte kilos, pesa quince."),
        ("Le bateau part le mardi.", "En fait, le bateau ne part pas le mardi, il part le jeudi."),
        ("车票在老李的包里。", "等一下，车票不在老李的包里，在桌上。"),
        ("鍵は机の引き出しにあります。", "待って、鍵は机の引き出しではなく棚にあります。"),
    ],
)
def test_a_correction_in_another_language_comes_first_and_what_it_replaces_last(claim: str, correction: str) -> None:
    order = ranked("", f"{claim} The wall is grey. {correction} The tall trees are old and green. So we go there.")
    text = "".join(order).replace(" ", "")
    assert text.index(correction.replace(" ", "")) < text.index("Thewall")
    assert text.endswith(claim.replace(" ", ""))


@pytest.mark.parametrize(
    ("claim", "opener", "correction"),
    [
        ("The pool has 4 lanes.", "Wait, no.", "The pool has 6 lanes since May, not 4."),
        ("The tower was built by Ilse.", "No, wait.", "The tower in the sketch was built by Tom."),
        ("Das Lager hat drei Tore.", "Moment, nein.", "Das neue Lager hat fünf Tore."),
    ],
)
def test_what_follows_a_bare_wait_corrects_the_claim_before_it(claim: str, opener: str, correction: str) -> None:
    order = ranked("", f"{claim} {opener} {correction} The wall is grey. The tall trees are old. So we go there.")
    text = "".join(order).replace(" ", "")
    assert text.index(correction.replace(" ", "")) < text.index("Thewall")
    assert text.endswith(claim.replace(" ", ""))


def test_a_denial_behind_a_correction_belongs_to_it() -> None:
    cot = (
        "The ferry to Skaw leaves from pier 3. Actually, the ferry was moved. The harbour is wide. "
        "The pier for Skaw is 8, not 3. Gulls sit on the roof. So we walk there."
    )
    text = " ".join(ranked("", cot))
    assert text.index("not 3") < text.index("Gulls")
    assert text.endswith("The ferry to Skaw leaves from pier 3 .")


def test_evidence_that_only_points_back_is_no_conclusion() -> None:
    texts = ["A bitter taste suggests that the tea stood too long.", "The dark leaves confirm this.", "It is a cup."]
    assert closing_sentences(texts, [statement_role(text) for text in texts], computed=False) == [0]


@pytest.mark.parametrize(
    "again", ["THE FILTER WAS FULL OF SAND!", "- The filter, was full of sand", '"The filter was full of sand"']
)
def test_a_sentence_that_is_repeated_with_other_marks_comes_last(again: str) -> None:
    order = ranked("", f"The filter was full of sand.\nHmm.\n{again}\nThe pump broke in May.\nSo sand broke the pump.")
    assert " ".join(order).replace(" ", "").endswith(again.replace(" ", ""))


def test_a_sentence_that_repeats_an_equation_adds_nothing_by_it() -> None:
    steps = [("30 - 3 = 27", "3 from 30"), ("27 - 6 = 21", "6 from 27"), ("21 - 6 = 15", "6 from 21")]
    cot = " ".join(
        f"{equation}, because some pens go out, so I subtract {what}. I go over this. {equation}, so that is fine."
        for equation, what in steps
    )
    order = ranked("Hugo has 30 pens. Then 3 go out, 6 go out, 6 go out. How many does he have?", cot)
    assert order.index("fine") > order.index("because")


def test_a_check_comes_after_what_it_checks() -> None:
    order = ranked(QUESTION, COT)
    assert order.index("12 + 15 = 27", 1) > order.index("sky")


def test_an_equation_stated_before_its_numbers_counts_where_it_is_grounded() -> None:
    cot = "We want 27 + 4 = 31. He has 12 + 15 = 27. So 27 + 4 = 31."
    units = segment(cot)
    (scores,) = RuleScorer().score([ScoringInput(QUESTION, cot, units)])
    first, second = sorted(range(len(units)), key=lambda at: -scores[at])[:2]
    assert cot[units[first].start : units[second].end] == "12 + 15 = 27. So 27 + 4 = 31"


def test_an_equation_that_arrives_at_1_or_2_is_needed_where_its_result_is_used() -> None:
    cot = "12 / 6 = 2. And 7 + 5 = 12. So 2 * 5 = 10."
    assert ranked("12, 6, 7 and 5", cot)[:3] == ["12 / 6 = 2", "2 * 5 = 10", "7 + 5 = 12"]


def test_what_brings_in_a_number_from_nowhere_comes_with_the_chain_that_rests_on_it() -> None:
    cot = "By the way 12 + 15 = 27. A pack has 7, so 4 * 7 = 28. Then 28 + 12 = 40."
    assert ranked(QUESTION, cot)[:3] == ["4 * 7 = 28", "28 + 12 = 40", "12 + 15 = 27"]


def test_without_a_question_an_equation_counts_where_it_is_first_stated() -> None:
    order = ranked("", "He starts with 12 pens, so 12 + 15 = 27. Check: 12 + 15 = 27, yes. That is 27 / 3 = 9 pens.")
    assert order[:2] == ["12 + 15 = 27", "27 / 3 = 9"]
    assert order.index("12 + 15 = 27", 1) > order.index("starts")


def test_a_number_comes_from_the_grounded_equation_if_there_is_one() -> None:
    cot = "Say 9 * 3 = 27. He has 12 + 15 = 27. Then 27 + 4 = 31."
    order = ranked(QUESTION, cot)
    assert order[:2] == ["12 + 15 = 27", "27 + 4 = 31"]
    assert "9 * 3 = 27" in order[3:]


def test_an_equation_that_only_a_recheck_states_comes_before_words() -> None:
    cot = "He gets 12 + 15 = 27. Wait, check 27 + 4 = 31. So 27."
    assert ranked(QUESTION, cot)[:2] == ["12 + 15 = 27", "27 + 4 = 31"]


def test_a_boxed_answer_is_the_final_result() -> None:
    order = ranked("What is 2 + 3?", "So 2 + 3 = 5, thus \\boxed{5}. I had 7 doubts about 8.")
    assert order[:2] == ["2 + 3 = 5", "\\boxed{5}"]


def test_scores_do_not_depend_on_the_other_items() -> None:
    items = [ScoringInput(QUESTION, COT, segment(COT)), ScoringInput("Q 1?", "1 + 1 = 2", segment("1 + 1 = 2"))]
    assert RuleScorer().score(items) == [RuleScorer().score([item])[0] for item in items]


def test_the_words_of_the_question_steer() -> None:
    cot = "The red door is old and heavy. The blue lamp is new and bright. The wall is high. Nothing else is here."
    for asked, first in (("Tell me of the lamp.", "blue"), ("Tell me of the door.", "red")):
        order = ranked(asked, cot)
        assert order.index(first) < order.index({"blue": "red", "red": "blue"}[first])


@pytest.mark.parametrize(
    ("sentence", "role"),
    [
        ("Wait, no, the town moved it to May.", "correction"),
        ("Actually, the rate is not 5 but 6.", "correction"),
        ("Wait, is it a third of all?", "plan"),
        ("Wait, let me check that again.", "check"),
        ("Warte, der Zug fährt erst um neun.", "correction"),
        ("Korrektur: Es sind nur drei.", "correction"),
        ("Espera, hay siete cajas.", "correction"),
        ("En fait, le médecin est parti.", "correction"),
        ("其实会议是星期四。", "correction"),
        ("違います、棚にあります。", "correction"),
        ("Okay, let me think.", "chatter"),
        ("Hmm.", "chatter"),
        ("I need to find the owner first.", "plan"),
        ("The orange dust confirms rust.", "deduction"),
        ("The spots are consistent with rust.", "deduction"),
        ("But the length of the line is not given.", "gap"),
        ("The two premises contradict each other.", "gap"),
        ("That leaves one basket.", "deduction"),
        ("The basket is red.", "plain"),
        ("所以是小李。", "deduction"),
    ],
)
def test_roles_of_sentences(sentence: str, role: str) -> None:
    assert statement_role(sentence) == role


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["It is hot.", "So it melts.", "I will write that down."], [1]),
        (["The answer is (B).", "It melts.", "Now I need to format my final answer."], [0]),
        (["A melts.", "Option B.", "Let me check again.", "Hmm."], [1]),
        (["<answer>4</answer>"], [0]),
        (["The length is not given.", "The figure is neat."], [0]),
        (["It is hot.", "It melts.", "Hmm."], [1]),
        (["I should ask for the code."], [0]),
    ],
)
def test_the_closing_statement_is_what_answers_or_concludes(texts: list[str], wanted: list[int]) -> None:
    assert closing_sentences(texts, [statement_role(text) for text in texts], computed=False) == wanted


# A pattern that goes back over a long sentence would need hours for these.
@pytest.mark.parametrize(
    "unit", ["let me see ", "so ", "answer , ", "( ", "wait, ", "final answer - ", "now then the ", "1) "]
)
def test_a_hostile_sentence_is_read_in_linear_time(unit: str) -> None:
    text = unit * (60_000 // len(unit)) + "x"
    assert statement_role(text)
    assert len(ranked("Why?", text)) == len(segment(text))


def test_a_text_of_many_sentences_is_ranked_in_near_linear_time() -> None:
    cot = " ".join(f"Item {at} of the list stands in row {at * 7 % 1000}." for at in range(5_000))
    assert len(ranked("Which item?", cot)) == len(segment(cot))


def test_operands_and_results_of_equations() -> None:
    equation = read_equation("12 x $5 = $60", 0)
    assert equation is not None
    assert (equation.operands, equation.results) == ({"12", "5"}, {"60"})
    equation = read_equation("P(C) = 1 - 9/12 = 3/12", 0)
    assert equation is not None
    assert equation.operands >= {"1", "9", "12"}
    assert read_equation("x = y", 0) is None
    assert read_equation("x < 5", 0) is None


def test_two_spellings_of_one_equation_are_the_same() -> None:
    first, second = read_equation("12 x $5 = $60", 0), read_equation("\\(12 \\times 5 = 60\\)", 0)
    assert first is not None
    assert second is not None
    assert first.key == second.key


def test_an_equation_is_grounded_in_the_question_or_an_earlier_one() -> None:
    text = "12 + 15 = 27, 27 + 4 = 31, 88 + 1 = 89, 89 + 4 = 93"
    equations = read_equations(text, segment(text))
    chain = grounded(equations, question_numbers(QUESTION))
    assert [one.key for one in chain] == ["12+15=27", "27+4=31", "89+4=93"]


def test_question_numbers_know_words_and_commas() -> None:
    known = question_numbers("A dozen of 1,200 at 2.50 each, twice a week, 10% off")
    assert {"12", "1200", "2.5", "7", "10", "100", "2"} <= known
    assert numbers_in("007 and .5 and 3.0") == ["7", "0.5", "3"]


def test_a_negated_equation_grounds_nothing() -> None:
    order = ranked("12, 15 and 3", "It is not 12 + 15 = 28. So 28 + 3 = 31. And 12 + 3 = 15.")
    assert order[0] == "12 + 3 = 15"
    assert "not 12 + 15 = 28" in order
