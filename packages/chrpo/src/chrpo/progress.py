"""A progress bar on stderr for a training run, with accuracy, price and length as they are."""

from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback


class ProgressBar(TrainerCallback):
    """One bar over all optimiser steps, on the main process only."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar where a resumed run stands."""
        if state.is_world_process_zero:
            self._bar = tqdm(total=state.max_steps, initial=state.global_step, desc="chrpo", unit="step")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One step further."""
        if self._bar is not None:
            self._bar.update(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show what the step measured."""
        if self._bar is None or not logs:
            return
        shown = {"accuracy": "chrpo/policy/accuracy", "ratio": "chrpo/policy/ratio", "lambda": "chrpo/lambda/policy"}
        found = {name: f"{logs[key]:.3f}" for name, key in shown.items() if logs.get(key) is not None}
        self._bar.set_postfix(found)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close it."""
        if self._bar is not None:
            self._bar.close()
