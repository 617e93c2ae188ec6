"""The constraint as a reward function of TRL's own GRPOTrainer, for a model without control tokens.

One object is the reward function and a callback: it has the prices, and the trainer's checkpoints have its state. Its
rewards are the advantages of the responses. Prompts, rollouts and loss are left to GRPOTrainer; with control tokens,
`trainer` is needed.

    args = GRPOConfig("out", num_generations=8, scale_rewards="none")
    reward = CHRPOReward(rows, args, CHRPOSettings(accuracy_slack=0.01))
    GRPOTrainer("model", reward, args, train_dataset=Dataset.from_list(rows), callbacks=[reward]).train()
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from accelerate import PartialState
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState
from trl.trainer.grpo_config import GRPOConfig

from chrpo._shared.records import Row
from chrpo.answer_format import AnswerFormat, answer_check, default_grader
from chrpo.batch import RolloutBatch, stat_columns
from chrpo.errors import ChrpoError, DataError
from chrpo.grader import Grader
from chrpo.prompts import reference_answers
from chrpo.rollout import RolloutReader
from chrpo.settings import CHRPOSettings
from chrpo.step import CHRPOController

from .config import check_sampling, check_save_steps
from .gathering import gathered_columns


class CHRPOReward(TrainerCallback, ExportableState):
    """Stateful reward function; pass it to GRPOTrainer as the reward function and in `callbacks`.

    It reads the rollouts of all processes, rewards them at the present price of accuracy, and moves the price for the
    next generation; every process does so alike. A reward is the advantage of a rollout's tokens, with mean 0 among the
    rollouts of its prompt, so that GRPOTrainer's own subtraction of the mean changes nothing; with its loss "dapo", a
    step is that of `CHRPOTrainer`. The state is in `trainer_state.json` of each checkpoint and is restored when
    training goes on from there. In an evaluation, a reward is 1 for a correct answer of the right form and 0 otherwise,
    and no price moves.

    Args:
        prompts: Rows of an RL prompts file. The dataset of the trainer has the same rows, or some of them.
        args: Settings of the trainer.
        settings: Settings of the objective.
        grader: Function (completion, reference answer) -> True if correct; see `RolloutReader`.
        answer_format: Form of the answer; see `RolloutReader`.
        thinking_format: Name of the thinking format, or a file of it; see `RolloutReader`.

    Attributes:
        controller: Objective, prices and budget.

    Raises:
        DataError: a setting of the trainer would change the advantages or the distribution of rollouts, a setting of
            the objective needs control tokens, or two prompts have one id.
    """

    def __init__(
        self,
        prompts: Sequence[Row],
        args: GRPOConfig,
        settings: CHRPOSettings | None = None,
        *,
        grader: Grader | None = None,
        answer_format: AnswerFormat = "boxed",
        thinking_format: str | None = None,
    ) -> None:
        self.__name__ = type(self).__name__  # older releases of TRL name a reward by it
        _check(args, settings)
        answer_check(answer_format)
        self._reading = {"answer_format": answer_format, "thinking_format": thinking_format}
        self._grader = grader or default_grader(answer_format)
        self._places = {row["id"]: place for place, row in enumerate(prompts)}
        if len(self._places) < len(prompts):
            raise DataError(f"{len(prompts)} prompts have {len(self._places)} ids; give each its own")
        self._answers = reference_answers(prompts)
        self.controller = CHRPOController(prompts, None, group_size=int(args.num_generations or 0), settings=settings)
        self._model: Any = None

    # --- callback ----------------------------------------------------------------------------------------------------

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, processing_class: Any = None, **_: Any
    ) -> None:
        """Take model and tokenizer from the trainer, and the prices from the checkpoint that it goes on from.

        Raises:
            DataError: the checkpoint has no prices, or those of other settings.
        """
        tokenizer = getattr(processing_class, "tokenizer", processing_class)
        named = model.generation_config.eos_token_id
        self._model = model
        self._reader = RolloutReader(
            tokenizer,
            None,
            [tokenizer.eos_token_id, *([named] if isinstance(named, int) else named or [])],
            self._grader,
            template_variables=args.chat_template_kwargs,
            **self._reading,
        )
        if state.global_step:
            saved = state.stateful_callbacks.get(type(self).__name__)
            if not isinstance(saved, dict) or "attributes" not in saved:
                raise DataError(
                    f"the checkpoint of step {state.global_step} has no prices; go on from one that was saved with "
                    "CHRPOReward among the callbacks"
                )
            self.controller.load_state_dict(saved["attributes"])

    def state(self) -> dict[str, Any]:
        """What the trainer saves in each checkpoint, as JSON values."""
        return {"args": {}, "attributes": self.controller.state_dict()}

    # --- reward function ---------------------------------------------------------------------------------------------

    def __call__(
        self,
        *,
        completion_ids: Sequence[Sequence[int]],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        """The advantage of each rollout of this process; prices and budget move for the next generation.

        Args:
            completion_ids: Token ids of each completion.
            log_metric: Function of the trainer that logs a number; TRL 0.29 gives none, and prices are not in its log.
            **columns: Columns of the dataset, `id` among them, and everything else that the trainer gives.

        Raises:
            ChrpoError: the object is not among the callbacks, the rollouts of a prompt are not together, no rollout has
                the right form, or the grader failed.
            DataError: the dataset has other prompts.
        """
        if self._model is None:
            raise ChrpoError(
                "CHRPOReward is not among the callbacks of the trainer, so its prices would be lost: pass "
                "callbacks=[reward], too"
            )
        rows = self._rows(columns)
        stats = self._reader.read_all(completion_ids, [self._answers[row] for row in rows])
        if not self._model.training:
            return [float(each.correct and each.format_ok) for each in stats]
        facts = gathered_columns({"row": rows, "ratio_index": [0] * len(rows), **stat_columns(stats)})
        if not facts["format_ok"].any():
            self._reader.refuse_step(len(facts["row"]), completion_ids)
        self._check_groups(facts["row"])
        batch = RolloutBatch.of(facts, np.zeros((len(facts["row"]), 1)))
        step = self.controller.token_advantages(self.controller.update(batch), batch, over="all")
        if log_metric is not None:
            for name, value in step.metrics.items():
                log_metric(f"chrpo/{name}", value)
        first = PartialState().process_index * len(rows)
        return step.response[first : first + len(rows)].tolist()

    def _rows(self, columns: dict[str, Any]) -> list[int]:
        """Index of each rollout's prompt."""
        if "id" not in columns:
            raise DataError("the dataset has no column id; make it of the prompts, as Dataset.from_list(rows)")
        if unknown := [name for name in columns["id"] if name not in self._places]:
            raise DataError(f"id {unknown[0]!r} of the dataset is none of the prompts that CHRPOReward got")
        return [self._places[name] for name in columns["id"]]

    def _check_groups(self, rows: Any) -> None:
        size = self.controller.group_size
        if len(rows) % size or (rows.reshape(-1, size) != rows[::size, None]).any():
            raise ChrpoError(f"the {size} rollouts of a prompt (num_generations) are not together in the batch")


def _check(args: GRPOConfig, settings: CHRPOSettings | None) -> None:
    """Refuse settings with which advantages or rollouts would not be those of the objective.

    Raises:
        DataError: there is such a setting; the message names the first one and its remedy.
    """
    wanted = {
        "scale_rewards": "none",
        "multi_objective_aggregation": "sum_then_normalize",
        "restore_callback_states_from_checkpoint": False,
    }
    for name, value in wanted.items():
        if getattr(args, name, value) != value:
            raise DataError(f"CHRPOReward: {name} is {getattr(args, name)!r}; it must be {value!r}")
    check_sampling("CHRPOReward", args)
    check_save_steps("CHRPOReward", args)
    if settings is not None and "clamp_correct" in settings.adding:
        raise DataError(
            "CHRPOReward: clamp_correct needs CHRPOTrainer, because GRPOTrainer subtracts the mean of the rewards again"
        )
