"""The parts that verl looks up by name, with verl's own registries, workers and queue; `make test-verl` runs them.

Only the two things that need a GPU are played here: the server that generates, by the tiny model itself, and the
workers that hold the actor.
"""

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

os.environ["VERL_USE_EXTERNAL_MODULES"] = "chrpo.verl"
verl = pytest.importorskip("verl", reason="verl is not installed here; make test-verl has it")

CONFIG = Path(__file__).parents[3] / "examples/verl"
PROMPTS, ROLLOUTS = 4, 6
SHARE = {"+chrpo__ladder_share": 0.5}

# Ray and verl's queue talk over sockets of this machine.
pytestmark = [pytest.mark.verl, pytest.mark.enable_socket]


@pytest.fixture(scope="module")
def compose(checkpoint, prompt_rows, tmp_path_factory):
    """The example's configuration for the tiny checkpoint, with more settings."""
    return composing(checkpoint, prompt_rows, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def compose_plain(plain_checkpoint, plain_rows, tmp_path_factory):
    """The same for a checkpoint without control tokens."""
    return composing(plain_checkpoint, plain_rows, tmp_path_factory.mktemp("run"))


def composing(checkpoint, rows, folder):
    from hydra import compose, initialize_config_dir

    from chrpo._shared.records import write_records

    write_records(folder / "prompts.jsonl", rows)
    settings = {
        "data.train_files": folder / "prompts.jsonl",
        "data.train_batch_size": PROMPTS,
        "data.max_response_length": 24,
        "data.max_prompt_length": 16,
        "data.dataloader_num_workers": 0,
        "actor_rollout_ref.model.path": checkpoint,
        "actor_rollout_ref.actor.ppo_mini_batch_size": PROMPTS,
        "actor_rollout_ref.rollout.n": ROLLOUTS,
        "trainer.default_local_dir": folder,
    }

    def composed(**more):
        named = {**settings, **{name.replace("__", "."): value for name, value in more.items()}}
        with initialize_config_dir(str(CONFIG), version_base=None):
            return compose("qwen3_1p7b", [f"{name}={value}" for name, value in named.items()])

    return composed


class Server:
    """Generates with the tiny model, as one of verl's servers would."""

    def __init__(self, model):
        self.model = model

    async def generate(self, *, prompt_ids, sampling_params, **_):
        import torch
        from verl.workers.rollout.replica import TokenOutput

        ids = torch.tensor([prompt_ids])
        allowed = sampling_params.get("allowed_token_ids")
        out = self.model.generate(
            ids,
            do_sample=True,
            max_new_tokens=sampling_params["max_tokens"],
            pad_token_id=0,
            attention_mask=ids > -1,
            prefix_allowed_tokens_fn=allowed and (lambda *_: allowed),
        )
        return TokenOutput(token_ids=out[0, len(prompt_ids) :].tolist())


@pytest.fixture(scope="module")
def queue():
    import ray
    import transfer_queue

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    transfer_queue.init()
    yield transfer_queue
    transfer_queue.close()
    ray.shutdown()


@pytest.fixture(scope="module")
def trained(compose, queue, checkpoint):
    """A trainer after the rollouts and advantages of its first step, and the queue's content afterwards.

    Of the prompts in which the model chooses, the first, third and fifth are rolled out at every ratio.
    """
    return one_step(compose(**SHARE), queue, checkpoint)


@pytest.fixture(scope="module")
def trained_grpo(compose, queue, checkpoint):
    """The same with a baseline that draws its ratios."""
    return one_step(compose(**{"+chrpo__objective": "grpo", "chrpo__accuracy_slack": 0.0}), queue, checkpoint)


def one_step(config, queue, checkpoint):
    import torch
    from tensordict import TensorDict
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker
    from verl.trainer.ppo.padding_utils import upsample_batch_to_divisible_size
    from verl.trainer.ppo.v1 import AgentLoopWorkerTQ, get_trainer_cls

    torch.manual_seed(0)
    trainer = get_trainer_cls("chrpo")(config)
    trainer.tokenizer, trainer.processor = AutoTokenizer.from_pretrained(checkpoint), None
    trainer._init_dataloader()
    trainer.global_steps = 1
    model = AutoModelForCausalLM.from_pretrained(checkpoint)

    rewards = RewardLoopWorker(config)
    handle = SimpleNamespace(compute_score=SimpleNamespace(remote=rewards.compute_score))
    worker_class = AgentLoopWorkerTQ.__ray_metadata__.modified_class

    def generate(batch):
        async def run():
            worker = worker_class(config, Server(model), reward_loop_worker_handles=[handle])
            worker.hf_model_type = None  # verl's Qwen3 rules are about newlines, which the tiny tokenizer has not
            await worker.generate_sequences(batch)
            await asyncio.gather(*worker.background_tasks)

        asyncio.run(run())

    trainer.agent_loop_manager = SimpleNamespace(generate_sequences=generate)
    trainer._add_batch_to_generate()
    batch, _ = trainer.replay_buffer.sample(global_steps=1, partition_id="train", batch_size=PROMPTS)
    # verl completes the last mini-batch with rollouts of its own, and distributes all of them to the workers by length.
    batch = upsample_batch_to_divisible_size(batch, 13, trainer.tokenizer.eos_token_id)
    batch.reorder(np.random.default_rng(0).permutation(len(batch)).tolist())
    rollouts = queue.kv_batch_get(keys=batch.keys, partition_id="train")
    log_probs = []
    for prompt, response in zip(rollouts["prompts"].unbind(), rollouts["responses"].unbind(), strict=True):
        with torch.no_grad():
            logits = model(torch.cat([prompt, response])[None]).logits[0, len(prompt) - 1 : -1]
        log_probs.append(logits.log_softmax(-1).gather(1, response[:, None])[:, 0])
    old = torch.nested.as_nested_tensor(log_probs, layout=torch.jagged)
    queue.kv_batch_put(
        keys=batch.keys, partition_id="train", fields=TensorDict({"old_log_probs": old}, batch_size=len(batch))
    )
    metrics = {}
    trainer._compute_advantage(batch, metrics)
    padding = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if tag.get("is_padding")]
    rows, fillers = (
        queue.kv_batch_get(keys=keys, partition_id="train")
        for keys in ([key for key in batch.keys if key not in padding], padding)
    )
    return SimpleNamespace(trainer=trainer, model=model, batch=batch, metrics=metrics, rows=rows, fillers=fillers)


