import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from ratio_sft import ControlTokens, TrainSettings, train
from ratio_sft.model import checkpoints

pytest.importorskip("peft", reason="LoRA needs peft (ratio-sft[lora])")

from ratio_sft.model import lora

IDS = torch.tensor([[3, 9, 27, 81, 40]])


@pytest.mark.parametrize(
    ("architecture", "tied"), [("qwen3", True), ("qwen3", False), ("llama", True), ("smollm2", True)]
)
def test_the_merged_and_reloaded_model_has_the_logits_of_the_trained_one(tmp_path, make_model, architecture, tied):
    model = make_model(architecture, tied=tied)
    model.save_pretrained(tmp_path / "base")
    wrapped = lora.wrap(model, rank=4, seed=0)
    trained = {name for name, weight in wrapped.named_parameters() if weight.requires_grad}
    assert any("embed_tokens" in name for name in trained)
    optimiser = torch.optim.SGD([weight for weight in wrapped.parameters() if weight.requires_grad], lr=0.5)
    for _ in range(3):
        wrapped(input_ids=IDS, labels=IDS).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    wrapped.eval()
    with torch.no_grad():
        expected = wrapped(input_ids=IDS).logits
        checkpoints.save_model(lora.merge(wrapped), tmp_path / "merged", like=tmp_path / "base")
        before = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
        after = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
        assert torch.allclose(after(input_ids=IDS).logits, expected, atol=1e-5)
        assert not torch.allclose(before(input_ids=IDS).logits, expected, atol=1e-2)
    assert after.config.tie_word_embeddings is tied
    assert (after.get_input_embeddings().weight is after.get_output_embeddings().weight) is tied
    assert before.state_dict().keys() == after.state_dict().keys()


def test_training_with_adapters_ends_in_a_plain_checkpoint_also_when_only_the_merge_was_left(
    tmp_path, base, mix_dir, cut_before_publishing
):
    settings = TrainSettings(model=str(base), lora_rank=4, max_steps=4, save_steps=2, learning_rate=1e-2)
    report = train(mix_dir, tmp_path / "whole", settings)
    assert report["last_loss"] < report["first_loss"]
    assert ControlTokens.load(tmp_path / "whole").policy == "<COMP_POLICY>"
    assert not list((tmp_path / "whole").glob("adapter*"))

    cut_before_publishing(mix_dir, tmp_path / "cut", settings)
    train(mix_dir, tmp_path / "cut", settings)
    models = [AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("whole", "cut")]
    with torch.no_grad():
        first, second = (model(input_ids=IDS).logits for model in models)
    assert torch.allclose(first, second, atol=1e-5)
    logs = [(tmp_path / name / "train_log.jsonl").read_text().splitlines() for name in ("whole", "cut")]
    assert [json.loads(line)["loss"] for line in logs[0]] == [json.loads(line)["loss"] for line in logs[1]]
