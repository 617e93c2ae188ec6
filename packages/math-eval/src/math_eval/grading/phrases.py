r"""Answers without a box: answer tags, phrases such as "the answer is", `####`, and the last formula or number.

Several languages are known. A hedge before the answer, a clause after it and bold type are left out; several formulas
or numbers of the last sentence are one list if so many answers are requested.

>>> stated_answer("The answer is approximately **2.75**, as shown above.")
'2.75'
>>> last_formulas("The solutions are $x=4$ and $x=9$.", parts=2)
'x=4, x=9'
"""

import re

from .plain_values import LINK, MAX_LINK, NUMBER, is_denied, last_value, row

_MARK = r"[\s*_\"'`]{0,4}"
_ASKED = (
    rf"(?:final\s+)?answer{_MARK}(?:is(?!n['’]t)|=|would\s+be|must\s+be|will\s+be)|(?:correct|right|best)\s+(?:option|choice|answer){_MARK}(?:is(?!n['’]t))"
    r"|(?:最终|最后|正确)?答案(?:应该)?(?:是|为|選|选)|故选|应选|答案选|答えは|正解は|解答は|정답은|답은"
    r"|respuesta(?:\s+final|\s+correcta)?\s+es|r[ée]ponse(?:\s+finale)?\s+est|antwort\s+(?:lautet|ist)|risposta(?:\s+finale)?\s+[èe]"
    r"|resposta(?:\s+final)?\s+[ée]|ответ\s+(?:равен|это)|(?:ال)?(?:إجابة|جواب)(?:\s+النهائية?)?\s+(?:هي|هو)|đáp\s+án\s+là|antwoord\s+is|उत्तर\s+है"
)
_LABEL = (
    rf"\b(?:final\s+)?answer(?:\s+choice)?{_MARK}:|(?:最终|最后|正确)?答(?:案)?\s*[:：]|答え\s*[:：]|정답\s*[:：]|답\s*[:：]"
    r"|\b(?:respuesta(?:\s+final)?|r[ée]ponse(?:\s+finale)?|antwort|risposta(?:\s+finale)?|resposta(?:\s+final)?|ответ|(?:ال)?(?:إجابة|جواب)"
    r"|đáp\s+án|antwoord|cevap|उत्तर|odpowiedź)(?:\s+(?:النهائية?))?\s*[:：—–]"
)
_PHRASES = tuple(
    re.compile(pattern, re.IGNORECASE) for pattern in (rf"(?<![A-Za-z])(?:{_ASKED}){_MARK}[:：]?", _LABEL, r"####")
)
_DECIMAL_COMMA = re.compile(
    r"respuesta|r[ée]ponse|antwort|risposta|resposta|ответ|antwoord|odpowiedź|cevap", re.IGNORECASE
)
"""The word for "answer" in languages that write 3.5 as `3,5`."""
_FINAL = re.compile(r"\bfinal answer is:?\s*(?=\$|\\[(\[])", re.IGNORECASE)
_TAGS = re.compile(r"<(/?)(?:answer|final_answer|final)>", re.IGNORECASE)
_MATH_SPAN = re.compile(
    r"\$\$([^$]+)\$\$|(?<!\\)\$(?=\S)([^$\n]*[^$\s])\$(?!\d)|(?<!\\)\$[ \t]((?:\\\$|[^$\n])+)[ \t]\$(?!\d)"
    r"|\\\(((?:(?!\\[()]).)+)\\\)|\\\[((?:(?!\\[\[\]]).)+)\\\]",
    re.DOTALL,
)
_COMMAND = re.compile(r"\\(?:text|mathrm|mbox)\s*\{[^{}]*\}|\\[A-Za-z]+|sqrt|sin|cos|tan|log|ln|exp|pi")
_WORD = re.compile(r"[^\W\d_]{2,}")
_LONG_WORD = re.compile(r"[A-Za-z]{2,}")
_NAME = re.compile(r"\\?[A-Za-z]+(?:_\w|_\{\w+\})?\s*=")
_VARIABLE = re.compile(r"[A-Za-z]\w*")
_SENTENCE_END = re.compile(r"(?<!\bi\.e)(?<!\be\.g)[.?](?=\s|$)|(?<=[A-Za-z])!(?=\s|$)|[;\n。]")
_TAIL = re.compile(
    r",?\s+(?:as|(?<=, )not|which|since|because|so that|where|that is|i\.e\.|using|but"
    r"|given that|meaning|and so|and therefore|and thus"
    r"|and hence)\b(?!\s+(?:much|many))",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"(?:(?:approximately|about|roughly|around|exactly|probably|likely|most\s+likely|most\s+probably|presumably|surely|"
    r"certainly|definitely|of\s+course|therefore|thus|hence|so|then|simply|just|indeed|clearly|precisely|"
    r"given by|equal to|found to be|going to be|obtained as|option|choice|that)\b[\s,:]*)+",
    re.IGNORECASE,
)
_REJECTED = re.compile(r"not\b[^.]*\bbut\s+", re.IGNORECASE)
_OPTION = re.compile(r"\s*\(?([A-J])\)?\s*[.,;]?\s*(?:$|\n|because|since|as\b)")
_SHORT_ANSWER = re.compile(rf"\s*(?:\(?[A-J]\)?|{NUMBER.pattern}\s*\\?%?)\s*[.]?\s*$")
_PROSE_BEFORE_NUMBER = re.compile(r"[^\W\d_A-Za-z\u0370-\u03ff]{2}\s?\d")
_VERB = re.compile(r"\b(?:has|have|had|gets?|takes?|needs?|pays?|paid|earns?|there (?:are|is|were))\b", re.IGNORECASE)
_BARE_CHARS = 400
_MIN_PROSE_WORDS = 5


