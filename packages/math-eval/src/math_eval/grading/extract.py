r"""The final answer in a completion, as text.

Only what follows the thinking block counts (further blocks after it are skipped); nothing is parsed or compared here.
In this order:

1. the last balanced `\boxed{…}` (the inner one of nested boxes; an empty box is no answer),
2. the last "final answer is X" or "answer is X", 3. the last "answer: X", 4. the last `#### X`, 5. the last number.

A completion whose only box is never closed has no answer: a number in it may be cut short.

    extract_answer(r"<think>\boxed{1}</think>So it is \boxed{\frac{1}{2}}.")   # '\frac{1}{2}'
    extract_answer(r"<think>It must be \boxed{1}")                             # None
"""

import re

from math_eval.thinking import CLOSE, OPEN, split_thinking

_BRACES = re.compile(r"\\boxed\s*\{|\\fbox\s*\{|\\.|[{}]", re.DOTALL)
_PHRASES = (
    re.compile(r"\banswer[ *]{0,4}(?:is|=)[ *]{0,4}:?", re.IGNORECASE),
    re.compile(r"\banswer[ *]{0,4}:", re.IGNORECASE),
    re.compile(r"####"),
)
_FURTHER_THINKING = re.compile(f"{OPEN}.*?(?:{CLOSE}|\\Z)", re.DOTALL)
_NUMBER = re.compile(r"(?:(?<![\w)\]}.])[-−])?\\?\$?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?:/\d+)?\\?%?")
_MATH_SPAN = re.compile(r"\$\$?([^$\n]+)\$\$?|\\\(([^\n]+?)\\\)|\\\[([^\n]+?)\\\]")
_SENTENCE_END = re.compile(r"[.?](?=\s|$)|(?<=[A-Za-z])!(?=\s|$)|[;\n]")


def extract_answer(completion: str, prompt: str = "") -> str | None:
    """The answer of a completion, or None.

    Args:
        completion: all generated text.
        prompt: the rendered prompt; one that ends in `<think>` opens the thinking block.
    """
    thinking = split_thinking(completion, prompt)
    if not thinking.closed:
        return None
    answer = _FURTHER_THINKING.sub("", thinking.answer)
    boxed, unclosed = last_boxed(answer)
    if boxed is not None or unclosed:
        return (boxed or "").strip() or None
    for phrase in _PHRASES:
        ends = [match.end() for match in phrase.finditer(answer)]
        if ends and (found := _trim(answer[ends[-1] :].lstrip().partition("\n")[0])):
            return found
    numbers = _NUMBER.findall(answer)
    return numbers[-1] if numbers else None


def last_boxed(text: str) -> tuple[str | None, bool]:
    r"""The content of the last balanced `\boxed{…}`, and whether some box is left open.

    One pass over the text, so 20 000 unclosed braces cost no more than 20 000 letters.
    """
    stack: list[int] = []
    best: tuple[int, int] | None = None
    for match in _BRACES.finditer(text):
        token = match.group()
        if token.startswith((r"\boxed", r"\fbox")):
            stack.append(match.end())
        elif token == "{":
            stack.append(-1)
        elif token == "}" and stack:
            start = stack.pop()
            if start >= 0 and (best is None or start > best[0]):
                best = (start, match.start())
    if best is None:
        return None, any(start >= 0 for start in stack)
    return text[slice(*best)], False


def _trim(text: str) -> str:
    """The answer at the start of the rest of a sentence: a first formula if it opens with one, else up to its end."""
    text = text.strip().strip("*_ \t")
    formula = _MATH_SPAN.match(text)
    if formula:
        return next(group for group in formula.groups() if group is not None).strip()
    return _SENTENCE_END.split(text, maxsplit=1)[0].strip().strip("*_` \t:,")