def test_importing_verl_registers_every_part():
    from verl.experimental.agent_loop.agent_loop import _agent_loop_registry
    from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn
    from verl.trainer.ppo.v1 import get_trainer_cls

    found = [get_reward_manager_cls("chrpo"), get_adv_estimator_fn("chrpo"), get_trainer_cls("chrpo")]
    assert all(part.__module__.startswith("chrpo.verl.") for part in found)
    assert _agent_loop_registry["chrpo"]["_target_"] == "chrpo.verl.agent_loop.RatioAgentLoop"


def test_the_example_configuration_is_one_that_verl_and_chrpo_take(compose):
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    from chrpo.verl import check_config

    config = compose()
    check_config(config)
    validate_config(config, need_reference_policy(config), need_critic(config))


def test_the_command_of_the_example_gives_every_setting_that_is_asked_for():
    import re
    import shlex

    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    command = re.search(r"python -m verl\.trainer\.main_ppo .*?```", (CONFIG / "README.md").read_text(), re.DOTALL)
    *_, name, train, model, folder = shlex.split(command.group().strip("`").replace("\\\n", " "))
    with initialize_config_dir(str(CONFIG), version_base=None):
        config = compose(name, [train, model, folder])
    assert not OmegaConf.missing_keys(config) - {"reward.reward_model.rollout.name"}
    assert config.ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES == "chrpo.verl"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("algorithm__adv_estimator", "grpo"), ("actor_rollout_ref__rollout__calculate_log_probs", True)],
)
def test_a_setting_that_changes_what_advantages_mean_is_refused(compose, setting, value):
    from chrpo.errors import DataError
    from chrpo.verl import CHRPOTrainer

    with pytest.raises(DataError, match=setting.replace("__", r"\.")):
        CHRPOTrainer(compose(**{setting: value}))


def test_verls_own_trainers_get_a_clear_error():
    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    from chrpo.errors import ChrpoError

    with pytest.raises(ChrpoError, match="trainer_mode=chrpo"):
        get_adv_estimator_fn("chrpo")(token_level_rewards=torch.ones(1, 2), response_mask=torch.ones(1, 2))


def test_every_rollout_opens_with_a_ratio_token_the_requested_the_next_of_the_ladder_or_a_drawn_one(trained):
    ids = trained.trainer.tokenizer.convert_tokens_to_ids
    ladder = [ids(f"<COMP_{percent}>") for percent in (20, 60, 100)]
    opened = {}
    for uid, index, prompt, response in zip(
        trained.rows["uid"],
        trained.rows["index"],
        trained.rows["prompts"].unbind(),
        trained.rows["responses"].unbind(),
        strict=True,
    ):
        opened.setdefault((uid, int(index), int(prompt[-2])), []).append(int(response[0]))
    assert len(opened) == PROMPTS
    seen = set()
    for (_, index, asked), first in opened.items():
        if asked != ids("<COMP_POLICY>"):
            assert first == [asked] * ROLLOUTS
        elif index in (0, 2, 4):
            assert sorted(first) == sorted(ladder * 2)
        else:
            assert set(first) <= set(ladder)
        seen.add((asked == ids("<COMP_POLICY>")) * (1 + (index in (0, 2, 4))))
    assert {1, 2} <= seen, "both kinds of prompt occur in the step"


