r"""The form that an answer must have after the thinking: one box, one answer tag, anything, or a rule of one's own.

Whether the answer is correct is left to the grader, reading the thinking to `rollout`.

>>> answer_check("boxed")(r"So it is \boxed{27}."), answer_check("answer-tag")("<answer>B</answer>")
(True, True)
>>> answer_check(lambda text: text.endswith("END"))("do it END")
True
"""

from collections.abc import Callable

import numpy as np

from ._shared.boxed import find_boxes
from ._shared.thinking import split_thinking
from .errors import ChrpoError, DataError
from .grader import Grader, grade, same_answer
from .grading import function_name

AnswerFormat = str | Callable[[str], bool]
"""A name in `ANSWER_FORMATS`, or a function of the text after the thinking -> True if it has the right form."""

_OPEN, _CLOSE = "<answer>", "</answer>"


def _has_one_box(text: str) -> bool:
    return len({text[box.start : box.end].strip() for box in find_boxes(text)[0]}) == 1


def _tagged(text: str) -> list[str]:
    """The contents of the answer tags; one that is not closed has none."""
    found: list[str] = []
    end = 0
    while (start := text.find(_OPEN, end)) >= 0 and (close := text.find(_CLOSE, start + len(_OPEN))) >= 0:
        found.append(text[start + len(_OPEN) : close].strip())
        end = close + len(_CLOSE)
    return found


def _has_one_tag(text: str) -> bool:
    return len(set(_tagged(text))) == 1


def _has_text(text: str) -> bool:
    return bool(text.strip())


ANSWER_FORMATS = {"boxed": _has_one_box, "answer-tag": _has_one_tag, "any": _has_text}
r"""`boxed`: one `\boxed{}`; `answer-tag`: one `<answer>…</answer>`; `any`: some text. Equal answers count once."""

DESCRIPTIONS = {
    "boxed": r"one answer in \boxed{}",
    "answer-tag": "one answer in <answer></answer>",
    "any": "some text",
}


def answer_check(answer_format: AnswerFormat) -> Callable[[str], bool]:
    """The function that decides whether the text after the thinking has the right form.

    Raises:
        DataError: the name is unknown.
        ChrpoError: raised by the function: one of yours returned no bool.
    """
    if isinstance(answer_format, str):
        if answer_format not in ANSWER_FORMATS:
            known = ", ".join(ANSWER_FORMATS)
            raise DataError(f"format {answer_format!r} is unknown; name one of {known}, or a function of the text")
        return ANSWER_FORMATS[answer_format]

    def check(text: str) -> bool:
        found = answer_format(text)
        if not isinstance(found, bool | np.bool_):
            raise ChrpoError(
                f"format {format_name(answer_format)} returned {found!r} for {text[:80]!r}; return True or False"
            )
        return bool(found)

    return check


def format_name(answer_format: AnswerFormat) -> str:
    """The name of a format, or the place of the function."""
    return answer_format if isinstance(answer_format, str) else function_name(answer_format)


def default_grader(answer_format: AnswerFormat) -> Grader:
    """The grader of answers whose place follows from the format.

    Raises:
        DataError: the place of the answer does not follow from the format.
    """
    graders = {"boxed": grade, "answer-tag": grade_tagged}
    name = format_name(answer_format)
    if name not in graders:
        raise DataError(
            f"format {name} does not tell where the answer is; give a grader, too (--grader MODULE:FUNCTION)"
        )
    return graders[name]


def grade_tagged(completion: str, answer: str) -> bool:
    """True if the last `<answer>` after the thinking block contains the reference answer.

    Args:
        completion: Text of the completion, with its thinking block.
        answer: Reference answer.

    >>> grade_tagged("<think>1 + 1 = 2</think><answer>1/2</answer>", "0.5")
    True
    """
    found = _tagged(split_thinking(completion).answer)
    return bool(found) and same_answer(found[-1], answer)
