"""The scorer without a model, for any domain: the conclusion, the chain of equations, then the sentences that say most.

Units are sorted into tiers, in this order:

0. the JSON that ends the text; otherwise the chain: each equation that the final result depends on, once, where it is
   first stated (`chain.py`), unless it arrives at no number of the closing statement;
1. the closing statement: what gives the answer or draws the conclusion (`statements.py`);
2. other grounded equations, and those that occur only in a re-check;
3. the closing statement of a computation, if it is more than a twentieth of the text; a box or an answer in a tag stays
   in tier 1;
4. sentences, by what they add per token to what a final solution is likely to say (`likely_items`); deductions,
   corrections (above all those that deny something), gaps that the text points out, the end of the text and the
   sentence before a closing statement, which often is its reason, come earlier, plans and checks later;
5. sentences that add nothing, chatter, claims that a correction replaces, repetitions.

All words of a sentence have one score, so the selection takes sentences whole; an equation may stand alone.

>>> from cot_compressor.text.segment import segment
>>> text = "Okay. So 12 + 15 = 27."
>>> RuleScorer().score([ScoringInput("What is 12 + 15?", text, segment(text))])
[[-5.333333333333333, -5.333333333333333, -3.0, 0.0, -3.0]]
"""

import heapq
import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from cot_compressor.text.content import item_weight, read_items, words_and_numbers
from cot_compressor.text.literals import final_json
from cot_compressor.text.parts import ANSWERS, NEGATION
from cot_compressor.text.segment import Unit

from .base import ScoringInput
from .chain import arrives, ranked_equations
from .statements import OPTION, Role, closing_sentences, statement_role

_ROLE_WEIGHTS: dict[Role, float] = {
    "correction": 1.3,
    "gap": 1.3,
    "deduction": 1.2,
    "plain": 1.0,
    "plan": 0.6,
    "check": 0.5,
    "chatter": 0.1,
}
_LATE_SHARE = 0.15
_LATE_WEIGHT = 2.0
_REASON_WEIGHT = 1.5
_UNIT = 1_000_000
"""What 1 is as a whole number: sums of whole numbers do not depend on the order of a set."""
_COST_POWER = 0.7
_COST_START = 12
_REPLACED_REACH, _CORRECTION_REACH = 4, 3
_FEWEST_SAID = 3
_LONG_CLOSING = 0.05
_FEWEST_EQUATIONS = 2
_MARKS = re.compile(r"^\s*(?:[-•>]|\d{1,4}[.)])\s|[.,;:!?…\"'“”„«»‘’*_`。，、；：！？「」]")
_BEHIND, _CLOSING, _OTHERS, _LATE, _SENTENCE, _LAST = range(6)


class _Sentence(NamedTuple):
    units: list[int]
    text: str
    items: set[str]
    role: Role


class RuleScorer:
    """Scores units in the order of this module; needs no model and no tokenizer."""

    name = "rules"

    def score(self, items: Sequence[ScoringInput]) -> list[list[float]]:
        """See `Scorer.score`."""
        return [score_by_rules(item) for item in items]


def score_by_rules(item: ScoringInput, relevance: Sequence[float] | None = None) -> list[float]:
    """A score for each unit, as this module describes.

    Args:
        item: The text.
        relevance: A factor, at least 0, for each unit: what its sentence adds counts that many times. Only the order
            within tiers 4 and 5 depends on it.
    """
    text, units = item.cot, item.units
    sentences = _read_sentences(text, units)
    checks = {units[each.units[0]].step for each in sentences if each.role == "check"}
    behind, others = ranked_equations(item.question, text, units, checks)
    roles: list[Role] = [each.role for each in sentences]
    low, high = final_json(text) or (len(text), len(text))
    answer = [at for at, each in enumerate(sentences) if low <= units[each.units[0]].start < high]
    closing = closing_sentences([each.text for each in sentences], roles, computed=bool(behind))
    closing = [at for at in closing if at not in answer]
    final = [*answer, *closing]
    equations = {at: read_items(text, [units[at]]) for at in (*behind, *others)}
    factors = [relevance[each.units[0]] for each in sentences] if relevance else [1.0] * len(sentences)
    order = _by_gain(sentences, final, equations, likely_items(item.question, sentences, final), factors)
    scores = [0.0] * len(units)
    for place, (at, adds) in enumerate(order):
        for unit in sentences[at].units:
            scores[unit] = -(_SENTENCE if adds else _LAST) - (place + 1) / (len(order) + 2)
    stated = sentences[closing[0]] if closing else None
    arrived = not stated or (arrives(text, units, behind, stated.units) and not OPTION.search(stated.text))
    if answer or not arrived:
        behind, others = [], [*behind, *others]
    # A long statement must not push the computation out of a short text; the chain has the result already.
    computes = arrived and (behind or len(others) >= _FEWEST_EQUATIONS)
    long = computes and sum(len(sentences[at].text) for at in closing) > _LONG_CLOSING * len(text)
    for place, at in enumerate(closing):
        for unit in sentences[at].units:
            late = long and not text.startswith(ANSWERS, units[unit].start)
            scores[unit] = -(_LATE if late else _CLOSING) - place / 8
    for at in answer:
        for unit in sentences[at].units:
            scores[unit] = -float(_BEHIND)
    for tier, ranked in ((_BEHIND, behind), (_OTHERS, others)):
        for place, unit in enumerate(ranked):
            scores[unit] = max(scores[unit], -tier - place / (len(ranked) + 1))
    return scores


