"""Groups units into the parts that are chosen whole: sentences, their clauses, formulas that can stand alone, phrases.

A clause ends before `but`, `so`, `because` and the like, never before a condition, which would change its meaning; one
that begins with `because`, `which` or the like is not chosen alone. A formula can stand alone between words and marks
if its clause does not deny it. A phrase is cut before an article, a preposition or a conjunction, from clauses without
negation. What a unit needs beside it comes with it: a row of a table its header, a line of code its fences, a line of
the JSON that ends a text the other lines. Choosing parts is left to `budget/select.py`.

>>> from cot_compressor.text.segment import segment
>>> text = "The red one is left, so Noor packed it."
>>> units = segment(text)
>>> [text[units[part[0]].start : units[part[-1]].end] for part in read_parts(text, units).clauses]
['The red one is left', 'so Noor packed it.']
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from .content import words_and_numbers
from .formulas import word_set
from .literals import final_json
from .relations import read_equation, states_relation
from .segment import Unit
from .tokens import CJK, code_blocks

Part = tuple[int, ...]
_CONNECTIVES = word_set(
    "but so and therefore thus hence because since while whereas which yet however meaning giving making leaving "
    "aber also denn weil und sondern daher deshalb mais donc car et puisque pero así porque y entonces sino luego"
)
_UNMARKED = word_set("because but whereas therefore")
"""Connectives that begin a clause without a comma before them."""
_SUBORDINATE = word_set("because since while whereas which weil car puisque porque")
"""Connectives of a clause that says nothing without the one before it."""
_FUNCTION_WORDS = word_set(
    "a an the and or but so to of in for from at by with on as that this these those which who if "
    "when where while than "
    "into over under after before between about because is are was were be will would can could should must may might "
    "has have had do does did it its he she they we you i there then just now also"
)
_SAY_NOTHING_ALONE = word_set(
    "hmm yes first second next last finally still only need needs use using try let's there's that's they're i'd i'll "
    "i've we'll you're similarly alternatively however e.g i.e etc"
)
NEGATION = re.compile(
    r"\b(?:not|no|never|none|neither|nor|cannot|without|unless|except|nicht|kein\w*|nie|niemals|ohne|ne|pas|jamais|sans|"
    r"aucun\w*|rien|nunca|sin|ning[uú]n\w*|ni|tampoco|nada)\b|n['’]t\b|\bn['’](?=\w)|[不没無无未非]|な[いく]|ません",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"\b(?:if|unless|suppose|assum\w+|let|wenn|falls|si|cuando)\b|如果|假设|要是|只有|只要|もし|なら|れば|たら",
    re.IGNORECASE,
)
_CLAUSE_MARKS = frozenset([",", ";", "—", "–", "；", "，"])
_FEWEST_UNITS = 3
_CJK_RUN = re.compile(f"[{CJK}]{{4,}}")
_DIVIDED = re.compile(r"[,;—–；，]|\b(?:because|but|whereas|therefore)\b")
_OPENING = {"(": 1, "[": 1, "{": 1, "“": 1, "（": 1, "「": 1, ")": -1, "]": -1, "}": -1, "”": -1, "）": -1, "」": -1}
_LETTER = r"[^\W\d_₀-₉⁰-⁹²³¹]"
_BEFORE_FORMULA = re.compile(
    rf"(?:{_LETTER}{{2,}}|\w['’][a-z]{{1,2}}|[,.:;!?>|•。，；：（“\"]|=?\s?[$€£]?<<|(?:^|\n)\s*[-*+]?)[\s$*`\"“(]*\Z"
)
_AFTER_FORMULA = re.compile(
    rf"[$*`\"”]*(?:\Z|\s*\n|\s*[,.:;!?|。，；）)](?![\d.])|>>|\s+\(?(?:\d+-)?{_LETTER}{{2,}}(?![\w/(^=*·]))"
)
_REACH = 24
ANSWERS = ("\\boxed", "<answer>", "$\\boxed", "\\[\\boxed", "\\(\\boxed", "$$\\boxed")
"""Beginnings of a formula or tag that is the answer, which can stand alone."""


class Parts(NamedTuple):
    """What can be chosen whole; each part is the rising indices of its units."""

    sentences: list[Part]
    clauses: list[Part]
    """Clauses of sentences that have several, but no subordinate ones; a mark between two belongs to neither."""
    formulas: list[Part]
    divided: list[list[int]]
    """The clauses of all sentences, from which phrases can be taken."""


def read_parts(text: str, units: Sequence[Unit]) -> Parts:
    """All parts of a text.

    Args:
        text: The source.
        units: Its units, from `segment`.
    """
    needed = _companions(text, units)
    found = Parts([], [], [], [])
    for _, group in groupby(range(len(units)), key=lambda at: units[at].step):
        sentence = list(group)
        if all(at in needed[at] if at in needed else units[at].kind == "punctuation" for at in sentence):
            continue
        found.sentences.append(_with(sentence, needed))
        if sentence[0] in needed:
            found.clauses.extend(_with([at], needed) for at in sentence if len(sentence) > 1)
            continue
        divided = _DIVIDED.search(text, units[sentence[0]].start, units[sentence[-1]].end)
        clauses = list(_clauses(text, units, sentence)) if divided else [sentence]
        if len(clauses) > 1:
            found.clauses.extend(
                _with(clause, needed) for clause in clauses if not _is_subordinate(text, units, clause)
            )
        for clause in clauses:
            formulas = [at for at in clause if units[at].kind == "math" or text[units[at].start] == "<"]
            if formulas:
                denied = _denied(text, units, clause)
                found.formulas.extend(_with([at], needed) for at in formulas if _stands_alone(text, units[at], denied))
        found.divided.extend(clauses)
    return found


def is_content(text: str, unit: Unit) -> bool:
    """True for a word that has a meaning by itself: no function word, negation, number, mark or line of a table."""
    said = text[unit.start : unit.end]
    return (
        unit.kind == "word"
        and said[0] not in "|`<"
        and said.lower() not in _FUNCTION_WORDS
        and said.lower() not in _SAY_NOTHING_ALONE
        and bool(words_and_numbers(said))
        and NEGATION.search(said) is None
    )


def _is_subordinate(text: str, units: Sequence[Unit], clause: Sequence[int]) -> bool:
    """True for a clause that begins with a connective of a subordinate clause."""
    first = units[clause[0]]
    return text[first.start : first.end].lower() in _SUBORDINATE


def _denied(text: str, units: Sequence[Unit], clause: Sequence[int]) -> bool:
    """True if a clause contains a negation."""
    return NEGATION.search(text[units[clause[0]].start : units[clause[-1]].end]) is not None


def _with(part: Sequence[int], needed: dict[int, Part]) -> Part:
    """A part and the units that it needs beside it."""
    more = [other for at in part for other in needed.get(at, ())] if needed else []
    return tuple(sorted({*part, *more})) if more else tuple(part)


def _companions(text: str, units: Sequence[Unit]) -> dict[int, Part]:
    """Index of a unit -> indices of the units that are kept with it: a table's header, the fences of a code block."""
    needed: dict[int, Part] = {}
    if "```" in text:
        at = 0
        for start, end in code_blocks(text):
            inside: list[int] = []
            while at < len(units) and units[at].start < end:
                if units[at].start >= start:
                    inside.append(at)
                at += 1
            needed |= dict.fromkeys(inside, tuple(inside[:1] + inside[-1:]))
    if block := final_json(text):
        low, high = (bisect_left(units, offset, key=lambda unit: unit.start) for offset in block)
        answer = tuple(range(low, high))
        needed |= {**dict.fromkeys(answer, answer), low: answer[1:]}
    if "|" in text:
        rows = [
            at for at, unit in enumerate(units) if unit.kind == "word" and text[unit.start] == text[unit.end - 1] == "|"
        ]
        for _, group in groupby(enumerate(rows), key=lambda pair: pair[1] - pair[0]):
            table = [at for _, at in group]
            has_rule = len(table) > 1 and not any(map(str.isalnum, text[units[table[1]].start : units[table[1]].end]))
            needed |= dict.fromkeys(table, tuple(table[: 1 + has_rule]))
    return needed