def test_advantages_are_those_of_the_core_on_the_same_rollouts(trained, checkpoint, prompt_rows):
    import torch

    from chrpo._shared.control_tokens import ControlTokens
    from chrpo.core import ConstrainedReward, Outcomes, control_advantages, leave_one_out, response_weights
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
    across = leave_one_out(rewards, prompt).advantages
    response = np.where(np.bincount(cell)[cell] == 1, across, leave_one_out(rewards, cell).advantages)
    response *= np.where(whole, response_weights(policy, 0.5)[np.arange(len(ratio_index)), ratio_index], 1.0)
    control = np.where(chooses, across, 0.0)
    _, first, label = np.unique(prompt[whole], return_index=True, return_inverse=True)
    control[whole] = control_advantages(
        rewards[whole], prompt=label, ratio=ratio_index[whole], policy=policy[whole][first]
    ).advantages

    lengths = np.array([len(ids) for ids in responses])
    signal, answers = (lengths - 1)[response != 0].sum(), (lengths - 1).sum()
    assert signal, "rollouts without any signal would agree whatever the code"
    for place, advantages in enumerate(rows["advantages"].unbind()):
        assert advantages[0] == pytest.approx(5 * control[place] * lengths.sum() / answers, abs=1e-5)
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
    own, verls = (CHRPOController(prompt_rows, tokens, group_size=ROLLOUTS, settings=settings) for _ in range(2))
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
    """Plain GRPO: where the model chose the ratio, all tokens of a rollout have one advantage."""
    ids = trained_grpo.trainer.tokenizer.convert_tokens_to_ids
    ladder = {ids(f"<COMP_{percent}>") for percent in (20, 60, 100)}
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
            assert float(advantages[0]) == 0
    assert len(seen) > 1
    assert moved, "rollouts without any signal would agree whatever the code"
    assert trained_grpo.metrics["chrpo/lambda/policy"] == 0
    assert "chrpo/policy/entropy" not in trained_grpo.metrics


def test_rollouts_that_verl_adds_to_fill_a_batch_teach_nothing(trained):
    assert len(trained.rows) == PROMPTS * ROLLOUTS
    assert len(trained.fillers) == 2
    assert not any(advantages.any() for advantages in trained.fillers["advantages"].unbind())


def test_the_score_that_verl_shows_is_accuracy(trained):
    scores = [float(score[-1]) for score in trained.rows["rm_scores"].unbind()]
    facts = [fields["reward_extra_info"] for fields in trained.rows["extra_fields"]]
    assert scores == [float(fact["correct"] and fact["format_ok"]) for fact in facts]
    assert trained.metrics["chrpo/accuracy"] == pytest.approx(np.mean([fact["correct"] for fact in facts]))


GRADERS = """
import asyncio

calls = []

async def credit(completions, answers, most):
    calls.append(len(completions))
    await asyncio.sleep(0.01)
    right = [text.endswith("{ " + answer + " }") for text, answer in zip(completions, answers, strict=True)]
    return [most if each else 0.5 for each in right]

credit.batched, credit.correct_from = True, 0.75

def undeclared(completion, answer):
    return 0.5
"""


@pytest.fixture
def graded_by(tmp_path):
    """Settings that name one of the graders."""
    path = tmp_path / "graders_of_mine.py"
    path.write_text(GRADERS)

    def settings(name, **more):
        function = {"path": path, "name": name, **more}
        return {f"++reward__custom_reward_function__{key}": value for key, value in function.items()}

    return settings


def test_an_async_batched_grader_with_declared_credit_judges_as_the_plain_one(
    compose, queue, checkpoint, prompt_rows, graded_by
):
    from chrpo._shared.control_tokens import ControlTokens
    from chrpo.rollout import RolloutReader

    own = graded_by("credit", reward_kwargs__most=0.8)
    step = one_step(compose(**own, **{"+chrpo__answer_format": "any"}), queue, checkpoint)
    tokenizer = step.trainer.tokenizer
    reader = RolloutReader(tokenizer, ControlTokens.load(checkpoint), [tokenizer.eos_token_id])
    facts = [fields["reward_extra_info"] for fields in step.rows["extra_fields"]]
    responses = [response.tolist() for response in step.rows["responses"].unbind()]
    answers = [prompt_rows[fact["row"]]["answer"] for fact in facts]
    expected = reader.read_all([ids[1:] for ids in responses], answers)
    assert [fact["correct"] for fact in facts] == [each.correct for each in expected]
    assert {fact["correct"] for fact in facts} == {True, False}


