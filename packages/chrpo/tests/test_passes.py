"""Passes with less padding train the same step."""

import json
from dataclasses import fields

import pytest
import torch

pytest.importorskip("trl")

LENGTHS = [[3, 1, 6, 2], [5, 2, 4, 1]]


def passes():
    """Two passes of one generation, padded as TRL pads: every token id says which row it is of."""
    made = []
    for number, lengths in enumerate(LENGTHS):
        count = torch.tensor(lengths)
        row = 10 * (4 * number + torch.arange(4))[:, None]
        mask = (torch.arange(6) < count[:, None]).long()
        prompt = (torch.arange(4) >= 4 - (1 + count % 3)[:, None]).long()
        made.append(
            {
                "prompt_ids": (row + 1) * prompt,
                "prompt_mask": prompt,
                "completion_ids": (row + 2) * mask,
                "completion_mask": mask,
                "advantages": (row + 5.0) * mask,
                "ref_per_token_logps": None,
                "num_items_in_batch": torch.tensor(24),
            }
        )
    return made


def rows(batches):
    """The tokens and advantages of each row without padding, by prompt."""
    found = {}
    for batch in batches:
        for index in range(len(batch["prompt_ids"])):
            prompt, answer = (batch[f"{part}_mask"][index].bool() for part in ("prompt", "completion"))
            key = tuple(batch["prompt_ids"][index][prompt].tolist())
            found[key] = [batch[name][index][answer].tolist() for name in ("completion_ids", "advantages")]
    return found


def test_rows_are_kept_and_columns_of_padding_are_not():
    from chrpo.trl.passes import cut_passes

    cut = cut_passes(passes(), step=2, tails=False)
    assert rows(cut) == rows(passes())
    assert [each["completion_mask"].sum(1).tolist() for each in cut] == [[6, 5, 4, 3], [2, 2, 1, 1]]
    assert [each["completion_ids"].shape for each in cut] == [(4, 6), (4, 2)]
    for batch in cut:
        assert batch["prompt_mask"][:, 0].any()
        assert batch["advantages"].shape == batch["completion_ids"].shape
        assert batch["ref_per_token_logps"] is None
        assert batch["num_items_in_batch"] == 24


def test_rows_stay_in_their_optimiser_step():
    from chrpo.trl.passes import cut_passes

    cut = cut_passes(passes(), step=1, tails=False)
    assert [rows([each]) for each in cut] == [rows([each]) for each in passes()]
    assert [each["completion_ids"].shape[1] for each in cut] == [6, 5]


def test_only_tokens_after_the_last_advantage_are_removed():
    from chrpo.trl.passes import cut_passes

    given = passes()
    given[0]["advantages"] = torch.tensor(
        [[1.0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0, 0, 2, 0, 0, 0], [0, 0, 0, 0, 0, 0]]
    )
    [cut] = cut_passes(given[:1], step=1, tails=True)
    assert cut["completion_mask"].tolist() == [[1, 1, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]]
    assert cut["completion_ids"][0].tolist() == [22, 22, 22]


@pytest.mark.parametrize(
    ("changes", "cut"),
    [
        ({}, True),
        ({"beta": 0.1}, False),
        ({"entropy_coef": 0.01}, False),
        ({"steps_per_generation": 4, "gradient_accumulation_steps": 2, "max_steps": 2}, True),
    ],
    ids=["defaults", "KL", "entropy bonus", "two steps"],
)
def test_a_run_is_the_same_whatever_its_passes(
    checkpoint, prompt_rows, tmp_path, monkeypatch, config, build, changes, cut
):
    from trl import GRPOConfig

    from chrpo.trl.passes import cut_passes

    if unknown := changes.keys() - {each.name for each in fields(GRPOConfig)}:
        pytest.skip(f"this release of TRL has no {', '.join(unknown)}")

    def run(name):
        settings = {"max_steps": 1, "per_device_train_batch_size": 6, "gradient_accumulation_steps": 4, **changes}
        trainer = build(checkpoint, config(tmp_path / name, **settings), prompt_rows)
        trainer.train()
        return trainer, [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]

    kept = []

    def cutting(passes, *, step, tails):
        found = cut_passes(passes, step=step, tails=tails)
        kept.append([sum(each["completion_mask"].sum().item() for each in batches) for batches in (passes, found)])
        return found

    monkeypatch.setattr("chrpo.trl.trainer.cut_passes", cutting)
    ours, lines = run("ours")
    monkeypatch.setattr("chrpo.trl.trainer.cut_passes", lambda passes, **_: passes)
    theirs, expected = run("theirs")
    [(before, after)] = kept
    assert (after < before) == cut
    for mine, other in zip(lines, expected, strict=True):
        assert mine == pytest.approx(other, rel=1e-4, abs=1e-6)
    for (_, left), (_, right) in zip(ours.model.named_parameters(), theirs.model.named_parameters(), strict=True):
        # AdamW moves a weight by up to 1e-3 here, also where its gradient is little more than a rounding error.
        assert torch.allclose(left, right, atol=1e-4)