def _is_clause(units: Sequence[Unit], rest: Sequence[int]) -> bool:
    """Whether the rest of a sentence is long enough: `and 33 + 9 = 42.` is, `and quinces.` ends a list."""
    return len(rest) > _FEWEST_UNITS or (len(rest) == _FEWEST_UNITS and units[rest[1]].kind == "math")


def _clauses(text: str, units: Sequence[Unit], sentence: Sequence[int]) -> Iterator[list[int]]:
    """The clauses of a sentence, without the marks between them."""
    clause: list[int] = []
    depth = 0
    for place, at in enumerate(sentence):
        said = text[units[at].start : units[at].end]
        depth = max(0, depth + _OPENING.get(said, 0))
        if depth == 0 and len(clause) >= _FEWEST_UNITS and _is_clause(units, sentence[place + 1 :]):
            follower = text[units[sentence[place + 1]].start : units[sentence[place + 1]].end]
            if said in _CLAUSE_MARKS and (said in ";；—" or follower.lower() in _CONNECTIVES):
                yield clause
                clause = []
                continue
            if said in _UNMARKED and units[clause[-1]].kind != "punctuation":
                yield clause
                clause = []
        clause.append(at)
    if clause:
        yield clause


def _stands_alone(text: str, unit: Unit, denied: bool) -> bool:
    """True for a formula that is whole by itself and that its clause does not deny, and for a box or tagged answer."""
    formula = text[unit.start : unit.end]
    if formula.startswith(ANSWERS):
        return True
    if unit.kind != "math":
        return False
    if not states_relation(formula) or (denied and read_equation(formula, 0) is None):
        return False
    before, after = text[max(0, unit.start - _REACH) : unit.start], text[unit.end : unit.end + _REACH]
    bracketed = formula[0] == "(" and formula[-1] == ")"
    return (bracketed or _BEFORE_FORMULA.search(before) is not None) and _AFTER_FORMULA.match(after) is not None


def _is_phrase(text: str, units: Sequence[Unit], phrase: Sequence[int]) -> bool:
    """Whether units are enough for a phrase: two, or a run of Chinese or Japanese, whose words have no spaces."""
    return len(phrase) > 1 or _CJK_RUN.match(text, units[phrase[0]].start) is not None


def phrases(text: str, units: Sequence[Unit], clauses: Iterable[Sequence[int]]) -> Iterator[Part]:
    """The phrases of some clauses: from a function word to the next one behind a content word."""
    for clause in clauses:
        if _denied(text, units, clause) or _CONDITION.search(text, units[clause[0]].start, units[clause[-1]].end):
            continue
        phrase: list[int] = []
        filled = False
        for at in clause:
            said = text[units[at].start : units[at].end]
            mark = units[at].kind == "punctuation"
            if filled and (mark or said.lower() in _FUNCTION_WORDS):
                if _is_phrase(text, units, phrase):
                    yield tuple(phrase)
                phrase, filled = [], False
            elif mark:
                phrase = []
            if not mark:
                phrase.append(at)
                filled = filled or units[at].kind == "math" or is_content(text, units[at])
        if filled and _is_phrase(text, units, phrase):
            yield tuple(phrase)
