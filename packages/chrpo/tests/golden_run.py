"""One short run whose losses, prices and gradients must not depend on the release of TRL; see tools/trl_versions.py.

python golden_run.py make CHECKPOINT                 # the tiny checkpoint of conftest
python golden_run.py run CHECKPOINT OUT.json         # {"step 1": {"loss": …, "lambda/policy": …}, …}
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import trl
from conftest import NUMBERS, RATIOS, build_trainer, make_model, make_tokenizer, prompt_row, trl_config

from chrpo._shared.control_tokens import ControlTokens
from chrpo.metrics import read_metrics
from chrpo.trl import CHRPOTrainer


class Replay(CHRPOTrainer):
    """Gets the same completions in every release; what releases sample from one seed differs."""

    def _generate_single_turn(self, prompt_ids, *_, **__):
        generator = np.random.default_rng(self._generations)
        texts = [
            f"<think> {'so ' * generator.integers(1, 6)}</think> \\boxed{{ {generator.integers(3, 6)} }} [end]"
            for _ in prompt_ids
        ]
        ids = self.processing_class(texts, add_special_tokens=False)["input_ids"]
        return ids, None, *[{}] * trl.__version__.startswith("0.")


def make(folder: Path) -> None:
    """Write the checkpoint."""
    tokenizer = make_tokenizer()
    make_model(tokenizer, steps=260).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ControlTokens.ladder(RATIOS).save(folder)


def run(checkpoint: Path, out: Path) -> None:
    """Train with two steps per generation, a KL penalty, and accumulated passes, and write the metrics of each step."""
    rows = [prompt_row(number) for number in NUMBERS[3:]]
    rows += [prompt_row(str(n), f"<COMP_{20 + 40 * (n % 3)}>") for n in range(3)]
    with tempfile.TemporaryDirectory() as folder:
        changes = {"max_steps": 4, "per_device_train_batch_size": 6, "gradient_accumulation_steps": 2, "beta": 0.1}
        args = trl_config(folder, **changes, steps_per_generation=4, learning_rate=2e-4)
        trainer = build_trainer(checkpoint, args, rows, Replay)
        trainer.train()
        steps = {f"step {line['step']:g}": dict(line) for line in read_metrics(folder)}
        logged = [line for line in trainer.state.log_history if "loss" in line]
        for line in logged:
            steps.setdefault(f"step {line['step']}", {})
            steps[f"step {line['step']}"] |= {name: line[name] for name in ("loss", "grad_norm")}
        weights = {name: weight.double().square().sum().item() for name, weight in trainer.model.named_parameters()}
    out.write_text(json.dumps({**steps, "squares of the weights": weights}), "utf-8")


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    {"make": make, "run": run}[command](*map(Path, paths))
