r"""The final answer in a completion, as text. Reading and comparing it is left to other modules.

Only text after the thinking counts (`final_text`). The answer is the first of these:

1. the content of the last `<answer>` tag, in which the same rules apply, unless a box follows;
2. the last balanced `\boxed{…}`, unless a phrase after it states an option, a number or a formula (`boxes`);
3. the text after the last "answer is", or the same in another language (`phrases`);
4. the text after the last "answer:";
5. the text after the last `####`;
6. the whole text, if it is one line of mathematics without words;
7. the last formula or number.

A completion whose only box is never closed has no answer, because a number in it may be incomplete.

>>> print(extract_answer(r"<think>\boxed{1}</think>So it is \boxed{\frac{1}{2}}."))
\frac{1}{2}
>>> print(extract_answer(r"<think>It must be \boxed{1}"))
None
"""

import re

from .boxes import boxed_answer, last_box_end, with_braces
from .final_text import final_text
from .phrases import final_formula, is_bare, last_formulas, later_answer, stated_answer, tagged_answer, without_tags

_FIRST_BOX = re.compile(r"\\boxed\s*\{([^}]*)\}", re.IGNORECASE)
_OPEN_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_MAX_PARTS = 8
_SIGN_BEFORE = re.compile(r"(?:=>|=|→|⇒|⟹|:)\s*")


def extract_answer(completion: str, prompt: str = "", parts: int = 1, *, ordered: bool = False) -> str | None:
    """The answer of a completion, or None.

    Args:
        completion: All generated text.
        prompt: The rendered prompt; if it ends in `<think>`, the completion begins inside the thinking block.
        parts: Number of requested answers; up to this number of boxes or formulas in one sentence are one list.
        ordered: Whether these answers are a tuple.
    """
    text = final_text(completion, prompt)
    if text is None:
        return None
    text = with_braces(text).strip()
    tagged = tagged_answer(text) if "<" in text else None
    if tagged is not None and text.rfind(tagged) >= last_box_end(text) - len(tagged):
        found = _untagged(tagged, parts, ordered)
        return tagged if found is None and "\n" not in tagged and "boxed" not in tagged else found
    return _untagged(without_tags(text).strip(), parts, ordered)


def _untagged(text: str, parts: int, ordered: bool) -> str | None:
    end = last_box_end(text)
    if formula := final_formula(text, max(end, text.rfind(r"\boxed"), text.rfind(r"\fbox"))):
        return formula
    if end >= 0 and (later := later_answer(text[end + 1 :])):
        return later
    boxed, unclosed = boxed_answer(text, parts, ordered=ordered)
    if boxed is not None or unclosed:
        return (boxed or "").strip() or None
    if stated := stated_answer(text, parts):
        return stated
    if sign := _SIGN_BEFORE.match(text):
        text = text[sign.end() :]
    return text if is_bare(text) else last_formulas(text, parts)


def sentence_answer(sentence: str, parts: int = 1) -> str | None:
    """The answer of one sentence of a thinking text, or None.

    Args:
        sentence: The sentence.
        parts: Number of requested answers.
    """
    return _untagged(with_braces(sentence).strip(), parts, ordered=False)


def extract_reference(completion: str) -> str | None:
    r"""The answer that the evaluation script of the Extra-CoT paper finds, for comparison with its figures.

    It is the text from the first `\boxed{`, thinking included, to the next `}`: `\boxed{\frac{1}{2}}` gives `\frac{1`.
    """
    match = _FIRST_BOX.search(completion)
    return (match[1].strip() or None) if match else None


def reference_answer(gold: str) -> str:
    """The answer in a reference or solution: its last boxes, its final formula, the text after `####`, or all."""
    boxed, unclosed = boxed_answer(gold, _MAX_PARTS)
    if boxed:
        return boxed
    if unclosed:
        return _OPEN_BOX.split(with_braces(gold))[-1].strip()
    return final_formula(gold, -1) or gold.rpartition("####")[2].strip()
