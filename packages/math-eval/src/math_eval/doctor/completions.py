"""Checks of the completions of a run: refused requests, unclosed thinking, loops, missing answers and their form.

    [finding.check for finding in completion_findings(rows, manifest)]    # ['thinking', 'loops', 'answers', 'answers']

>>> repetition("So 3. " + "Wait, let me check again. " * 9)
'Wait, let me check again.'
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from math_eval._shared.records import Row
from math_eval.grading.final_text import final_text
from math_eval.run_folders import run_format, thinking_parts
from math_eval.tags import as_graded

from .finding import ERROR, OK, WARNING, Finding

_MOST_UNCLOSED, _MOST_LOOPS, _MOST_WITHOUT = 0.02, 0.01, 0.02
"""Shares of samples above which a finding is a warning. Our choice: what moves accuracy by a point or two."""
_TAIL, _LOOP_CHARS, _LOOP_REPEATS = 4000, 200, 5
_BOX = re.compile(r"\\(?:boxed|fbox)\b|<answer>|####", re.IGNORECASE)
_LETTER = re.compile(r"[A-J]")
_LETTER_ANSWER = re.compile(r"[^A-Za-z]*+(?:(?<=\\)(?:text|mathrm|textbf)\{[^A-Za-z]*+)?[A-J](?![A-Za-z])")


def completion_findings(rows: Sequence[Row], manifest: dict[str, Any]) -> list[Finding]:
    """The findings about refused requests, unclosed thinking, loops and answers.

    Args:
        rows: The samples of the run.
        manifest: Its manifest.
    """
    return [*_refused(rows), _unclosed(rows, manifest), _loops(rows), *_answers(rows, manifest)]


def _refused(rows: Sequence[Row]) -> Iterator[Finding]:
    words = [row["refused"] for row in rows if "refused" in row]
    if words:
        yield Finding(
            "requests",
            ERROR,
            f"{_share(words, rows)} were refused by the server and count as incorrect; first: {words[0][:200]}",
            "mend the cause, such as prompts that are too long for the server, and repeat with --overwrite",
        )


def _unclosed(rows: Sequence[Row], manifest: dict[str, Any]) -> Finding:
    """Samples whose thinking is never closed, which have no answer."""
    unclosed = [row for row in rows if not thinking_parts(row, manifest).closed and "refused" not in row]
    cut = sum(row["truncated"] for row in unclosed)
    found = f"{_share(unclosed, rows)} never close their thinking, so they have no answer; {cut} of them were cut off"
    if len(unclosed) <= _MOST_UNCLOSED * len(rows):
        return Finding("thinking", OK, found)
    remedy = (
        "raise --max-tokens, or sample with --preset reasoning; until then compare runs by accuracy at a budget"
        if 2 * cut >= len(unclosed)
        else "the model ends its turn inside the block: check --thinking-format and the model's end tokens"
    )
    return Finding("thinking", WARNING, found, remedy)


def _loops(rows: Sequence[Row]) -> Finding:
    """Samples that end in a repetition."""
    looping = [row for row in rows if repetition(row["completion"])]
    found = f"{_share(looping, rows)} end in a text that is repeated at least {_LOOP_REPEATS} times"
    if len(looping) <= _MOST_LOOPS * len(rows):
        return Finding("loops", OK, found)
    return Finding(
        "loops",
        WARNING,
        f"{found}; the first is {looping[0]['id']!r}: …{repetition(looping[0]['completion'])[:80]!r}",
        "sample at the temperature that the model was made for (--preset reasoning); greedy decoding makes models "
        "loop, which flatters whatever shortens their thinking",
    )


def repetition(text: str) -> str:
    """The text that the end of a completion repeats at least five times over 200 characters; empty if there is none."""
    tail = text[-_TAIL:].rstrip()[::-1]
    border = [0] * len(tail)  # length of the longest proper border of each prefix (Knuth, Morris and Pratt)
    best, length = 0, 0
    for end in range(1, len(tail)):
        while length and tail[end] != tail[length]:
            length = border[length - 1]
        length += tail[end] == tail[length]
        border[end] = length
        period, covered = end + 1 - length, end + 1
        if covered >= _LOOP_CHARS and covered >= _LOOP_REPEATS * period:
            best = period
    return tail[:best][::-1].strip()


def _answers(rows: Sequence[Row], manifest: dict[str, Any]) -> Iterator[Finding]:
    """Samples that finished without an answer, or with one in another form than asked for."""
    done = [row for row in rows if not row["truncated"] and "refused" not in row]
    silent = [row for row in done if row["verdict"] == "no_answer" and thinking_parts(row, manifest).closed]
    yield _answer_finding(
        silent,
        done,
        "have no answer although they ended by themselves",
        "look at one with `math-eval grade RUN OUT --explain`; ask for a box with --instruction",
    )
    unboxed = [row for row in done if row["extracted"] is not None and not _BOX.search(_final(row, manifest))]
    yield _answer_finding(
        unboxed,
        done,
        "answer without a box or an <answer> tag, so the answer is what their last sentence has",
        "ask for a box with --instruction; a model that was tuned on another form needs the words that it knows",
    )
    if by_letter := [row for row in done if _LETTER.fullmatch(row["answer"])]:
        others = [row for row in by_letter if row["extracted"] and not _LETTER_ANSWER.match(row["extracted"])]
        yield _answer_finding(
            others,
            by_letter,
            "answer a question of letters with something else, which counts as incorrect",
            "ask for the letter with --instruction",
        )


def _final(row: Row, manifest: dict[str, Any]) -> str:
    completion, prompt = as_graded(row["completion"], row["prompt"], run_format(manifest))
    return final_text(completion, prompt) or ""


def _answer_finding(some: Sequence[Row], rows: Sequence[Row], words: str, remedy: str) -> Finding:
    found = f"{_share(some, rows)} {words}"
    if len(some) <= _MOST_WITHOUT * len(rows):
        return Finding("answers", OK, found)
    return Finding("answers", WARNING, f"{found}; the first is {some[0]['id']!r}", remedy)


def _share(some: Sequence[Any], rows: Sequence[Any]) -> str:
    return f"{len(some):,} of {len(rows):,} samples"
