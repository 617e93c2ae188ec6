r"""`--thinking MODE`: ways to make a model think less without training it, for comparison with trained models.

A mode is text and numbers only: what is added to the instruction, whether the prompt ends in a closed block, and where
thinking stops. Prompts are left to `backends.prompts`, stopping to `backends.stopping`.

>>> parse_mode("budget=256").limit
256
>>> parse_mode("concise").sentence
'Be concise.'
"""

import re
from dataclasses import dataclass
from typing import Any

from ._shared.thinking import ThinkingFormat
from .backends import ThinkingStop
from .errors import DataError

SENTENCES = {
    "brief": "Be concise.",
    "draft": "Keep a draft of at most five words for each step of your thinking.",
    "answer": "Think only as much as the answer needs, and then stop.",
}
"""Sentences that `concise=NAME` adds to the instruction: `brief` is that of Renze and Guven (arXiv 2401.05618), `draft`
the rule of Chain of Draft (arXiv 2502.18600) in our words, `answer` our own."""
CLOSING = "I have to stop thinking here and give the answer now."
"""Last sentence of thinking that a run stops. Our choice: one sentence, as Qwen3's documentation advises, so that the
text explains why the thinking ends."""
TRIAL = "The final answer is"
"""Text before the box that a trial answer fills, after DEER (arXiv 2504.15895), which asks for a box, too."""
CONFIDENCE, EVERY = 0.95, 128
"""Confidence of a trial answer that ends the thinking, as in DEER; and thinking tokens between two trials. Our choice:
evenly spaced trials, because the words at which DEER tries, such as "Wait", differ between models."""

FLAG_HELP = (
    "Way to make the model think less: none (a closed, empty block), budget=N (at most N thinking tokens), "
    f"concise or concise=NAME (a sentence in the instruction: {', '.join(SENTENCES)}), exit or exit=CONFIDENCE:EVERY "
    f"(thinking stops when a trial answer is that sure, tried every so many tokens; {CONFIDENCE}:{EVERY})."
)
"""Help text of `--thinking`."""

_EXIT = re.compile(r"exit=(?P<confidence>0?\.\d+|0|1)(?::(?P<every>\d{1,9}))?")
_BUDGET = re.compile(r"budget=(?P<tokens>\d{1,9})")


@dataclass(frozen=True)
class ThinkingMode:
    """One way to make a model think less.

    Args:
        name: The mode as `--thinking` spells it.
        sentence: Text that is added to the instruction.
        empty: Whether the prompt ends in a closed block, so that nothing is left to think.
        pause: Number of thinking tokens at which thinking stops, or, with a confidence, between two trial answers.
        confidence: Confidence of a trial answer that stops the thinking; None stops it at the first pause.
    """

    name: str
    sentence: str = ""
    empty: bool = False
    pause: int | None = None
    confidence: float | None = None

    @property
    def limit(self) -> int | None:
        """The most thinking tokens that the mode permits; None if it sets no such limit."""
        return 0 if self.empty else self.pause if self.confidence is None else None

    @property
    def continues(self) -> bool:
        """Whether a completion begins in a text that is not a plain turn: an empty block, or thinking that stopped."""
        return self.empty or self.pause is not None

    def instruction(self, given: str) -> str:
        """The instruction of a run with this mode."""
        return " ".join(filter(None, (given, self.sentence)))

    def stop(self, thinking_format: ThinkingFormat) -> ThinkingStop | None:
        """Where the thinking of a model with this format stops; None if the mode leaves that to the model."""
        if self.pause is None:
            return None
        return ThinkingStop(thinking_format, self.pause, CLOSING, TRIAL, self.confidence)

    @property
    def content(self) -> dict[str, Any]:
        """What a manifest records: the name and every text and number that the mode uses."""
        found: dict[str, Any] = {"name": self.name}
        if self.sentence:
            found["sentence"] = self.sentence
        if self.pause is not None:
            found |= {"pause": self.pause, "closing": CLOSING}
        if self.confidence is not None:
            found |= {"confidence": self.confidence, "trial": TRIAL}
        return found


def parse_mode(text: str) -> ThinkingMode:
    """The mode that `--thinking` names.

    Raises:
        DataError: There is no such mode, or a number is out of its range.
    """
    if text == "none":
        return ThinkingMode(text, empty=True)
    if found := _BUDGET.fullmatch(text):
        if not (tokens := int(found["tokens"])):
            raise DataError("thinking budget=0 leaves no thinking; write --thinking none")
        return ThinkingMode(text, pause=tokens)
    if text == "concise" or text.removeprefix("concise=") in SENTENCES:
        name = text.removeprefix("concise").removeprefix("=") or next(iter(SENTENCES))
        return ThinkingMode(f"concise={name}", sentence=SENTENCES[name])
    if text == "exit":
        return ThinkingMode(f"exit={CONFIDENCE}:{EVERY}", pause=EVERY, confidence=CONFIDENCE)
    if found := _EXIT.fullmatch(text):
        confidence, every = float(found["confidence"]), int(found["every"] or EVERY)
        if not confidence or not every:
            raise DataError(
                f"thinking {text}: the confidence is above 0 and the tokens are at least 1, as in exit=0.9:64"
            )
        return ThinkingMode(f"exit={confidence:g}:{every}", pause=every, confidence=confidence)
    raise DataError(
        f"thinking must be none, budget=N, concise, concise={'|'.join(SENTENCES)}, exit or exit=CONFIDENCE:EVERY; "
        f"got {text!r}"
    )
