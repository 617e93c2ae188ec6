# copied from packages/_shared/control_tokens.py; edit it there
r"""Control tokens: which tokens ask a checkpoint for a ratio, and the user turn that carries one.

A checkpoint that follows ratios has `control_tokens.json` beside its weights. A response opens with the token of its
ratio; a prompt ends in the same token, or in a switch that the model knows already, such as `/no_think`. The tokens'
embeddings and the chat template are left to the trainer.

    tokens = ControlTokens.load("checkpoints/sft")
    tokens.token(0.4)                                # '<COMP_40>'
    user_turn("Add 1 and 2.", tokens.request(0.4))   # 'Please reason … \boxed{}.\nAdd 1 and 2. <COMP_40>'
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError
from .records import read_json, validate, write_json

FILE_NAME = "control_tokens.json"
INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."
POLICY = "policy"
EFFORT = "reasoning_effort="
"""Start of a switch that is no text of the prompt, but a value of this variable of the chat template."""
_SWITCH = re.compile(r"[\w/=.:+|<>!-]+")


def user_turn(question: str, token: str | None = None, instruction: str = INSTRUCTION) -> str:
    """Instruction, question, then one control token (the paper's prompt, section 2.1)."""
    text = f"{instruction}\n{question}" if instruction else question
    return f"{text} {token}" if token else text


@dataclass(frozen=True)
class ControlTokens:
    """The ratios that a checkpoint was trained with (its ladder), and their control tokens.

    Args:
        ratios: Token -> ratio, in rising order of ratio.
        policy: The token that leaves the choice of ratio to the model.
        switches: Ratio token -> the model's own switch, which ends a prompt in its place: a word that the model knows,
            such as `/no_think`, or `reasoning_effort=low`, which the saved chat template makes a value of its variable.
    """

    ratios: dict[str, float]
    policy: str
    switches: dict[str, str] = field(default_factory=dict)

    @classmethod
    def ladder(cls, ratios: Iterable[float], switches: Mapping[float, str] | None = None) -> "ControlTokens":
        """`<COMP_20>` … for the given ratios, and `<COMP_POLICY>`; ratio 0 is an empty thinking block.

        Args:
            ratios: The ratios, in any order.
            switches: Ratio -> the model's own switch.

        Raises:
            DataError: a ratio outside [0, 1], two that share a spelling, or a bad switch.
        """
        named: dict[str, float] = {}
        for ratio in sorted(ratios):
            if not 0 <= ratio <= 1:
                raise DataError(f"ratio must be in [0, 1]; got {ratio:g}. Write 20 % as 0.2.")
            name = f"<COMP_{round(100 * ratio)}>"
            if name in named:
                raise DataError(f"ratios {named[name]:g} and {ratio:g} share the token {name}; space them by 0.01")
            named[name] = float(ratio)
        if not any(named.values()):
            raise DataError("a ladder needs at least one ratio above 0, such as 0.2")
        found = cls(named, "<COMP_POLICY>")
        return cls(named, found.policy, _checked({found.token(r): text for r, text in (switches or {}).items()}, found))

    @classmethod
    def load(cls, folder: str | Path) -> "ControlTokens":
        """Read `control_tokens.json` of a checkpoint folder.

        Raises:
            DataError: the file is missing or does not fit its schema.
        """
        path = Path(folder) / FILE_NAME
        if not path.is_file():
            raise DataError(f"{path}: no such file, so this checkpoint follows no ratio; train it with ratio-sft")
        return cls.of(validate(read_json(path), "control_tokens", str(path)), str(path))

    @classmethod
    def of(cls, content: Mapping[str, Any], where: str) -> "ControlTokens":
        """The ladder in the content of a `control_tokens.json`, which fits its schema.

        Args:
            content: The content.
            where: Place of the content, for messages.

        Raises:
            DataError: two tokens or switches mean the same.
        """
        rising = sorted(content["ratios"].items(), key=lambda item: item[1])
        if len({ratio for _, ratio in rising}) < len(rising) or content["policy"] in content["ratios"]:
            raise DataError(f"{where}: ratios: two tokens mean the same; give each ratio and the policy its own token")
        found = cls(dict(rising), content["policy"])
        try:
            return cls(found.ratios, found.policy, _checked(content.get("switches", {}), found))
        except DataError as error:
            raise DataError(f"{where}: switches: {error}") from error

    def save(self, folder: str | Path) -> None:
        """Write `control_tokens.json` into a checkpoint folder."""
        write_json(Path(folder) / FILE_NAME, {"format": 1, **self.content})

    @property
    def content(self) -> dict[str, Any]:
        """The ladder as JSON values; `switches` only if it has some."""
        switches = {"switches": self.switches} if self.switches else {}
        return {"ratios": self.ratios, "policy": self.policy, **switches}

    @property
    def all_tokens(self) -> list[str]:
        """Every ratio token in rising order, then the policy token."""
        return [*self.ratios, self.policy]

    def token(self, ratio: float | str) -> str:
        """The token for a ratio of the ladder, or for "policy".

        Raises:
            DataError: the ladder has no such ratio.
        """
        if ratio == POLICY:
            return self.policy
        for name, value in self.ratios.items():
            if value == ratio:
                return name
        known = ", ".join(f"{value:g}" for value in self.ratios.values())
        raise DataError(f"this checkpoint has no control token for ratio {ratio}; it knows {known} and policy")

    @property
    def requests(self) -> list[str]:
        """What ends a prompt of each ratio in rising order, then the policy token."""
        return [self.switches.get(token, token) for token in self.all_tokens]

    def request(self, ratio: float | str) -> str:
        """What ends a prompt that asks for a ratio of the ladder, or for "policy": its switch, or else its token.

        Raises:
            DataError: the ladder has no such ratio.
        """
        token = self.token(ratio)
        return self.switches.get(token, token)

    def leading_ratio(self, completion: str) -> float | None:
        """The ratio whose token opens a completion, or None."""
        text = completion.lstrip()
        return next((ratio for name, ratio in self.ratios.items() if text.startswith(name)), None)

    def without_token(self, completion: str) -> str:
        """A completion without the ratio token that opens it."""
        text = completion.lstrip()
        return next((text.removeprefix(name) for name in self.ratios if text.startswith(name)), completion)


def _checked(switches: Mapping[str, str], tokens: ControlTokens) -> dict[str, str]:
    """Switches that end a prompt as one word of their own.

    Raises:
        DataError: one belongs to no ratio token, is no plain word, or means two ratios.
    """
    seen = set(tokens.all_tokens)
    for token, text in switches.items():
        if token not in tokens.ratios:
            raise DataError(f"{token} is no ratio token; a switch belongs to one of {', '.join(tokens.ratios)}")
        if not _SWITCH.fullmatch(text) or text == EFFORT:
            raise DataError(
                f"switch {text!r} is not one word; name one such as /no_think or {EFFORT}low, of letters, digits "
                "and _/=.:+|<>!-"
            )
        if text in seen:
            raise DataError(f"switch {text} means two things; give each ratio its own")
        seen.add(text)
    return dict(switches)
