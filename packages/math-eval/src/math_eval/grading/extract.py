r"""The final answer in a completion, as text. Parsing and comparing it is left to other modules.

Only text after the thinking block counts; further thinking blocks are skipped. The answer is the first of these:

1. the last balanced `\boxed{…}`, unless "final answer is" with a formula between delimiters comes later. Of nested
   boxes the inner one counts, and an empty box is not an answer. Boxes with nothing but a comma, "and" or "or" between
   them are one list; so are boxes of one sentence if several answers are requested;
2. the text after the last "final answer is" or "answer is";
3. the text after the last "answer:";
4. the text after the last `####`;
5. the whole text, if it is one line of mathematics without words;
6. the last formula or number.

A completion whose only box is never closed has no answer, because a number in it may be incomplete.

>>> print(extract_answer(r"<think>\boxed{1}</think>So it is \boxed{\frac{1}{2}}."))
\frac{1}{2}
>>> print(extract_answer(r"<think>It must be \boxed{1}"))
None
"""

import re

from math_eval._shared.boxed import find_boxes
from math_eval._shared.thinking import CLOSE, OPEN, split_thinking

_PHRASES = (
    re.compile(r"\banswer[ *]{0,4}(?:is(?!n['’]t)|=)[ *]{0,4}:?", re.IGNORECASE),
    re.compile(r"\banswer[ *]{0,4}:", re.IGNORECASE),
    re.compile(r"####"),
)
_FINAL = re.compile(r"\bfinal answer is:?\s*(?=\$|\\[(\[])", re.IGNORECASE)
_FIRST_BOX = re.compile(r"\\boxed\s*\{([^}]*)\}", re.IGNORECASE)
_FURTHER_THINKING = re.compile(f"{OPEN}.*?(?:{CLOSE}|\\Z)", re.DOTALL)
_TAG = re.compile(r"</?answer>")
_NUMBER = re.compile(
    r"(?:(?<![\w)\]}.])[-−])?\\?\$?(?:\d+,\d{1,2}(?![\d,])|\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?:/\d+)?\\?%?"
)
_MATH_SPAN = re.compile(
    r"\$\$([^$]+)\$\$|(?<!\\)\$(?=\S)([^$\n]*[^$\s])\$(?!\d)|(?<!\\)\$[ \t]((?:\\\$|[^$\n])+)[ \t]\$(?!\d)"
    r"|\\\(((?:(?!\\[()]).)+)\\\)|\\\[((?:(?!\\[\[\]]).)+)\\\]",
    re.DOTALL,
)
_COMMAND = re.compile(r"\\(?:text|mathrm|mbox)\s*\{[^{}]*\}|\\[A-Za-z]+|sqrt|sin|cos|tan|log|ln|exp|pi")
_WORD = re.compile(r"[A-Za-z]{2,}")
_BARE_CHARS = 400
_VARIABLE = re.compile(r"[A-Za-z]\w*")
_JOINER = re.compile(r"[\s$,]|\\[()]|\\q?quad|\\,|\\text\s*\{\s*(?:and|or)\s*\}|\b(?:and|or)\b")
_APART = re.compile(r"[.;\n](?!\d)")
_MIN_PROSE_WORDS = 5
_MAX_LINK_WORDS = 4
_MAX_PARTS = 8
_SENTENCE_END = re.compile(r"[.?](?=\s|$)|(?<=[A-Za-z])!(?=\s|$)|[;\n]")


