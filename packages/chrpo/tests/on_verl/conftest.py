"""verl around a tiny model: a configuration, one step of a run, and what verl's queue contains afterwards.

Only the two things that need a GPU are played here: the server that generates, by the tiny model itself, and the
workers that hold the actor.

    step = one_step(compose(), checkpoint)
    step.rows["advantages"], step.metrics
"""

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

os.environ["VERL_USE_EXTERNAL_MODULES"] = "chrpo.verl"

CONFIG = Path(__file__).parents[4] / "examples/verl"
PROMPTS, ROLLOUTS = 4, 6


@pytest.fixture(scope="session")
def compose(checkpoint, prompt_rows, tmp_path_factory):
    """The example's configuration for the tiny checkpoint, with more settings."""
    return composing(checkpoint, prompt_rows, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def queue():
    import ray
    import transfer_queue

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    transfer_queue.init()
    yield transfer_queue
    transfer_queue.close()
    ray.shutdown()


@pytest.fixture(scope="session")
def one_step(queue):
    """`one_step(config, checkpoint)` is the first step of a run."""
    return lambda config, checkpoint: first_step(config, queue, checkpoint)


@pytest.fixture(scope="session")
def trained(compose, one_step, checkpoint):
    """A trainer after the rollouts and advantages of its first step, and the queue's content afterwards.

    Of the prompts in which the model chooses, the first, third and fifth are rolled out at every ratio.
    """
    return one_step(compose(**{"+chrpo__ladder_share": 0.5}), checkpoint)


def first_step(config, queue, checkpoint):
    """A trainer after the rollouts and advantages of its first step, and the queue's content afterwards."""
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
