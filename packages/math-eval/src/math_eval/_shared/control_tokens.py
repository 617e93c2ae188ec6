# copied from packages/_shared/control_tokens.py; edit it there
r"""Control tokens: which tokens ask a checkpoint for a ratio, and the user turn that carries one.

A checkpoint that follows ratios has `control_tokens.json` beside its weights. The tokens' embeddings and the chat
template are left to the trainer.

    tokens = ControlTokens.load("checkpoints/sft")
    tokens.token(0.4)                                # '<COMP_40>'
    user_turn("Add 1 and 2.", tokens.token(0.4))     # 'Please reason … \boxed{}.\nAdd 1 and 2. <COMP_40>'
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from .records import read_json, validate, write_json

FILE_NAME = "control_tokens.json"
INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."
POLICY = "policy"


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
    """

    ratios: dict[str, float]
    policy: str

    @classmethod
    def ladder(cls, ratios: Iterable[float]) -> "ControlTokens":
        """`<COMP_20>` … for the given ratios, and `<COMP_POLICY>`; ratio 0 is an empty thinking block.

        Raises:
            DataError: a ratio outside [0, 1], or two that share a spelling.
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
        return cls(named, "<COMP_POLICY>")

    @classmethod
    def load(cls, folder: str | Path) -> "ControlTokens":
        """Read `control_tokens.json` of a checkpoint folder.

        Raises:
            DataError: the file is missing or does not fit its schema.
        """
        path = Path(folder) / FILE_NAME
        if not path.is_file():
            raise DataError(f"{path}: no such file, so this checkpoint follows no ratio; train it with ratio-sft")
        data = validate(read_json(path), "control_tokens", str(path))
        rising = sorted(data["ratios"].items(), key=lambda item: item[1])
        if len({ratio for _, ratio in rising}) < len(rising) or data["policy"] in data["ratios"]:
            raise DataError(f"{path}: ratios: two tokens mean the same; give each ratio and the policy its own token")
        return cls(dict(rising), data["policy"])

    def save(self, folder: str | Path) -> None:
        """Write `control_tokens.json` into a checkpoint folder."""
        write_json(Path(folder) / FILE_NAME, {"format": 1, "ratios": self.ratios, "policy": self.policy})

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

    def leading_ratio(self, completion: str) -> float | None:
        """The ratio whose token opens a completion, or None."""
        text = completion.lstrip()
        return next((ratio for name, ratio in self.ratios.items() if text.startswith(name)), None)

    def without_token(self, completion: str) -> str:
        """A completion without the ratio token that opens it."""
        text = completion.lstrip()
        return next((text.removeprefix(name) for name in self.ratios if text.startswith(name)), completion)
