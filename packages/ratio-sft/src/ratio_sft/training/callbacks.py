"""Trainer callbacks: epoch of the sampler, complete checkpoints, the check of ratio following, the progress bar.

Building the trainer is left to `trainer`.

    following = FollowCheck(lambda: check_following(...), interval=50)
    trainer.add_callback(following)
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import Trainer, TrainerCallback

from ratio_sft._shared.progress import progress_bar
from ratio_sft._shared.training_checkpoints import mark_complete, remove_older
from ratio_sft.errors import RatioSftError

FOLLOWING = "following "
"""Prefix of the names of the check's figures in the trainer's log."""


class EpochOrder(TrainerCallback):
    """Sets the sampler's epoch, because the wrappers that a resume puts around the sampler do not always pass it on.

    `trainer` is set when the trainer exists; its `order` is the sampler.
    """

    trainer: Any = None

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Set the epoch."""
        if self.trainer is not None:
            self.trainer.order.set_epoch(int(state.epoch or 0))


class CompleteCheckpoints(TrainerCallback):
    """Marks a checkpoint as complete when every process has written its part, and keeps the newest two."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Wait for all processes, then mark the checkpoint and remove older ones."""
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")
            remove_older(Path(args.output_dir), keep=2)


class FollowCheck(TrainerCallback):
    """Logs how well the model follows its ratios, before each checkpoint is written, so that a resumed log has it too.

    Args:
        trainer: The trainer whose log gets the figures.
        check: Function that answers the held-out questions and returns the figures by name.
        interval: Number of steps between checkpoints.
    """

    def __init__(self, trainer: Trainer, check: Callable[[], dict[str, float]], interval: int) -> None:
        self.trainer = trainer
        self.check = check
        self.interval = interval

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Check and log at the steps of checkpoints and at the last step."""
        if state.global_step % self.interval and state.global_step < state.max_steps:
            return
        due = control.should_log
        model.eval()
        self.trainer.log({f"{FOLLOWING}{name}": figure for name, figure in self.check().items()})
        model.train()
        control.should_log = due  # otherwise this entry would count as the log entry of the loss


class Progress(TrainerCallback):
    """Shows a progress bar with the latest loss, and ends a run whose loss is not finite."""

    bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar on the main process."""
        if state.is_world_process_zero:
            self.bar = progress_bar(total=state.max_steps, initial=state.global_step, desc="train", unit="step")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count a step."""
        if self.bar is not None:
            self.bar.update()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Show the loss.

        Raises:
            RatioSftError: the loss is not finite.
        """
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        if not math.isfinite(loss):
            raise RatioSftError(f"the loss is {loss} at step {state.global_step}; lower --learning-rate")
        if self.bar is not None:
            self.bar.set_postfix(loss=f"{loss:.3f}", refresh=False)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
