"""From whichever checkpoint a run goes on: prices, budget, advantages, losses and weights are the undisturbed run's."""

import json
import shutil

import pytest

pytest.importorskip("trl")


@pytest.fixture(scope="module")
def rows(prompt_rows):
    """Floors that hold where the model chooses, so that the budget falls, and fail elsewhere, so that prices rise."""
    hard = dict.fromkeys(("0.2", "0.6", "1"), 1.0)
    return [{**row, "reference_accuracy": 0.0, "reference_accuracies": hard} for row in prompt_rows]


def train(build, checkpoint, args, rows, resumed=None):
    """Everything that a run computes, from its first generation or that of the checkpoint on."""
    from chrpo.trl import CHRPOTrainer

    seen = []

    class Recorder(CHRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            batch = super()._generate_and_score_completions(inputs)
            state = self.controller.state_dict()
            ids = batch["completion_ids"].tolist()
            seen.append((ids, self.result.reward.tolist(), batch["advantages"].tolist(), json.dumps(state)))
            return batch

    trainer = build(checkpoint, args, rows, Recorder)
    trainer.train(resume_from_checkpoint=resumed and str(resumed))
    losses = [(line["step"], line["loss"], line["grad_norm"]) for line in trainer.state.log_history if "loss" in line]
    return trainer, seen, losses


@pytest.mark.parametrize(("generation", "steps"), [(1, 5), (2, 6)], ids=["a step a generation", "two steps"])
def test_a_run_goes_on_exactly_from_every_checkpoint(checkpoint, rows, tmp_path, config, build, generation, steps):
    def args(folder):
        changes = {"steps_per_generation": generation, "save_strategy": "steps", "save_steps": generation}
        budget = {"budget_step": 0.25, "budget_hold": 2}
        return config(folder, max_steps=steps, per_device_train_batch_size=12, **changes, **budget)

    whole, seen, losses = train(build, checkpoint, args(tmp_path / "whole"), rows)
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text()
    logged = [json.loads(line) for line in lines.splitlines()]
    prices = {line["lambda/fixed@0.6"] for line in logged}
    assert len(prices) > 1, "a price that never moves would agree whatever the code"
    assert logged[-1]["budget"] < logged[0]["budget"]

    for step in range(generation, steps, generation):
        folder = tmp_path / f"from-{step}"
        name = f"checkpoint-{step}"
        shutil.copytree(tmp_path / "whole" / name, folder / name)
        (folder / "metrics.jsonl").write_text(lines, "utf-8")
        again, later, rest = train(build, checkpoint, args(folder), rows, folder / name)
        assert later == seen[step // generation :]
        assert rest == losses
        assert (folder / "metrics.jsonl").read_text() == lines
        for (_, left), (_, right) in zip(again.model.named_parameters(), whole.model.named_parameters(), strict=True):
            assert left.equal(right)
