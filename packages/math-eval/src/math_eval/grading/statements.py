r"""Where a thinking text first states the correct answer, found sentence by sentence with the rules of the grader.

A sentence states an answer if it concludes: it has a box, an equals sign, or a word such as "so", "gives" or "answer".
Its answer is found as in a completion; the part after its last equals sign counts, too. An expression that is still
to be computed states nothing: `3 * 14` has an operation more than `42`.

Our choice, because no judge is needed and the place is the same in every run. A number that equals the answer by
chance is found, too: the place is an early bound. Comparing is left to `decide`, so math-verify is never asked.

>>> first_correct("Ana has 6 bags of 7. So she has 6 * 7 = 42 apples. Wait, let me check: 7 * 6 = 42.", "42")
50
>>> first_correct("It is 6 * 7, so 13?", "42") is None
True
"""

import re
from collections.abc import Iterator

from math_eval.equality import Policy
from math_eval.reading import read
from math_eval.reading.tree import Tree, walk

from . import limits
from .decide import decide
from .extract import sentence_answer

_MAX_STATEMENTS = 2000
"""Different answers of one thinking text that are compared; after them the search ends without a find."""
_MAX_CHARS = 200
"""Characters of a statement; no statement of a value is longer."""
_MAX_SENTENCE_CHARS = 2000
_END = re.compile(r"(?<=[.?;])\s+|(?<=[A-Za-z]!)\s+|(?<=[。！？；])\s*|\n+")
_CONCLUDES = re.compile(
    r"=|boxed|answer|\b(?:so|thus|therefore|hence|then|gives?|get|equals?|makes?|becomes?|simplif\w+|means|total|yes|"
    r"finally|indeed|respuesta|réponse|antwort|risposta|resposta|donc|entonces)\b|所以|因此|故|答|即|ответ|значит",
    re.IGNORECASE,
)
_OPERATIONS = frozenset({"sum", "product", "power", "factorial", "quotient", "function", "apply", "big", "cross"})


def first_correct(thinking: str, gold: str, parts: int = 1, policy: Policy | None = None) -> int | None:
    """The number of characters up to the end of the first sentence that states the correct answer, or None.

    Args:
        thinking: Text of the thinking, without tags.
        gold: The reference answer, as `extract.reference_answer` gives it.
        parts: Number of answers that it asks for.
        policy: What reasonable people judge differently; None is the default policy.
    """
    wanted = None if limits.too_much(gold) or limits.explosive(gold) else read(gold).tree
    if wanted is None or len(thinking) > limits.MAX_COMPLETION_CHARS:
        return None
    most = _operations(wanted)
    tried: set[str] = set()
    for end, sentence in _sentences(thinking):
        found = sentence_answer(sentence, parts) if _CONCLUDES.search(sentence) else None
        if not found or found in tried:
            continue
        if len(tried) == _MAX_STATEMENTS:
            return None
        tried.add(found)
        if any(_equal(answer, gold, most, policy) for answer in (found, found.rpartition("=")[2].strip())):
            return end
    return None


def _equal(answer: str, gold: str, most: int, policy: Policy | None) -> bool:
    """Whether an answer equals the reference answer and has at most so many operations."""
    if not answer or len(answer) > _MAX_CHARS or limits.too_much(answer) or limits.explosive(answer):
        return False
    tree = read(answer).tree
    try:
        return tree is not None and _operations(tree) <= most and decide(answer, gold, policy).equal is True
    except RecursionError:
        return False


def _sentences(text: str) -> Iterator[tuple[int, str]]:
    """The sentences with the place of their end; of a long one, its last characters."""
    start = 0
    for end in (*_END.finditer(text), None):
        stop = len(text) if end is None else end.start()
        yield stop, text[max(start, stop - _MAX_SENTENCE_CHARS) : stop].strip()
        start = stop if end is None else end.end()


def _operations(tree: Tree) -> int:
    """The number of operations that are left to do; a fraction that is no whole number needs none."""
    return sum(one.kind in _OPERATIONS and not _is_fraction(one) for one in walk(tree))


def _is_fraction(tree: Tree) -> bool:
    if tree.kind != "quotient" or any(part.kind != "number" for part in tree.parts):
        return False
    above, below = (part.data[0] for part in tree.parts)
    return below != 0 and (above / below).denominator != 1
