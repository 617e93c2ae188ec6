"""The settings of CHRPO and of `chrpo train`: each default and each help text is written here once.

The flags of `chrpo train`, `trl.CHRPOConfig` and the `chrpo` section of a verl configuration are made from these
fields. What the settings do is left to `step` and `train`.

>>> CHRPOSettings(accuracy_slack=0.01).gains.proportional
50.0
>>> CHRPOSettings.named({"eps": 0.01}).accuracy_slack
0.01
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, get_args

from ._shared.thinking_formats import FLAG_HELP
from .answer_format import AnswerFormat, answer_check
from .core.advantages import MIN_RATIO_PROB, ON_POLICY_WEIGHT
from .core.baselines import LengthUnit
from .core.comparison import Scale
from .core.constraint import Gains
from .errors import DataError
from .named_function import name_or_function
from .objective import ADDABLE, OBJECTIVES, OF_THE_LADDER, PARTS, PARTS_OF_THE_LADDER, Objective, choose

FLOORS = ("frozen", "best")
SCHEDULERS = ("constant", "linear", "cosine")
_GAINS = {gain.name: gain for gain in fields(Gains)}


def _gain(name: str, aliases: tuple[str, ...] = ()) -> Any:
    """A field for one of the `Gains`, with its default and help text."""
    gain = _GAINS[name]
    metadata = {**gain.metadata, "flag": gain.metadata.get("flag", f"--{name}"), "aliases": aliases}
    return field(default=gain.default, metadata=metadata)


def _check_finite(settings: object, kind: type) -> None:
    for each in fields(kind):
        value = getattr(settings, each.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise DataError(f"{each.name} must be a finite number; got {value}")


@dataclass
class CHRPOSettings:
    """Settings of the objective, for `step.CHRPOController` and everything built on it.

    Raises:
        DataError: a value is out of range, or two settings contradict each other.
    """

    objective: str = field(
        default="chrpo",
        metadata={"help": "Training objective: chrpo, or a baseline to compare with.", "choices": tuple(OBJECTIVES)},
    )
    without: list[str] = field(
        default_factory=list,
        metadata={"help": "Part of the objective to omit (ablation); repeatable.", "choices": PARTS},
    )
    adding: list[str] = field(
        default_factory=list,
        metadata={"help": "Part to add to the objective; repeatable.", "flag": "--with", "choices": ADDABLE},
    )
    advantage_scale: str | None = field(
        default=None,
        metadata={
            "help": "Divisor of the advantages: standard deviation of the rewards compared, or of the whole step.",
            "choices": get_args(Scale),
            "default": "the objective's own, none for chrpo",
        },
    )
    length_weight: float | None = field(
        default=None,
        metadata={
            "help": "Weight of the length in l1, shortest_correct and alp; bonus of the shortest ratio in adaptthink.",
            "default": "the authors': 0.3, 0.5, 1e-7 and 0.05",
        },
    )
    length_unit: str | None = field(
        default=None,
        metadata={
            "help": "Unit of the length in l1, shortest_correct and alp: the prompt's reference, or a token.",
            "choices": get_args(LengthUnit),
            "default": "token for alp, else reference",
        },
    )
    keep_share: float | None = field(
        default=None,
        metadata={
            "help": "Share of a prompt's rollouts that gfpo and gfpo_efficiency learn from.",
            "default": "8 of 24, and 8 of 16",
        },
    )
    token_budget: float | None = field(
        default=None,
        metadata={"help": "Mean number of completion tokens that laconic is to reach.", "default": "2000"},
    )
    control_weight: float | None = field(
        default=None,
        metadata={
            "help": "Loss weight of the control token: as a share of its response in chrpo and degrpo, else in tokens.",
            "default": "the objective's own, 0.25 for chrpo",
        },
    )
    ladder_share: float | None = field(
        default=None,
        metadata={
            "help": "Share of the prompts that are rolled out at every ratio of the ladder.",
            "default": "the objective's own, 0.125 for chrpo",
        },
    )
    min_ratio_prob: float = field(
        default=MIN_RATIO_PROB,
        metadata={
            "help": "Probability below which a ratio is not made less likely, with objective paper.",
            "flag": False,
            "aliases": ("--control-floor",),
        },
    )
    on_policy_weight: float = field(
        default=ON_POLICY_WEIGHT,
        metadata={
            "help": "Weight of responses: equal at every ratio (0) to proportional to the ratio's probability (1).",
            "flag": False,
            "aliases": ("--response-policy-mix",),
        },
    )
    floor: str = field(
        default="frozen",
        metadata={
            "help": "Accuracy to keep: the frozen model's, or the best one that the run has reached if it is higher.",
            "choices": FLOORS,
        },
    )
    accuracy_floor: float | None = field(
        default=None,
        metadata={"help": "Accuracy to keep, such as 0.8.", "default": "the frozen model's, on the same prompts"},
    )
    accuracy_slack: float = field(
        default=0.0,
        metadata={
            "help": "Accuracy that may be lost below the one to keep, such as 0.02 for 2 points.",
            "aliases": ("--eps",),
        },
    )
    constraint_by_difficulty: bool = field(
        default=False,
        metadata={"help": "One accuracy constraint per mode and difficulty, and not only per mode.", "flag": False},
    )
    budget_step: float | None = field(
        default=None,
        metadata={
            "help": "Amount by which the rewarded cost falls, starting from 1, while accuracy is at its floor.",
            "default": "no budget: every saving is rewarded",
        },
    )
    budget_hold: int = field(
        default=20, metadata={"help": "Number of steps that the floors must hold before the budget falls."}
    )
    price_start: float = _gain("start")
    price_minimum: float = _gain("minimum")
    price_proportional: float = _gain("proportional")
    price_integral: float = _gain("integral")
    price_integral_clip: float = _gain("integral_clip")
    price_ema_decay: float = _gain("ema_decay", aliases=("--price-memory",))
    price_cap: float = _gain("cap")
    price_patience: int = _gain("patience")

    def __post_init__(self) -> None:
        self.without, self.adding = sorted(set(self.without)), sorted(set(self.adding))
        _check_finite(self, CHRPOSettings)
        if self.floor not in FLOORS:
            raise DataError(f"floor must be one of {', '.join(FLOORS)}; got {self.floor!r}")
        if self.accuracy_floor is not None and not 0 < self.accuracy_floor <= 1:
            raise DataError(f"accuracy_floor must be in (0, 1], such as 0.8 (not 80); got {self.accuracy_floor:g}")
        if not 0 <= self.on_policy_weight <= 1:
            raise DataError(f"on_policy_weight must be in [0, 1]; got {self.on_policy_weight:g}")
        chosen = self.chosen()
        changed = [name for name in _GAINS if getattr(self.gains, name) != getattr(Gains(), name)]
        changed += ["floor"] * (self.floor != "frozen") + ["accuracy_floor"] * (self.accuracy_floor is not None)
        if changed and not chosen.constrained:
            raise DataError(f"{', '.join(changed)}: this objective has no price of accuracy; leave the gains out")

    def chosen(self, shortest: float = 0.2) -> Objective:
        """The objective that the settings describe.

        Args:
            shortest: Smallest ratio of the ladder.

        Raises:
            DataError: the objective does not have a part, a weight or a value.
        """
        return choose(
            self.objective,
            without=self.without,
            adding=self.adding,
            length_weight=self.length_weight,
            length_unit=self.length_unit,
            token_budget=self.token_budget,
            shortest=shortest,
            control_weight=self.control_weight,
            ladder_share=self.ladder_share,
            keep_share=self.keep_share,
            advantage_scale=self.advantage_scale,
        )

    def chosen_without_ladder(self) -> Objective:
        """The objective on whole rollouts of a model without control tokens.

        Raises:
            DataError: the objective, or a setting that is not at its default, needs control tokens.
        """
        defaults = {"control_weight": None, "min_ratio_prob": MIN_RATIO_PROB, "on_policy_weight": ON_POLICY_WEIGHT}
        needing = [name for name, default in defaults.items() if getattr(self, name) != default]
        needing += ["ladder_share"] * bool(self.ladder_share)
        needing += [f"without {part}" for part in self.without if part in PARTS_OF_THE_LADDER]
        needing += [f"objective {self.objective}"] * (self.objective in OF_THE_LADDER)
        if needing:
            raise DataError(
                f"{', '.join(needing)}: needs control tokens, and the model has none; leave it out, or train the model "
                "with ratio-sft first"
            )
        return replace(self.chosen(), ladder_share=0.0)

    @property
    def gains(self) -> Gains:
        """Gains of the price of accuracy."""
        return Gains(**{name: getattr(self, f"price_{name}") for name in _GAINS})

    @classmethod
    def named(cls, values: Mapping[str, Any]) -> Self:
        """Settings from a section of a configuration file, whose names may be older spellings.

        Args:
            values: Value of each setting, by name; `gains` may be a section of its own.

        Raises:
            DataError: a name is unknown, or a value is out of range.
        """
        gains = values.get("gains", {})
        given = {**values, **{f"price_{name}": value for name, value in gains.items()}}
        given.pop("gains", None)
        names = setting_names(cls)
        if unknown := sorted(given.keys() - names.keys()):
            known = ", ".join(each.name for each in fields(cls))
            raise DataError(f"settings of chrpo: unknown {', '.join(unknown)}; known are {known}")
        return cls(**{names[name]: value for name, value in given.items()})


@dataclass
class SectionSettings(CHRPOSettings):
    """Settings of the `chrpo` section of a verl configuration: those of the objective, and how rollouts are read.

    Raises:
        DataError: a value is out of range, or two settings contradict each other.
    """

    answer_format: str = field(
        default="boxed",
        metadata={
            "help": "Form of the answer after the thinking: a name, or MODULE:FUNCTION of a function of its text."
        },
    )
    thinking_format: str | None = field(
        default=None,
        metadata={"help": FLAG_HELP, "default": "thinking_format.json of the model, or what its chat template shows"},
    )

    @property
    def form(self) -> AnswerFormat:
        """The form of the answer, as `RolloutReader` takes it.

        Raises:
            DataError: the name is unknown, or the function cannot be imported.
        """
        form = name_or_function("chrpo.answer_format", self.answer_format)
        answer_check(form)
        return form


@dataclass
class TrainSettings(CHRPOSettings):
    """Settings of `chrpo train`: those of the objective, and everything else that changes the result.

    Raises:
        DataError: a value is out of range, or two settings contradict each other.
    """

    max_steps: int = field(
        default=100,
        metadata={"help": "Number of optimiser steps, each with new rollouts.", "aliases": ("--steps",)},
    )
    prompts_per_step: int = field(default=16, metadata={"help": "Number of prompts per step, over all processes."})
    rollouts: int | None = field(
        default=None,
        metadata={
            "help": "Number of rollouts per prompt.",
            "default": "twice the number of ratios; 8 without control tokens",
        },
    )
    learning_rate: float = field(default=1e-6, metadata={"help": "Learning rate of AdamW, after the warm-up."})
    lr_scheduler: str = field(
        default="constant",
        metadata={"help": "Course of the learning rate after the warm-up.", "choices": SCHEDULERS},
    )
    warmup_steps: int = field(default=0, metadata={"help": "Number of steps in which the learning rate rises from 0."})
    temperature: float = field(
        default=1.0,
        metadata={"help": "Sampling temperature of rollouts; use the temperature the reference samples were drawn at."},
    )
    max_tokens: int | None = field(
        default=None,
        metadata={
            "help": "Maximum number of tokens of a completion, control token included.",
            "default": "1.5 times the longest reference",
        },
    )
    beta: float = field(default=0.0, metadata={"help": "Weight of the KL penalty to MODEL, on response tokens."})
    lora_rank: int | None = field(
        default=None,
        metadata={"help": "Rank of LoRA adapters, merged at the end.", "default": "none: all weights are trained"},
    )
    vllm: str | None = field(
        default=None,
        metadata={
            "help": "Generate rollouts with vLLM, in TRL's colocate or server mode.",
            "choices": ("colocate", "server"),
        },
    )
    save_steps: int = field(default=25, metadata={"help": "Number of steps between checkpoints."})
    rows_per_pass: int | None = field(
        default=None,
        metadata={
            "help": "Number of rollouts in one forward and backward pass of a process.",
            "default": "at most 32 on a CPU, 16 on a GPU",
        },
    )
    bf16: bool | None = field(
        default=None,
        metadata={
            "help": "Compute in bfloat16; the weights are float32.",
            "flag": "--bf16/--no-bf16",
            "default": "on a GPU",
        },
    )
    gradient_checkpointing: bool | None = field(
        default=None,
        metadata={
            "help": "Recompute activations in the backward pass, to save memory.",
            "flag": "--gradient-checkpointing/--no-gradient-checkpointing",
            "default": "on a GPU",
        },
    )
    seed: int = field(default=0, metadata={"help": "Random seed for the order of prompts and the rollouts."})
    thinking_format: str | None = field(
        default=None,
        metadata={"help": FLAG_HELP, "default": "thinking_format.json of MODEL, or what its chat template shows"},
    )

    def __post_init__(self) -> None:
        _check_finite(self, TrainSettings)
        counts = ("max_steps", "prompts_per_step", "rollouts", "save_steps", "rows_per_pass", "lora_rank")
        for name in (*counts, "learning_rate", "temperature"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise DataError(f"{name} must be positive; got {value}")
        if self.seed < 0:
            raise DataError(f"seed must be 0 or more; got {self.seed}")
        if self.lr_scheduler not in SCHEDULERS:
            raise DataError(f"lr_scheduler must be one of {', '.join(SCHEDULERS)}; got {self.lr_scheduler!r}")
        if not 0 <= self.warmup_steps < self.max_steps:
            raise DataError(
                f"warmup_steps is {self.warmup_steps}; it must be 0 or more, and fewer than the {self.max_steps} steps"
            )
        if self.beta < 0:
            raise DataError(f"beta must be 0 or more; got {self.beta:g}")
        if self.vllm not in (None, "colocate", "server"):
            raise DataError(f"vllm must be colocate or server; got {self.vllm!r}")
        if self.max_tokens is not None and self.max_tokens < 2:
            raise DataError(f"max_tokens must be at least 2, a control token and an answer; got {self.max_tokens}")
        super().__post_init__()


def setting_names(settings: type) -> dict[str, str]:
    """Every accepted name of a setting -> the name of its field; flags are accepted with underscores.

    >>> setting_names(TrainSettings)["steps"]
    'max_steps'
    """
    names: dict[str, str] = {}
    for each in fields(settings):
        flag = (each.metadata.get("flag") or "").partition("/")[0]
        spellings = (each.name, flag, *each.metadata.get("aliases", ()))
        names |= {text.removeprefix("--").replace("-", "_"): each.name for text in spellings if text}
    return names