def extract_answer(completion: str, prompt: str = "", parts: int = 1) -> str | None:
    """The answer of a completion, or None.

    Args:
        completion: All generated text.
        prompt: The rendered prompt; if it ends in `<think>`, the completion begins inside the thinking block.
        parts: Number of requested answers; up to this number of boxes in one sentence are one list.
    """
    thinking = split_thinking(completion, prompt)
    if not thinking.closed:
        return None
    answer = _TAG.sub(" ", _FURTHER_THINKING.sub("", thinking.answer)).strip()
    finals = list(_FINAL.finditer(answer))
    if finals and finals[-1].start() > max(answer.rfind(r"\boxed"), answer.rfind(r"\fbox")):
        formula = _MATH_SPAN.match(answer, finals[-1].end())
        if formula:
            return _inside(formula)
    boxed, unclosed = boxed_answer(answer, parts)
    if boxed is not None or unclosed:
        return (boxed or "").strip() or None
    for phrase in _PHRASES:
        ends = [match.end() for match in phrase.finditer(answer)]
        if ends and (found := _trim(answer[ends[-1] :].lstrip().partition("\n")[0])):
            return found
    return answer if _is_bare(answer) else _last_formula(answer)


def extract_reference(completion: str) -> str | None:
    r"""The answer that the evaluation script of the Extra-CoT paper finds, for comparison with its figures.

    It is the text from the first `\boxed{`, thinking included, to the next `}`: `\boxed{\frac{1}{2}}` gives `\frac{1`.
    """
    match = _FIRST_BOX.search(completion)
    return (match[1].strip() or None) if match else None


def reference_answer(gold: str) -> str:
    """The answer in a reference or solution: its last box or boxes, the text after `####`, or all of it."""
    return boxed_answer(gold, _MAX_PARTS)[0] or gold.rpartition("####")[2].strip()


def _is_bare(text: str) -> bool:
    """Whether the text is only an answer: one short line that is a single word or contains no words."""
    if not text or len(text) > _BARE_CHARS or "\n" in text:
        return False
    return not text.split()[1:] or not _WORD.search(_COMMAND.sub(" ", text))


def _last_formula(text: str) -> str | None:
    """The last formula between delimiters (a single name does not count), or the last number, if it comes later.

    A dollar sign is a delimiter under Pandoc's rules: no space on its inner side, and no digit after the closing one,
    so prices are not formulas.
    """
    spans = [span for span in _MATH_SPAN.finditer(text) if not _VARIABLE.fullmatch(_inside(span))]
    start = spans[-1].end() if spans else 0
    numbers = _NUMBER.findall(text, start)
    if numbers:
        return numbers[-1]
    return _inside(spans[-1]) if spans else None


def _inside(span: re.Match[str]) -> str:
    return next(filter(None, span.groups())).strip()


def boxed_answer(text: str, parts: int = 1) -> tuple[str | None, bool]:
    r"""The content of the last balanced `\boxed{…}` or list of boxes, and, if there is none, whether one is unclosed.

    Args:
        text: Text with boxes.
        parts: Number of requested answers; up to this number of boxes in one sentence are one list, whatever is between
            them.
    """
    boxes, unclosed = find_boxes(text)
    if not boxes:
        return None, unclosed
    last = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        between = text[box.end + 1 : last[-1].opening]
        joined = re.search(",|and|or", between) and not _JOINER.sub("", between)
        if not joined and (len(last) >= parts or not _is_short(between)):
            break
        last.append(box)
    if len(last) == 1:
        return text[last[0].start : last[0].end], False
    contents = dict.fromkeys(text[box.start : box.end].strip() for box in reversed(last))
    return ", ".join(filter(None, contents)), False


def _is_short(link: str) -> bool:
    """Whether two boxes with this text between them belong together: it has few words and ends no sentence."""
    return not _APART.search(link) and len(_WORD.findall(_COMMAND.sub(" ", link))) <= _MAX_LINK_WORDS


def _trim(text: str) -> str:
    """The answer after an answer phrase: the formula that the text begins with, or the text to the sentence's end."""
    text = text.strip().strip("*_ \t")
    formula = _MATH_SPAN.match(text)
    if formula:
        return _inside(formula)
    sentence = _SENTENCE_END.split(text, maxsplit=1)[0].strip().strip("*_` \t:,")
    if not _WORD.match(sentence):
        return sentence
    numbers = _NUMBER.findall(sentence)
    if len(numbers) == 1 and " is " not in sentence and len(_WORD.findall(sentence)) >= _MIN_PROSE_WORDS:
        return numbers[0]
    return sentence.rpartition(" is ")[2].strip()
