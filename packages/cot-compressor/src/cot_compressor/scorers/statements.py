"""What the sentences of a chain of thought do: conclude, correct, deduce, point out a gap, plan, chat, check again.

Patterns of words only, in English and some words of other languages; what follows from them is decided in `rules.py`.

>>> [statement_role(text) for text in ("So it is Friday.", "Wait, no, it is Friday.", "Let me check that again.")]
['deduction', 'correction', 'check']
"""

import re
from collections.abc import Sequence
from typing import Literal

Role = Literal["correction", "check", "chatter", "plan", "gap", "deduction", "plain"]
_OPENING = r"^(?:[-*>•\s]|\d{1,4}[.)]\s)*+"
_CHATTER = re.compile(
    _OPENING
    + r"(?:(?:wait|hmm+|okay|ok|alright|yes|yep|yeah|right|correct|great|good|perfect|nice|well|so|now|um+|oh|ah|"
    r"let me (?:see|think)[\w\s]{0,40}+|that'?s (?:right|correct|it)|i think so|makes sense|got it|"
    r"done|好的?|嗯)[\s,.!?…:。，]*+)++$",
    re.IGNORECASE,
)
_CHECK = re.compile(
    r"\b(?:double[- ]?check\w*|re-?check\w*|let(?:'s| me)? (?:just |also |quickly )?(?:check|verify|"
    r"confirm)|verify(?:ing)?|"
    r"(?:make|making|be) sure|once more|sanity check|checks out|as before|did(?:n't| not) make a mistake)\b"
    rf"|{_OPENING}(?:quick |final )?check(?:ing)?\b",
    re.IGNORECASE,
)
_PLAN = re.compile(
    _OPENING
    + r"(?:(?:wait|hmm+|okay|ok|alright|so|now|first|next|then|well|but|and|maybe|perhaps|also|actually),?\s+)*"
    r"(?:let me|let's|let us|i(?:'ll|'m going to| will| need to| should| have to| want to| must| can| could| might| am)"
    r"|i'(?:d|ve)|we(?:'ll| need to| should| have to| want to| can| could)|the (?:user|question|problem|task|prompt) "
    r"(?:wants|asks|is asking|says|asked|is about)|my (?:task|job|response)|how (?:do|can|should)|what (?:about|if)|"
    r"that should be all|by the way|time to|i (?:wonder|remember|recall|guess)|"
    r"我(?:需要|应该|要|先|来)|让我|首先|用户)",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    _OPENING + r"(?:(?:but |oh |hmm+,? |ach,? |ah,? |ay,? |doch |mais |pero )?(?:wait|actually|no|hold on|scratch that|"
    r"correction|oops|sorry|on second thought|nein|warte|(?:einen |un )?moment(?: mal|o)?|halt|stopp?|korrektur|falsch|"
    r"eigentlich|espera|espere|perdón|corrección|en realidad|attends?|attendez|non|pardon|en fait|en réalité)\b"
    r"[\s,.!…—–:-]|(?:啊|哦|但)?(?:等等|等一下|不对|错了|更正|其实|不[，,。！])|(?:いや|待って|違う|違います|実は|訂正|間違え))",
    re.IGNORECASE,
)
_REPLACES = re.compile(
    r"\b(?:no|not|isn't|wasn't|aren't|doesn't|moved|changed|instead|should be|actually|wrong|"
    r"mistake\w*|misread|now|rather|"
    r"but|only|however|forgot|missed|is|are|was|were|has|have|must|"
    r"nein|nicht|kein\w*|sondern|statt\w*|falsch\w*|Fehler|ist|sind|war|waren|hat|haben|erst|nur|doch|vergessen|"
    r"sino|error|equivo\w+|mal|hay|está|están|son|era|eran|solo|ya|olvid\w+|"
    r"non|pas|plutôt|faux|erreur|est|sont|était|oublié\w*|tromp\w+|seulement)\b|[不没错是改]|应该|な[いく]|ません|違|です",
    re.IGNORECASE,
)
_GAP = re.compile(
    r"\b(?:missing|not (?:given|provided|specified|stated|mentioned|enough|possible|sufficient)|"
    r"(?:isn't|aren't|wasn't) "
    r"(?:given|provided|specified|stated|mentioned|enough|any)|doesn't (?:say|specify|give|mention|state|provide)|"
    r"contradict\w*|inconsistent|impossible|ambiguous|insufficient|cannot be determined|can't be determined|"
    r"can(?:no|')t determine|underdetermined|no (?:information|mention|whole|integer|such|solution)|"
    r"unknown|undefined)\b",
    re.IGNORECASE,
)
_DEDUCTION = re.compile(
    _OPENING
    + r"(?:so|therefore|thus|hence|because|since|that (?:leaves|means|gives)|this (?:means|leaves|implies|gives|rules)|"
    r"which means|consequently|then|as a result|also|daher|deshalb|donc|por (?:lo )?tanto|así)\b"
    rf"|{_OPENING}(?:所以|因此|因为|那么|だから|したがって|よって)"
    r"|\b(?:must be|implies|means that|rules? out|ruled out|leaves|follows|because|therefore|cannot be|can't be|due to|"
    r"leads to|results? in|consistent with|confirms?|suggests?|indicates?|points? to|supports?|"
    r"evidence|typical of)\b|[,，] ?(?:so|所以|因此)",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"\\boxed|\b(?:final answer|(?:the|my|correct|best|right) (?:final |correct |best )?(?:answer|"
    r"choice|option|result|solution)"
    r"\s*(?:is|would be|should be|must be|:|=)|answers?\s*(?::|is\b|=)|in (?:conclusion|summary|"
    r"short)|to (?:conclude|sum up|"
    r"summarize)|conclusion|conclude|overall|ultimately|recommend\w*|verdict|most likely|the answer)\b"
    r"|</?(?:answer|final)\b|答案|结论|综上|总之|最终|Antwort|réponse|respuesta|答え|正解|結論",
    re.IGNORECASE,
)
OPTION = re.compile(
    r"\b(?i:option|choice|answer)(?:(?! is I\b) is)?\W{0,4}\(?\*{0,2}[A-J]\b|\*\*\(?[A-J]\)?\*\*|^\W*+[A-J]\W*+$",
    re.MULTILINE,
)
_EVIDENCE = re.compile(
    r"\b(?:consistent with|confirms?(?! (?:it|this|that|them|so)\W*$)|suggests?|indicates?|points? to|diagnos\w+|"
    r"must be|therefore|which means)\b",
    re.IGNORECASE,
)
_SO = re.compile(
    _OPENING + r"(?:and |but |ok(?:ay)?,? |yes,? )?(?:(?:so|therefore|thus|hence|consequently|daher|also|deshalb|donc|"
    r"por (?:lo )?tanto|así que)\b|所以|因此|也就是|だから|したがって|よって)",
    re.IGNORECASE,
)
_META = re.compile(
    r"\b(?:format|produce|output|write|craft|present|provide|give|prepare|structure|compose|draft|formulate|state)\b[^.]{0,40}"
    r"\b(?:answer|response|reply|solution|explanation)\b\W*+(?:correctly|now|clearly|properly|in the \w+ format)?\W*+$"
    rf"|{_OPENING}(?:so |thus |now |then |the )*+(?:my )?final answer\W*+$",
    re.IGNORECASE,
)
_LAST_SHARE = 0.3
_FEWEST_LAST = 6
_WORD = re.compile(r"\w\w+")


