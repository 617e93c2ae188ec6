import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BloomConfig, BloomForCausalLM, Qwen3NextConfig, Qwen3NextForCausalLM

from ratio_sft import MixSettings, TrainSettings, build, train
from ratio_sft.errors import DataError
from ratio_sft.training.collator import Collator, fit, leaks


def rows_of(lengths):
    return [
        {"input_ids": [5 + (3 * n + i) % 60 for i in range(length)], "labels": [-100] * 2 + [7] * (length - 2)}
        for n, length in enumerate(lengths)
    ]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(40, 100))
def test_every_row_is_in_one_line_and_no_line_is_too_long(lengths, room):
    lines = fit(lengths, room)
    assert sorted(index for line in lines for index in line) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in line) <= room for line in lines)


@pytest.mark.parametrize("architecture", ["qwen3", "llama"])
@pytest.mark.parametrize("one_line", [False, True])
def test_packed_rows_get_the_log_probabilities_they_get_alone(make_model, architecture, one_line):
    model = make_model(architecture).eval()
    rows = rows_of([30, 5, 9, 21, 3, 30, 12])
    batch = Collator(1, pack=True, one_line=one_line)(rows)
    assert batch["input_ids"].shape[0] == (1 if one_line else 4)
    assert "attention_mask" not in batch
    alone = Collator(1, pack=False)
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
        starts = (batch["position_ids"] == 0).nonzero().tolist()
        found = 0
        for row in rows:
            expected = model(**{k: v for k, v in alone([row]).items() if k != "labels"}).logits[0]
            for line, start in starts:
                end = start + len(row["input_ids"])
                if batch["input_ids"][line, start:end].tolist() == row["input_ids"]:
                    assert torch.allclose(logits[line, start:end], expected, atol=1e-5)
                    found += 1
        assert found == len(rows)


def blooms():
    """An architecture that accepts no positions."""
    return BloomForCausalLM(BloomConfig(vocab_size=100, hidden_size=32, n_layer=2, n_head=2))


def next_qwen():
    """Linear attention in one layer, softmax attention and routed experts in the other."""
    linear = {f"linear_{name}_head_dim": 16 for name in ("key", "value")}
    linear |= {f"linear_num_{name}_heads": 2 for name in ("key", "value")}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    layers = ["linear_attention", "full_attention"]
    shape = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "layer_types": layers}
    config = Qwen3NextConfig(**shape, **heads, **linear, **experts, shared_expert_intermediate_size=32)
    return Qwen3NextForCausalLM(config)


@pytest.mark.parametrize(
    ("architecture", "leaking"), [("qwen3", False), ("llama", False), (blooms, True), (next_qwen, True)]
)
def test_a_model_whose_packed_rows_see_each_other_is_detected(make_model, architecture, leaking):
    torch.manual_seed(0)
    model = (architecture() if callable(architecture) else make_model(architecture)).train()
    state = torch.get_rng_state()
    assert leaks(model, Collator(1, pack=True)) is leaking
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())


@settings(max_examples=20)
@given(st.lists(st.integers(3, 20), min_size=1, max_size=12))
def test_labels_and_weights_stay_with_their_tokens(lengths):
    rows = [{**row, "weight": 1.0 + n} for n, row in enumerate(rows_of(lengths))]
    for pack in (False, True):
        batch = Collator(1, pack=pack)(rows)
        counted = batch["labels"] != -100
        assert counted.sum() == sum(length - 2 for length in lengths)
        total = sum(row["weight"] * (len(row["input_ids"]) - 2) for row in rows)
        assert batch["weights"][counted].sum().item() == pytest.approx(total)


QUICK = {"max_steps": 4, "learning_rate": 3e-3, "save_steps": 2, "batch_size": 16}


def losses(out):
    return [
        float(line.split('"loss": ')[1].split(",")[0]) for line in (out / "train_log.jsonl").read_text().splitlines()
    ]


def test_a_packed_run_has_the_losses_of_a_padded_one(tmp_path, base, mix_dir):
    padded = train(mix_dir, tmp_path / "padded", TrainSettings(model=str(base), **QUICK))
    packed = train(mix_dir, tmp_path / "packed", TrainSettings(model=str(base), packing=True, **QUICK))
    assert losses(tmp_path / "packed") == pytest.approx(losses(tmp_path / "padded"), rel=1e-5)
    assert packed["heldout_loss"] == pytest.approx(padded["heldout_loss"], rel=1e-4)


def test_weights_of_one_change_nothing_and_a_weight_of_zero_leaves_a_ratio_out(tmp_path, compressed, base):
    """Compared with weight 0 on .2, weight on .2 only makes its rows more likely than full-length ones."""
    build(compressed, tmp_path / "mix", MixSettings(heldout_share=0.1, policy_share=0))
    plain = {"model": str(base), "packing": True, **QUICK}
    even = ((0.2, 2.0), (0.6, 2.0), (1.0, 2.0))
    train(tmp_path / "mix", tmp_path / "plain", TrainSettings(**plain))
    train(tmp_path / "mix", tmp_path / "even", TrainSettings(ratio_weights=even, **plain))
    assert losses(tmp_path / "even") == pytest.approx(losses(tmp_path / "plain"), rel=1e-5)
    gaps = []
    for weights in (((0.6, 0.0), (1.0, 0.0)), ((0.2, 0.0),)):
        longer = TrainSettings(ratio_weights=weights, **{**plain, "max_steps": 12})
        heldout = train(tmp_path / "mix", tmp_path / f"out{len(gaps)}", longer)["heldout_loss"]
        gaps.append(heldout["fixed 0.2"] - heldout["fixed 1"])
    assert gaps[0] < gaps[1]
    with pytest.raises(DataError, match=r"names ratio 0\.3, but no row to train on has it"):
        train(tmp_path / "mix", tmp_path / "none", TrainSettings(ratio_weights=((0.3, 1.0),), **plain))
