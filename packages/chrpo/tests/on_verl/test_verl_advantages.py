"""Advantages and prices in verl: those of the core, of TRL and of a loop of one's own on the same rollouts."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl is not installed here; make test-verl has it")
pytestmark = [pytest.mark.verl, pytest.mark.enable_socket]  # Ray and verl's queue talk over sockets of this machine


@pytest.fixture(scope="module")
def trained_grpo(compose, one_step, checkpoint):
    """One step with a baseline that draws its ratios."""
    return one_step(compose(**{"+chrpo__objective": "grpo", "chrpo__accuracy_slack": 0.0}), checkpoint)


def test_advantages_are_those_of_the_core_on_the_same_rollouts(trained, checkpoint, prompt_rows):
    import torch

    from chrpo._shared.control_tokens import ControlTokens
    from chrpo.core import ConstrainedReward, Outcomes, leave_one_out, response_weights
    from chrpo.core.constraint import Gains
    from chrpo.grader import grade
    from chrpo.rollout import RolloutReader

    tokens = ControlTokens.load(checkpoint)
    tokenizer = trained.trainer.tokenizer
    ladder = tokenizer.convert_tokens_to_ids(list(tokens.ratios))
    ratios = np.array(list(tokens.ratios.values()))
    reader = RolloutReader(tokenizer, tokens, [tokenizer.eos_token_id], grade)
    rows = trained.rows
    responses = [response.tolist() for response in rows["responses"].unbind()]
    source = [prompt_rows[int(index)] for index in rows["index"]]
    facts = [reader.read(ids[1:], row["answer"]) for ids, row in zip(responses, source, strict=True)]
    ratio_index = np.array([ladder.index(ids[0]) for ids in responses])
    _, prompt = np.unique(list(rows["uid"]), return_inverse=True)
    chooses = np.array([row["mode"] == "policy" for row in source])
    cost = np.array([fact.completion_tokens for fact in facts]) / 12
    rewards = ConstrainedReward()(
        Outcomes.of(
            format_ok=[fact.format_ok for fact in facts],
            correct=[fact.correct for fact in facts],
            requested_ratio=ratios[ratio_index],
            realised_ratio=ratios[ratio_index],
            cost=cost,
            policy=chooses,
        ),
        Gains().start,
    ).main
    policy = np.zeros((len(responses), 3))
    for place, ids in enumerate(rows["prompts"].unbind()):
        with torch.no_grad():
            policy[place] = trained.model(ids[None]).logits[0, -1, ladder].double().softmax(-1)
    cell = prompt * 3 + ratio_index
    whole = chooses & np.isin(np.array(list(rows["index"]), int), [0, 2, 4])
    advantage = leave_one_out(rewards, prompt).advantages * 5 / 6  # a reward minus the mean of all six
    weight = response_weights(policy, 0.5)[np.arange(len(ratio_index)), ratio_index]
    response = advantage * np.where(whole, weight, 1.0)

    lengths = np.array([len(ids) for ids in responses])
    has_signal = response != 0
    signal = (lengths - 1)[has_signal].sum()
    assert signal, "rollouts without any signal would agree whatever the code"
    counts = np.bincount(cell)[cell]
    own = policy[np.arange(len(ratio_index)), ratio_index]
    held = np.where(whole, own * 6 / counts, ~chooses)
    for place, advantages in enumerate(rows["advantages"].unbind()):
        control = chooses[place] * advantage[place] / has_signal.sum()
        first = 0.25 * (control + held[place] / len(held)) * lengths.sum()
        assert advantages[0] == pytest.approx(first, abs=1e-5)
        expected = np.full(lengths[place] - 1, response[place] * lengths.sum() / signal)
        assert advantages[1:].numpy() == pytest.approx(expected, abs=1e-5)


def test_every_objective_gives_verl_the_advantages_that_trls_path_gives(
    trained, queue, checkpoint, prompt_rows, each_objective
):
    """The rollouts of one step of verl, read from its queue, once more as TRL's adapter scores them."""
    import torch

    from chrpo import CHRPOController, CHRPOSettings, ControlTokens
    from chrpo.batch import RolloutBatch
    from chrpo.objective import OBJECTIVES

    tokens = ControlTokens.load(checkpoint)
    whole = "stratified" in OBJECTIVES[each_objective["objective"]].parts - {*each_objective.get("without", [])}
    settings = CHRPOSettings(**each_objective, ladder_share=0.5 if whole else None)
    own, verls = (CHRPOController(prompt_rows, tokens, group_size=6, settings=settings) for _ in range(2))
    before, trained.trainer.controller = trained.trainer.controller, verls
    try:
        trained.trainer._compute_advantage(trained.batch, {})
    finally:
        trained.trainer.controller = before
    padding = [bool(tag.get("is_padding")) for tag in trained.batch.tags]
    keys = [key for key, filler in zip(trained.batch.keys, padding, strict=True) if not filler]
    rows = queue.kv_batch_get(keys=keys, partition_id="train")

    order = np.argsort(list(rows["uid"]), kind="stable")
    facts = [rows["extra_fields"][place]["reward_extra_info"] for place in order]
    columns = {name: [fact[name] for fact in facts] for name in facts[0] if name != "acc"}
    ladder = trained.trainer.tokenizer.convert_tokens_to_ids(list(tokens.ratios))
    with torch.no_grad():
        logits = [trained.model(ids[None]).logits[0, -1].double() for ids in rows["prompts"].unbind()]
    log_probs = torch.stack(logits).log_softmax(-1)[:, ladder].numpy()[order]
    batch = RolloutBatch.of(columns, log_probs)
    expected = own.token_advantages(own.update(batch), batch, over="all")
    found = rows["advantages"].unbind()
    # The few that are kept of each prompt may all be correct.
    assert expected.control.any() or each_objective["objective"].startswith("gfpo")
    for place, control, response in zip(order, expected.control, expected.response, strict=True):
        assert float(found[place][0]) == pytest.approx(control, abs=1e-5)
        assert found[place][1:].numpy() == pytest.approx(response, abs=1e-5)