def _read_sentences(text: str, units: Sequence[Unit]) -> list[_Sentence]:
    found: list[_Sentence] = []
    for _, group in groupby(range(len(units)), key=lambda at: units[at].step):
        inside = list(group)
        said = text[units[inside[0]].start : units[inside[-1]].end]
        items = read_items(text, [units[at] for at in inside])
        found.append(_Sentence(inside, said, items, statement_role(said)))
    return found


def likely_items(question: str, sentences: Sequence[_Sentence], closing: Sequence[int]) -> dict[str, int]:
    """How likely each content item of the text is in a final solution, times what the item is worth, in millionths.

    The logarithm of the odds is 0.4 + 1.0 if the question contains the item + 0.5 if a closing statement does
    + 0.8 for a number + 1.15 ln(number of sentences with it) - 0.6 ln(number of sentences). Our choice: fitted to 450
    traces of mathematics and other domains and the responses that followed them; a formula is worth 3, a number 1.5.
    """
    asked = words_and_numbers(question)
    closed = set[str]().union(*(sentences[at].items for at in closing))
    counts = Counter(item for sentence in sentences for item in sentence.items)
    length = 0.6 * math.log(max(1, len(sentences)))
    worth: dict[str, int] = {}
    for item, count in counts.items():
        odds = 0.4 + 1.15 * math.log(count) - length + (item in asked) + 0.5 * (item in closed)
        worth[item] = round(_UNIT * item_weight(item) / (1 + math.exp(-odds - 0.8 * item[0].isdigit())))
    return worth


def _by_gain(
    sentences: Sequence[_Sentence],
    closing: Sequence[int],
    equations: dict[int, set[str]],
    worth: dict[str, int],
    factors: Sequence[float],
) -> list[tuple[int, bool]]:
    """Sentences outside the closing statement in the order in which they add most per token, and whether they add.

    A sentence without the first statement of an equation adds nothing by repeating one. Last come those that add
    nothing, chatter, what a correction replaces, and repetitions.
    """
    covered = set[str]().union(*(sentences[at].items for at in closing))
    stated = set[str]().union(*equations.values())
    left = [each.items if equations.keys() & each.units else each.items - stated for each in sentences]
    replaced = _replaced(sentences)
    corrections = set[int]().union(*replaced.values())
    sentences = [each._replace(role="correction") if at in corrections else each for at, each in enumerate(sentences)]
    weights = [factors[at] * _weight(sentence, at / len(sentences)) for at, sentence in enumerate(sentences)]
    denials = (at for at in corrections if NEGATION.search(sentences[at].text))
    for at in {*(max(0, at - 1) for at in closing), *denials}:
        weights[at] *= _REASON_WEIGHT

    def gain(at: int) -> float:
        left[at] = left[at] - covered
        return weights[at] * sum(map(worth.__getitem__, left[at]))

    said = {_key(sentences[at]) for at in closing}
    queue: list[tuple[float, int, int]] = []
    last: list[tuple[int, int]] = []
    for at, sentence in enumerate(sentences):
        if at in closing:
            continue
        if (key := _key(sentence)) in said:
            last.append((3, at))
        elif at in replaced or sentence.role == "chatter":
            last.append((2, at) if at in replaced else (1, at))
        else:
            queue.append((-gain(at), at, 0))
        said.add(key)
    heapq.heapify(queue)
    order: list[tuple[int, bool]] = []
    while queue:
        value, at, seen = heapq.heappop(queue)
        if seen == len(order):
            if value == 0:
                last.append((0, at))
                continue
            order.append((at, True))
            covered |= sentences[at].items
        else:
            # The gain was computed before the last sentences were taken; it can only have become smaller.
            heapq.heappush(queue, (-gain(at), at, len(order)))
    return order + [(at, False) for _, at in sorted(last)]


def _key(sentence: _Sentence) -> str:
    """A spelling that is the same for repetitions of a sentence, whatever their capitals and marks."""
    return " ".join(_MARKS.sub(" ", sentence.text.lower()).split())


def _weight(sentence: _Sentence, place: float) -> float:
    """The weight of what a sentence adds: by its role, its place (the last sentences conclude) and its characters."""
    late = _LATE_WEIGHT if place >= 1 - _LATE_SHARE else 1.0
    return late * _ROLE_WEIGHTS[sentence.role] / (len(sentence.text) + _COST_START) ** _COST_POWER


def _replaced(sentences: Sequence[_Sentence]) -> dict[int, list[int]]:
    """Index of a sentence -> indices of those that correct it: it is, of the few before a correction, the most like it.

    A correction with hardly any content (`Wait, no.`) is followed by what it means. Any may be followed by a denial.
    """
    found: dict[int, list[int]] = {}
    for at, sentence in enumerate(sentences):
        if sentence.role != "correction":
            continue
        near, after = range(max(0, at - _REPLACED_REACH), at), range(at, min(at + _CORRECTION_REACH, len(sentences)))
        for said in after if len(sentence.items) < _FEWEST_SAID else [at]:
            likeness = {before: len(sentences[before].items & sentences[said].items) for before in near}
            best = max(likeness, key=lambda before: (likeness[before], before), default=None)
            if best is not None and likeness[best] >= (1 if said == at else 2):
                more = (later for later in after if later > said and NEGATION.search(sentences[later].text))
                found[best] = [said, *(later for later in more if sentences[best].items & sentences[later].items)]
                break
    return found
