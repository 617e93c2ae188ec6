"""Rollouts decoded with finished rows removed are those of transformers' own loop."""

import pytest
import torch

pytest.importorskip("trl")

SIZES = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2}
HEADS = {**SIZES, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
MODELS = {
    "grouped heads": ("Llama", HEADS),
    "a short window": ("Mistral", {**HEADS, "sliding_window": 6}),
    "windows in turn": ("Gemma2", {**HEADS, "sliding_window": 5}),
    "learned positions": ("OPT", {**HEADS, "ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 64}),
    "experts": ("Mixtral", {**HEADS, "num_local_experts": 4}),
    "states, not keys": ("Mamba2", {**SIZES, "head_dim": 8, "num_heads": 8, "n_groups": 1, "state_size": 8}),
}
STARTS = [[7, 8, 9], [5], [11, 6, 30, 8, 9, 10], [31, 32]]
PROMPTS = [[*start, forced] for start in STARTS for forced in (3, 4, 17, 28, 33, 3)]
ENDS = [2, *range(20, 26), 34]
NEVER = [99]


def make(name):
    import transformers

    kind, sizes = MODELS[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**sizes, tie_word_embeddings=False, eos_token_id=2, pad_token_id=0)
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    for weight in model.parameters():
        weight.data.normal_(std=0.3)
    return model.eval()


def generate(model, prompts=PROMPTS, **settings):
    from transformers import GenerationConfig

    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    config = GenerationConfig(**{"max_new_tokens": 24, "top_k": 0, "pad_token_id": 0, "eos_token_id": ENDS, **settings})
    torch.manual_seed(0)
    return model.generate(ids, attention_mask=mask, generation_config=config)[:, width:]


def both(model, **settings):
    """The completions of transformers' own loop, and ours."""
    from chrpo.trl.decoding import compact_decoding

    theirs = generate(model, **settings)
    with compact_decoding(model):
        return theirs, generate(model, **settings)


@pytest.mark.parametrize("name", MODELS)
def test_greedy_rollouts_are_those_of_transformers(name):
    theirs, ours = both(make(name), do_sample=False)
    assert len(set((theirs != 0).sum(1).tolist())) > 2, "rows must end at different tokens"
    assert ours.equal(theirs)


@pytest.mark.parametrize(
    "settings",
    [{"temperature": 0.6}, {"top_p": 0.7}, {"top_k": 3}, {"min_p": 0.2}, {"repetition_penalty": 3.0}],
    ids=lambda settings: next(iter(settings)),
)
def test_sampling_follows_every_setting_and_draws_the_same_until_a_row_ends(settings):
    model = make("grouped heads")
    theirs, ours = both(model, do_sample=True, eos_token_id=NEVER, **settings)
    assert ours.equal(theirs)
    assert not ours.equal(generate(model, do_sample=True, eos_token_id=NEVER)), "the setting must matter"


def test_rows_that_are_left_follow_their_own_distribution():
    settings = {"do_sample": True, "temperature": 0.7, "max_new_tokens": 3, "eos_token_id": list(range(2, 24))}
    theirs, ours = both(make("grouped heads"), prompts=[PROMPTS[0]] * 4000 + [PROMPTS[9]] * 2000, **settings)
    assert not ours.equal(theirs), "rows must have ended"
    for rows in (slice(4000), slice(4000, None)):
        shares = [torch.bincount(each[rows, 2], minlength=40) / len(each[rows]) for each in (theirs, ours)]
        assert (shares[0] - shares[1]).abs().max() < 0.05
        assert shares[1].max() < 0.9


def test_adapters_are_decoded_with_and_a_model_is_left_as_it_was():
    from chrpo.trl.lora import wrap

    wrapped = wrap(make("grouped heads"), 4, seed=0)
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:
            weight.data.normal_()
    theirs, ours = both(wrapped, do_sample=False)
    assert ours.equal(theirs)
    with wrapped.disable_adapter():
        assert not generate(wrapped, do_sample=False).equal(ours)
    assert "generate" not in vars(wrapped)
