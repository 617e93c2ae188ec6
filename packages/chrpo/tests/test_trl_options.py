"""What CHRPO expects of TRL and what it passes through: KL, vLLM, LoRA; and the budget that falls during training."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from chrpo.errors import ChrpoError

pytest.importorskip("trl")


def metrics(folder):
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


class ServedByTransformers:
    """Takes the requests that TRL sends to a vLLM server, and lets the trained model itself answer."""

    def __init__(self, trainer):
        self.trainer, self.requests = trainer, []

    def generate(self, prompts, features, n, max_tokens, **_):
        self.requests.append((prompts, n))
        completions = []
        for prompt in prompts:
            with torch.no_grad():
                out = self.trainer.model.generate(
                    torch.tensor([prompt]), max_new_tokens=max_tokens, do_sample=False, pad_token_id=0
                )[0, len(prompt) :].tolist()
            end = self.trainer.processing_class.eos_token_id
            completions.append(out[: out.index(end) + 1] if end in out else out)
        logprobs = [[[-0.1]] * len(ids) for ids in completions]
        return {"prompt_ids": prompts, "completion_ids": completions, "logprobs": logprobs}


def test_a_trl_with_other_methods_is_refused(monkeypatch):
    from trl.trainer.grpo_trainer import GRPOTrainer

    from chrpo.trl.compat import check_methods

    monkeypatch.setattr(GRPOTrainer, "_tokenize_prompts", lambda self, prompts, tools: None)
    with pytest.raises(ChrpoError, match=r"_tokenize_prompts\(self, prompts\).*'tools'.*install trl>=0.29,<1.17"):
        check_methods()


@pytest.mark.parametrize(
    ("release", "words"),
    [
        ("0.24.0", r"does not support TRL 0\.24\.0; install trl>=0\.29,<1\.17"),
        ("1.17.0.dev0", r"does not support TRL 1\.17"),
        ("1.15.0", "with triton, which is not installed"),
    ],
)
def test_a_trl_beyond_the_range_is_refused(monkeypatch, release, words):
    import trl

    from chrpo.trl.compat import check_methods

    monkeypatch.setattr(trl, "__version__", release)
    monkeypatch.setattr("chrpo._shared.trl_release.find_spec", lambda name: None)
    with pytest.raises(ChrpoError, match=words):
        check_methods()


@pytest.mark.parametrize(
    ("extra", "lost", "words"), [({"routing": 1}, "", r"unknown: \['routing'\]"), ({}, "advantages", "'advantages'")]
)
def test_a_batch_with_other_fields_is_refused(extra, lost, words):
    from chrpo.trl.compat import check_batch

    names = "prompt_ids prompt_mask completion_ids completion_mask advantages num_items_in_batch ref_per_token_logps"
    batch = dict.fromkeys(names.split())
    check_batch(batch)
    with pytest.raises(ChrpoError, match=words):
        check_batch({name: value for name, value in {**batch, **extra}.items() if name != lost})


def test_a_vllm_server_is_asked_for_every_rollout_behind_its_own_ratio_token(
    checkpoint, prompt_rows, tmp_path, config, build
):
    import trl
    from trl.generation.vllm_generation import VLLMGeneration

    if not trl.__version__.startswith("1.16"):  # older releases import vllm for a request to a server, too
        pytest.importorskip("vllm")
    trainer = build(checkpoint, config(tmp_path, max_steps=1, beta=0.1), prompt_rows)
    client = ServedByTransformers(trainer)
    served = SimpleNamespace(
        mode="server", accelerator=trainer.accelerator, vllm_client=client, max_completion_length=15, logprobs=0,
        temperature=1.0, top_p=1.0, top_k=0, min_p=None, repetition_penalty=1.0, structured_outputs_regex=None,
        generation_kwargs={}, sync_weights=lambda: None,
    )  # fmt: skip
    served.generate = lambda **request: VLLMGeneration.generate(served, **request)
    trainer.use_vllm, trainer.vllm_generation, trainer._last_loaded_step = True, served, -1

    inputs = [{"prompt": trainer.rows[row]["prompt"], "row": row} for row in (0, 5) for _ in range(6)]
    trainer.model.train()
    batch = trainer._generate_and_score_completions(inputs)
    [(prompts, number)] = client.requests
    assert number == 1
    last = trainer.processing_class.convert_ids_to_tokens([ids[-1] for ids in prompts])
    asked = inputs[6]["prompt"][-1]["content"].split()[-1]
    assert last[:3] == ["<COMP_20>", "<COMP_60>", "<COMP_100>"]
    assert last[6:] == [asked] * 6
    assert trainer.processing_class.convert_ids_to_tokens(batch["completion_ids"][:, 0].tolist()) == last
    shape = batch["completion_ids"].shape
    for name in ("old_per_token_logps", "ref_per_token_logps", "sampling_per_token_logps", "importance_sampling_ratio"):
        assert batch[name].shape == shape
    assert set(batch["importance_sampling_ratio"][:, 0].tolist()) == {1.0}
    assert batch["ref_per_token_logps"][:, 1:].numpy() == pytest.approx(
        batch["old_per_token_logps"][:, 1:].numpy(), abs=1e-4
    )
    trainer.current_gradient_accumulation_steps = 1
    assert trainer._compute_loss(trainer.model, batch).isfinite()


def test_kl_is_over_all_tokens_and_leaves_the_size_of_the_advantages(checkpoint, prompt_rows, tmp_path, config, build):
    batches = []
    for beta in (0.0, 0.1):
        options = config(tmp_path / str(beta), max_steps=1, beta=beta, objective="paper")
        trainer = build(checkpoint, options, prompt_rows)
        trainer.model.train()
        inputs = [{"prompt": trainer.rows[row]["prompt"], "row": row} for row in (0, 1) for _ in range(6)]
        batches.append(trainer._generate_and_score_completions(inputs))
    plain, kl = batches
    assert kl["num_items_in_batch"] == kl["completion_mask"][:, 1:].sum()
    assert plain["num_items_in_batch"] < kl["num_items_in_batch"], "groups without signal have a KL term alone"
    each = [(batch["advantages"] / batch["num_items_in_batch"]).numpy() for batch in batches]
    assert each[1] == pytest.approx(each[0], abs=1e-6)


def test_the_merged_checkpoint_computes_what_the_adapters_computed(checkpoint, tmp_path):
    from transformers import AutoModelForCausalLM

    from chrpo.trl.lora import save_merged, wrap

    wrapped = wrap(AutoModelForCausalLM.from_pretrained(checkpoint), 4, seed=0)
    trained = {name for name, weight in wrapped.named_parameters() if weight.requires_grad}
    assert any("embed_tokens" in name for name in trained)
    assert any("lora_A" in name for name in trained)
    assert not any(name.endswith("q_proj.base_layer.weight") for name in trained)
    ids = torch.arange(12)[None]
    optimizer = torch.optim.AdamW([weight for weight in wrapped.parameters() if weight.requires_grad], lr=1e-2)
    for _ in range(3):
        wrapped(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    expected = wrapped.eval()(input_ids=ids).logits.detach()
    assert not torch.allclose(
        expected, AutoModelForCausalLM.from_pretrained(checkpoint)(input_ids=ids).logits, atol=0.1
    )
    save_merged(wrapped, tmp_path)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.allclose(merged(input_ids=ids).logits, expected, atol=1e-4)
    assert merged.get_output_embeddings().weight is merged.get_input_embeddings().weight


@pytest.mark.parametrize(("slack", "budgets"), [(0.9, [1.0, 0.5, 0.0]), (0.0, [1.0, 1.0, 1.0])])
def test_the_budget_falls_only_while_the_floors_hold(checkpoint, prompt_rows, tmp_path, slack, budgets, config, build):
    changes = {
        "max_steps": 3,
        "accuracy_slack": slack,
        "budget_step": 0.5,
        "budget_hold": 1,
        "per_device_train_batch_size": 12,
    }
    rows = [{**row, "reference_accuracy": 1.0} for row in prompt_rows]
    trainer = build(checkpoint, config(tmp_path, **changes), rows)
    trainer.train()
    lines = metrics(tmp_path)
    assert [line["budget"] for line in lines] == budgets
    if slack:
        weight = [line["lambda/policy"] + 0.01 for line in lines]
        saved = [line["reward/right"] - each / (each + 1) for line, each in zip(lines, weight, strict=True)]
        assert saved[0] == pytest.approx(0), "at budget 1 savings earn nothing"
        assert saved[-1] > 0.01


@pytest.mark.parametrize(
    ("changes", "rows", "words"),
    [
        ({"objective": "l1"}, slice(None), "needs the constrained reward"),
        ({"without": ["constraint"]}, slice(None), "needs the constrained reward"),
        ({}, slice(-3, None), "in which the model chooses"),
    ],
)
def test_a_budget_needs_a_price_and_a_choice(checkpoint, prompt_rows, tmp_path, changes, rows, words, config, build):
    from chrpo.errors import DataError

    with pytest.raises(DataError, match=words):
        build(
            checkpoint,
            config(tmp_path, budget_step=0.1, per_device_train_batch_size=6, **changes),
            prompt_rows[rows],
        )


def test_drawn_ratios_follow_the_policy_whatever_the_process(checkpoint, prompt_rows, tmp_path, config, build):
    changes = {"objective": "grpo", "num_generations": 4, "per_device_train_batch_size": 12}
    trainer = build(checkpoint, config(tmp_path, **changes), prompt_rows)
    rows = [0] * 3000 + [5] * 10
    log_probs = torch.tensor([[0.5, 0.3, 0.2]] * 3010).double().log()
    drawn = trainer.chosen_ratios(rows, log_probs, generation=8)
    shares = np.bincount(drawn[:3000], minlength=3) / 3000
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.03)
    assert set(drawn[3000:]) == {int(trainer.controller.prompts.requested[5])}
    assert trainer.chosen_ratios(rows, log_probs, generation=8) == drawn
    assert trainer.chosen_ratios(rows, log_probs, generation=9) != drawn, "another generation draws anew"