def test_a_baseline_draws_its_ratios_and_gives_a_rollout_one_advantage(trained_grpo):
    """Plain GRPO: where the model chose the ratio, all tokens of a rollout have one advantage; a request is held."""
    ids = trained_grpo.trainer.tokenizer.convert_tokens_to_ids
    ladder = {ids(f"<COMP_{percent}>") for percent in (20, 60, 100)}
    lengths = [len(ids) for ids in trained_grpo.rows["responses"].unbind()]
    held = 0.25 * sum(lengths) / len(lengths)
    seen, moved = set(), False
    for prompt, response, advantages in zip(
        trained_grpo.rows["prompts"].unbind(),
        trained_grpo.rows["responses"].unbind(),
        trained_grpo.rows["advantages"].unbind(),
        strict=True,
    ):
        assert int(response[0]) in ladder
        if int(prompt[-2]) == ids("<COMP_POLICY>"):
            seen.add(int(response[0]))
            assert len(set(advantages[1:].tolist())) == 1
            moved |= float(advantages[0]) != 0
            assert float(advantages[0]) == pytest.approx(float(advantages[1]), rel=1e-6)
        else:
            assert float(advantages[0]) == pytest.approx(held)
    assert len(seen) > 1
    assert moved, "rollouts without any signal would agree whatever the code"
    assert trained_grpo.metrics["chrpo/lambda/policy"] == 0
    assert "chrpo/policy/entropy" not in trained_grpo.metrics


def test_rollouts_that_verl_adds_to_fill_a_batch_teach_nothing(trained):
    assert len(trained.rows) == 4 * 6
    assert len(trained.fillers) == 2
    assert not any(advantages.any() for advantages in trained.fillers["advantages"].unbind())


def test_prices_come_back_bit_for_bit_and_a_checkpoint_without_them_is_refused(trained, compose):
    from chrpo.errors import DataError
    from chrpo.verl import CHRPOTrainer
    from chrpo.verl.trainer import STATE_FILE

    group = SimpleNamespace(save_checkpoint=lambda *_, **__: None, load_checkpoint=lambda **_: None)
    trained.trainer.actor_rollout_wg = group
    trained.trainer._save_checkpoint()
    config = compose(**{"+chrpo__ladder_share": 0.5})
    resumed = CHRPOTrainer(config)
    resumed.tokenizer, resumed.processor = trained.trainer.tokenizer, None
    resumed.actor_rollout_wg = group
    resumed._init_dataloader()
    assert resumed.controller.state_dict() != trained.trainer.controller.state_dict()
    resumed._load_checkpoint()
    assert resumed.controller.state_dict() == trained.trainer.controller.state_dict()
    (Path(config.trainer.default_local_dir) / "global_step_1" / STATE_FILE).unlink()
    with pytest.raises(DataError, match=r"chrpo_state\.json: no such file"):
        resumed._load_checkpoint()
