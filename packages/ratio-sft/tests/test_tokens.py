import pytest
import torch
from tokenizers import AddedToken

from ratio_sft._shared.control_tokens import ControlTokens
from ratio_sft.errors import DataError
from ratio_sft.model import tokens as module

LADDER = ControlTokens.ladder((0.2, 0.4, 0.6, 0.8, 1.0))
ARCHITECTURES = [("qwen3", True), ("qwen3", False), ("llama", True), ("llama", False), ("smollm2", True)]


def weights(model):
    return model.get_input_embeddings().weight, model.get_output_embeddings().weight


@pytest.mark.parametrize(("architecture", "tied"), ARCHITECTURES)
@pytest.mark.parametrize("spare", [True, False])
def test_new_rows_are_near_the_mean_and_differ_and_old_rows_stay(make_model, make_tokenizer, architecture, tied, spare):
    tokenizer = make_tokenizer()
    known = len(tokenizer)
    model = make_model(architecture, tied=tied, rows=known + 20 if spare else known)
    before = [weight.detach().clone() for weight in weights(model)]
    module.add_control_tokens(model, tokenizer, LADDER)
    ids = module.token_ids(tokenizer, LADDER)
    assert ids == list(range(known, known + 6))
    assert model.get_input_embeddings().weight.shape[0] == (known + 20 if spare else known + 6)
    assert model.config.vocab_size == model.get_output_embeddings().weight.shape[0]
    assert (weights(model)[0].data_ptr() == weights(model)[1].data_ptr()) is tied
    for old, new in zip(before, weights(model), strict=True):
        assert torch.equal(old[:known], new[:known])
        if spare:
            assert torch.equal(old[ids[-1] + 1 :], new[ids[-1] + 1 :])
        distance = (new[ids] - old[:known].mean(dim=0)) / old[:known].std(dim=0, correction=0)
        assert 0.8 < distance.std().item() / module.NOISE < 1.2
        assert len({tuple(row.tolist()) for row in new[ids]}) == 6


def test_rows_depend_on_the_seed_only(make_model, make_tokenizer):
    def rows(seed, disturb):
        torch.manual_seed(disturb)
        model, tokenizer = make_model(), make_tokenizer()
        module.add_control_tokens(model, tokenizer, LADDER, seed=seed)
        return weights(model)[0][module.token_ids(tokenizer, LADDER)]

    assert torch.equal(rows(0, 1), rows(0, 2))
    assert not torch.equal(rows(0, 1), rows(1, 1))


def test_tokens_are_special_and_the_tokenizer_keeps_its_own(make_tokenizer, tmp_path):
    tokenizer = make_tokenizer()
    module.add_to_tokenizer(tokenizer, LADDER)
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer).from_pretrained(tmp_path)
    ids = again("<|im_start|>Tom has<COMP_40>", add_special_tokens=False)["input_ids"]
    assert again.decode(ids, skip_special_tokens=True) == "Tom has"
    assert again.decode(ids) == "<|im_start|>Tom has<COMP_40>"


def test_a_token_with_another_meaning_is_refused(make_tokenizer):
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<COMP_40>"])
    with pytest.raises(DataError, match=r"already has <COMP_40>"):
        module.add_to_tokenizer(tokenizer, LADDER)


def test_a_tokenizer_that_splits_a_token_is_refused(make_tokenizer):
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([AddedToken(" <", normalized=False)])
    with pytest.raises(DataError, match=r"splits <COMP_20> in 'a <COMP_20>'"):
        module.add_to_tokenizer(tokenizer, LADDER)


def test_a_checkpoint_keeps_its_ladder_and_an_inconsistent_one_is_refused(make_tokenizer, tmp_path):
    tokenizer = make_tokenizer()
    assert module.installed(tmp_path, tokenizer) is None
    LADDER.save(tmp_path)
    with pytest.raises(DataError, match="lacks <COMP_20>"):
        module.installed(tmp_path, tokenizer)
    module.add_to_tokenizer(tokenizer, LADDER)
    assert module.installed(tmp_path, tokenizer) == LADDER


def test_embeddings_that_are_not_finite_are_refused(make_model, make_tokenizer):
    model = make_model()
    with torch.no_grad():
        model.get_input_embeddings().weight[3, 0] = float("nan")
    with pytest.raises(DataError, match="not finite"):
        module.add_control_tokens(model, make_tokenizer(), LADDER)