def tagged_answer(text: str) -> str | None:
    """The content of the last `<answer>` tag that holds something; one that is not closed ends with the text."""
    start, found = -1, None
    for tag in _TAGS.finditer(text):
        if not tag[1]:
            start = tag.end()
        elif start >= 0:
            found, start = text[start : tag.start()].strip() or found, -1
    if start >= 0 and text[start:].strip():
        return text[start:].strip()
    return found


def without_tags(text: str) -> str:
    """The text without answer tags."""
    return _TAGS.sub(" ", text)


def final_formula(text: str, after: int) -> str | None:
    """A formula after the last "final answer is", if that comes after an offset."""
    finals = list(_FINAL.finditer(text))
    formula = _MATH_SPAN.match(text, finals[-1].end()) if finals and finals[-1].start() > after else None
    return _inside(formula) if formula else None


def later_answer(text: str) -> str | None:
    """An option, number or formula that a phrase states in a text that follows a box."""
    found = _phrase(text.replace("**", ""))
    if found is None:
        return None
    line = found.strip().partition("\n")[0]
    formula = _MATH_SPAN.match(line)
    if formula and not line[formula.end() :].strip(" .*"):
        return _inside(formula)
    return line.strip(" .*") if _SHORT_ANSWER.match(line) else None


def stated_answer(text: str, parts: int = 1) -> str | None:
    """The answer that a phrase or `####` states, or None."""
    found = _phrase(text)
    if found is None:
        return None
    answer = _trim(found.lstrip().partition("\n")[0], parts)
    if _DECIMAL_COMMA.search(text) and re.fullmatch(r"-?\d+,\d+", answer):
        answer = answer.replace(",", ".")
    return answer or None


def _phrase(text: str) -> str | None:
    for phrase in _PHRASES:
        ends = [match.end() for match in phrase.finditer(text)]
        if ends and text[ends[-1] :].strip(" \n*_`.:"):
            return text[ends[-1] :]
    return None


def is_bare(text: str) -> bool:
    """Whether the text is only an answer: one short line that is a single word or contains no words."""
    if not text or len(text) > _BARE_CHARS or "\n" in text:
        return False
    if _PROSE_BEFORE_NUMBER.search(text):
        return False
    return not text.split()[1:] or not _LONG_WORD.search(_COMMAND.sub(" ", text))


