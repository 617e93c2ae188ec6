"""A progress bar of a training run, with its present accuracy, ratio and price."""

from typing import Any

from transformers import TrainerCallback

from chrpo._shared.progress import progress_bar


class ProgressBar(TrainerCallback):
    """One bar over all optimiser steps, on the main process only."""

    def __init__(self) -> None:
        self._bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar at the step from which the run continues."""
        if state.is_world_process_zero:
            self._bar = progress_bar(total=state.max_steps, initial=state.global_step, desc="chrpo", unit="step")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Advance the bar by one step."""
        if self._bar is not None:
            self._bar.update(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the metrics of the step."""
        if self._bar is None or not logs:
            return
        shown = {"accuracy": "chrpo/policy/accuracy", "ratio": "chrpo/policy/ratio", "lambda": "chrpo/lambda/policy"}
        found = {name: f"{logs[key]:.3f}" for name, key in shown.items() if logs.get(key) is not None}
        self._bar.set_postfix(found)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