def statement_role(text: str) -> Role:
    """What a sentence does, by its words."""
    if _CHATTER.match(text):
        return "chatter"
    if _CHECK.search(text):
        return "check"
    asks = text.rstrip().endswith(("?", "？"))
    if _CORRECTION.match(text) and not asks and not _PLAN.match(text) and _REPLACES.search(text):
        return "correction"
    if _PLAN.match(text) or asks:
        return "plan"
    if _GAP.search(text):
        return "gap"
    return "deduction" if _DEDUCTION.search(text) else "plain"


def closing_sentences(texts: Sequence[str], roles: Sequence[Role], *, computed: bool) -> list[int]:
    """Indices of the sentences that state the result, the most decisive first.

    Looked for among the last sentences: the last two that give the answer (a box, a tag, an option, `the answer is`),
    and the last that draws a conclusion (`so`, `therefore`). Without them, and unless the result is computed, it is the
    last that points out a gap, or the last that is no plan, check or chatter, or what is going to be done.

    Args:
        texts: Texts of all sentences.
        roles: Their roles.
        computed: True if an equation arrives at the result.
    """
    first = len(texts) - max(_FEWEST_LAST, round(_LAST_SHARE * len(texts)))
    answers: list[int] = []
    conclusions: list[int] = []
    gaps: list[int] = []
    plain: list[int] = []
    plans: list[int] = []
    for at in range(len(texts) - 1, max(-1, first - 1), -1):
        text, role = texts[at], roles[at]
        option = OPTION.search(text) is not None
        if role in {"chatter", "check"} or text.rstrip().endswith(("?", "？", ":", "：")):
            continue
        if _META.search(text) or not (option or _WORD.search(text)):
            continue
        if option or (_ANSWER.search(text) is not None and role != "plan"):
            answers.append(at)
        elif role == "plan":
            plans.append(at)
        elif role == "gap":
            gaps.append(at)
        else:
            (conclusions if _SO.match(text) or _EVIDENCE.search(text) else plain).append(at)
    found = [*answers[:1], *conclusions[:1], *answers[1:2]]
    return found if computed or found else gaps[:1] or plain[:1] or plans[:1]