def last_formulas(text: str, parts: int = 1) -> str | None:
    """The last formula between delimiters (a single name does not count), or the last number, if it comes later.

    A dollar sign is a delimiter under Pandoc's rules: no space on its inner side, and no digit after the closing one,
    so prices are not formulas.

    Args:
        text: Text without a box and without an answer phrase.
        parts: Number of requested answers; so many formulas or numbers in a row are a list.
    """
    text = text.replace("**", "")
    spans = [span for span in _MATH_SPAN.finditer(text) if not _VARIABLE.fullmatch(_inside(span))]
    rest = text[spans[-1].end() :] if spans else text
    if NUMBER.search(rest):
        return last_value(rest, parts)
    if not spans or is_denied(text, spans[-1]):
        return None
    return ", ".join(_inside(span) for span in _row(text, spans, parts))


def _row(text: str, spans: list[re.Match[str]], parts: int) -> list[re.Match[str]]:
    """The formulas of the list that ends with the last one; those about different names are as many as requested."""
    names = {_NAME.match(_inside(span)) and _inside(span).partition("=")[0].strip() for span in row(text, spans, parts)}
    return row(text, spans, parts, joins=len(names) == 1)


def _inside(span: re.Match[str]) -> str:
    return next(filter(None, span.groups())).strip()


def _trim(text: str, parts: int) -> str:
    """The answer after an answer phrase: the formula that the text begins with, or the text to the sentence's end."""
    text = text.replace("**", "").strip().strip("*_ \t")
    while text.endswith("}") and text.count("}") > text.count("{"):  # the end of a JSON object
        text = text[:-1].strip('" ')
    option = _OPTION.match(text)
    if option:
        return option[1]
    formula = _MATH_SPAN.match(text)
    if formula:
        linked = [formula]
        for span in _MATH_SPAN.finditer(text, formula.end()):
            start, end = linked[-1].end(), span.start()
            if end - start > MAX_LINK or not LINK.fullmatch(text, start, end):
                break
            linked.append(span)
        found = _row(text, linked, parts)
        return ", ".join(map(_inside, found if len(found) == len(linked) else linked[:parts]))
    sentence = _SENTENCE_END.split(text, maxsplit=1)[0].strip().strip("*_` \t:,")
    if rejected := _REJECTED.match(sentence):
        sentence = sentence[rejected.end() :]
    prose, _, meant = sentence.partition("i.e. ")
    sentence = meant if meant and _WORD.match(prose) else sentence
    sentence = _TAIL.split(sentence, maxsplit=1)[0].strip(" ,") or sentence
    hedge = _HEDGE.match(sentence)
    bare = sentence[hedge.end() :] if hedge else sentence
    if not _WORD.match(bare):
        return _computed(bare)
    return _from_prose(sentence, parts)


def _computed(text: str) -> str:
    """The end of a chain such as `a + b = 7 + 6 = 13`, otherwise the text."""
    spans = list(_MATH_SPAN.finditer(text))
    if spans:
        return _inside(spans[0]) if not _WORD.search(_COMMAND.sub(" ", text[: spans[0].start()])) else text
    return (
        text.rpartition("=")[2].strip() if text.count("=") > 1 and not _WORD.search(_COMMAND.sub(" ", text)) else text
    )


def _from_prose(sentence: str, parts: int) -> str:
    words = len(_WORD.findall(_COMMAND.sub(" ", sentence)))
    spans = list(_MATH_SPAN.finditer(sentence))
    numbers = list(NUMBER.finditer(sentence))
    if spans and not sentence[spans[-1].end() :].strip(" .,"):
        return ", ".join(map(_inside, _row(sentence, spans, parts)))
    prose = words >= _MIN_PROSE_WORDS or not sentence.isascii() or _VERB.search(sentence)
    if numbers and prose and (len(numbers) == 1 or parts > 1 or " is " not in sentence):
        return last_value(sentence, parts) or ""
    return sentence.rpartition(" is ")[2].strip()