def test_a_score_that_is_no_bool_and_not_declared_is_refused_by_name(compose, checkpoint, graded_by):
    import torch
    from transformers import AutoTokenizer
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker

    from chrpo.errors import ChrpoError

    text = "<COMP_20> <think> so </think> \\boxed{ 7 } [end]"
    ids = torch.tensor(AutoTokenizer.from_pretrained(checkpoint).encode(text, add_special_tokens=False))
    rollout = {"responses": ids, "attention_mask": torch.ones_like(ids)}
    item = SimpleNamespace(batch=rollout, non_tensor_batch={"answer": "7", "index": 0})
    worker = RewardLoopWorker(compose(**graded_by("undeclared")))
    with pytest.raises(ChrpoError, match=r"undeclared returned 0\.5 .*or declare partial credit"):
        asyncio.run(worker.reward_manager.run_single([item]))


def test_a_step_without_a_well_formed_rollout_stops_and_quotes_three(compose, queue, checkpoint):
    from chrpo.errors import ChrpoError

    with pytest.raises(ChrpoError, match=r"none of the 24 rollouts of a step has the right form") as stopped:
        one_step(compose(**{"+chrpo__answer_format": "answer-tag"}), queue, checkpoint)
    assert ") another form of answer: '<think>" in str(stopped.value)
    assert "(3) " in str(stopped.value)
    assert "(4) " not in str(stopped.value)
    assert "then one answer in <answer></answer>" in str(stopped.value)


def test_the_thinking_format_is_a_setting(compose, queue, checkpoint):
    from chrpo.errors import ChrpoError

    with pytest.raises(ChrpoError, match=r"\(3\) no single thinking block: .* one thinking block \(\[THINK\]"):
        one_step(compose(**{"+chrpo__thinking_format": "bracket-think"}), queue, checkpoint)


def test_a_form_without_a_grader_is_refused_before_workers_start(compose):
    from chrpo.errors import DataError
    from chrpo.verl import CHRPOTrainer

    with pytest.raises(DataError, match="format any does not tell where the answer is"):
        CHRPOTrainer(compose(**{"+chrpo__answer_format": "any"}))


def test_prices_come_back_bit_for_bit_and_a_checkpoint_without_them_is_refused(trained, compose):
    from chrpo.errors import DataError
    from chrpo.verl import CHRPOTrainer
    from chrpo.verl.trainer import STATE_FILE

    group = SimpleNamespace(save_checkpoint=lambda *_, **__: None, load_checkpoint=lambda **_: None)
    trained.trainer.actor_rollout_wg = group
    trained.trainer._save_checkpoint()
    config = compose(**SHARE)
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


def test_without_control_tokens_advantages_are_those_of_a_plain_loop(
    compose_plain, queue, plain_checkpoint, plain_rows
):
    from chrpo import CHRPOController, Rollout, RolloutReader

    step = one_step(compose_plain(), queue, plain_checkpoint)
    tokenizer, rows = step.trainer.tokenizer, step.rows
    controller = CHRPOController(plain_rows, None, group_size=ROLLOUTS, settings=step.trainer.controller.settings)
    reader = RolloutReader(tokenizer, None, [tokenizer.eos_token_id])
    responses = [ids.tolist() for ids in rows["responses"].unbind()]
    places = [int(index) for index in rows["index"]]
    assert not [token for ids in responses for token in tokenizer.convert_ids_to_tokens(ids) if token[:6] == "<COMP_"]
    stats = reader.read_all(responses, [plain_rows[place]["answer"] for place in places])
    rollouts = [Rollout(row=place, stats=each) for place, each in zip(places, stats, strict=True)]
    expected = controller.step(rollouts, list(rows["uid"]))
    assert expected.response.any()
    for advantages, response in zip(rows["advantages"].unbind(), expected.response, strict=True):
        assert advantages.numpy() == pytest.approx(response, abs=1e-6)
    assert step.trainer.controller.state_dict() == controller.state_dict()
    assert controller.prices()["policy"] != 8, "a price that never moves would agree whatever the code"


def test_without_control_tokens_a_step_without_a_well_formed_rollout_is_quoted_from_its_first_token(
    compose_plain, queue, plain_checkpoint
):
    from chrpo.errors import ChrpoError

    with pytest.raises(
        ChrpoError, match=r"none of the 24 rollouts of a step has the right form.*form of answer: '<think>"
    ):
        one_step(compose_plain(**{"+chrpo__answer_format": "answer-tag"}), queue, plain_checkpoint)


def test_a_setting_that_needs_control_tokens_is_refused(compose_plain):
    from chrpo.errors import DataError
    from chrpo.verl import CHRPOTrainer

    with pytest.raises(DataError, match="ladder_share: needs control tokens, and the model has none"):
        CHRPOTrainer(compose_plain(**SHARE))
