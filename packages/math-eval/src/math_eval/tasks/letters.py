"""Tasks of letters, such as GPQA: options in a shuffled order, whose letter is the answer.

The order of a problem's options depends on `OPTION_SEED` and the problem's id alone, so it is the same in every run and
on every machine. The letter is found and graded like any other answer.

>>> row = {"puzzle": "Two houses.", "question": "Who?", "choices": ["Eric", "Arnold"], "answer": "Eric"}
>>> problem = zebralogic(row, 0)
>>> print(problem["question"], "|", problem["answer"])
Two houses.
<BLANKLINE>
Who?
<BLANKLINE>
A. Arnold
B. Eric
<BLANKLINE>
Answer with the letter of the correct option. | B
"""

import hashlib
import re
from collections.abc import Sequence
from string import ascii_uppercase

from math_eval._shared.records import Row

OPTION_SEED = 0
"""Seed of the orders. Our choice: one for all runs, because two runs are compared on the same problems."""
_OF_OTHERS = re.compile(
    r"\b(?:of|all|none|any) (?:the )?(?:above|below)\b|\b(?:both|neither|either|options?|choices?) \(?[A-J]\b"
    r"|\b[A-J]\)?,? (?:and|or|nor|&) \(?[A-J]\b"
)
"""An option that speaks of others by their letters or places, such as `Both A and B`."""


def gpqa(row: Row, index: int) -> Row:
    """The correct answer and three incorrect ones are fields, so the published rows have no order of options."""
    options = [row["Correct Answer"], *(row[f"Incorrect Answer {number}"] for number in (1, 2, 3))]
    return {
        **_problem(f"gpqa_diamond/{row.get('Record ID', index)}", row["Question"], options, 0),
        **{name: row[name] for name in ("High-level domain", "Subdomain") if row.get(name)},
    }


def mmlu_pro(row: Row, index: int) -> Row:
    """Options keep the published order if one of them speaks of others, since a shuffle would change its meaning."""
    options, right = row["options"], row["answer_index"]
    if row["answer"] != ascii_uppercase[right]:
        raise ValueError(f"answer {row['answer']!r} is not the letter of answer_index {right}")
    return {
        **_problem(
            f"mmlu_pro/{row.get('question_id', index)}",
            row["question"],
            options,
            right,
            keep_order=any(map(_OF_OTHERS.search, options)),
        ),
        **{name: row[name] for name in ("category", "src") if row.get(name)},
    }


def zebralogic(row: Row, index: int) -> Row:
    """The correct option is given by its text."""
    question, right = f"{row['puzzle'].strip()}\n\n{row['question'].strip()}", row["choices"].index(row["answer"])
    return {
        **_problem(f"zebralogic/{index}", question, row["choices"], right),
        **({"puzzle": row["id"]} if "id" in row else {}),
    }


def _problem(name: str, question: str, options: Sequence[str], right: int, *, keep_order: bool = False) -> Row:
    """The problem of some options, of which number `right` is correct."""
    order = list(range(len(options))) if keep_order else sorted(range(len(options)), key=lambda one: _rank(name, one))
    lines = [f"{letter}. {options[one].strip()}" for letter, one in zip(ascii_uppercase, order, strict=False)]
    return {
        "id": name,
        "question": "\n\n".join([question.strip(), "\n".join(lines), "Answer with the letter of the correct option."]),
        "answer": ascii_uppercase[order.index(right)],
        "shuffled": not keep_order,
    }


def _rank(name: str, option: int) -> str:
    return hashlib.sha256(f"{OPTION_SEED}/{name}/{option}".encode()).hexdigest()
