"""Limits of a stranger's checkpoint folder: sizes, numbers and fields are refused before they cost anything."""

import json
import os
import re
import shutil
import sys
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file

from math_eval._shared import checkpoint_loader, tokenizer_file
from math_eval._shared.bounded import in_child
from math_eval._shared.checkpoint_loader import end_tokens, load_config, load_model, load_tokenizer
from math_eval._shared.tokenizer_file import read_tokenizer
from math_eval.errors import DataError

from .conftest import edit_json

FLOAT = torch.float32


@pytest.fixture
def folder(sound_checkpoint, tmp_path):
    return shutil.copytree(sound_checkpoint, tmp_path / "model")


@pytest.mark.parametrize(
    "name",
    [
        *("special_tokens_map.json", "config.json", "generation_config.json", "vocab.json", "merges.txt"),
        *("tokenizer.model", "chat_template.jinja", "additional_chat_templates/more.jinja"),
    ],
)
def test_a_file_beside_the_weights_is_refused_by_its_size_before_it_is_read(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    with (folder / name).open("w") as file:
        file.truncate(3 * 10**9)
    with pytest.raises(DataError, match=f"{name}: has 3000000000 bytes, more than 268435456"):
        load_tokenizer(folder)


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "tokenizer.json"])
def test_an_index_or_tokenizer_file_is_refused_by_its_size(folder, name):
    with (folder / name).open("w") as file:
        file.truncate(3 * 10**9)
    with pytest.raises(DataError, match=f"{name}: has 3000000000 bytes"):
        read_tokenizer(folder)


def test_a_large_file_that_is_no_part_of_a_tokenizer_raises_no_limit_without_end(folder, monkeypatch):
    limits = []
    monkeypatch.setattr(
        tokenizer_file, "in_child", lambda *given, **named: limits.append(named) or in_child(*given, **named)
    )
    with (folder / "optimizer.pt").open("w") as file:
        file.truncate(10**12)
    load_tokenizer(folder)
    assert limits[0]["memory_bytes"] == tokenizer_file.MEMORY_BYTES + 64 * 2**28


def test_weights_that_the_files_lack_are_not_made_as_large_as_the_config_says(folder, tmp_path):
    whole = load_file(folder / "model.safetensors")
    rest = {name: tensor for name, tensor in whole.items() if "embed_tokens" not in name and "lm_head" not in name}
    save_file(rest, folder / "model.safetensors", metadata={"format": "pt"})
    edit_json(folder / "config.json", vocab_size=10**8)
    with pytest.raises(DataError, match=r"config\.json asks for \d+ numbers, but the weights have only \d+ bytes"):
        load_model(folder, FLOAT)


@pytest.mark.parametrize(
    "fields",
    [
        {"model_type": "codegen", "n_embd": 8, "n_layer": 1, "n_head": 1, "rotary_dim": 4, "n_positions": 3 * 10**8},
        {"model_type": "gptj", "n_embd": 8, "n_layer": 1, "n_head": 1, "rotary_dim": 4, "n_positions": 3 * 10**8},
        {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 10**8},
        {"model_type": "ctrl", "n_embd": 8, "n_layer": 1, "n_head": 1, "dff": 8, "n_positions": 3 * 10**8},
    ],
    ids=lambda fields: fields["model_type"],
)
def test_masks_and_tables_of_positions_are_not_made_as_large_as_the_config_says(folder, fields):
    (folder / "config.json").write_text(json.dumps({**fields, "vocab_size": 20}))
    with pytest.raises(DataError, match=r"config\.json(: needs| asks for \d+ numbers|: the process|: takes)"):
        load_model(folder, FLOAT)


def test_tied_weights_count_once_and_a_head_may_be_missing(folder):
    weights = {
        name: tensor for name, tensor in load_file(folder / "model.safetensors").items() if "lm_head" not in name
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    edit_json(folder / "config.json", tie_word_embeddings=True)
    load_model(folder, FLOAT)
    load_model(folder, FLOAT, "AutoModelForTokenClassification")


def test_a_config_with_more_layers_than_tensors_is_refused_before_they_are_built(folder):
    for layers, message in (
        (100, "100 layers, but the weights have 26 tensors"),
        (10**8, "num_hidden_layers is 100000000; no model has more than 10000"),
    ):
        edit_json(folder / "config.json", num_hidden_layers=layers, layer_types=None)
        for load in (load_config, load_tokenizer, lambda folder: load_model(folder, FLOAT)):
            with pytest.raises(DataError, match=f"config\\.json: {message}"):
                load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match="no model has more than 10000"):
        load_tokenizer(folder)


def test_a_config_with_more_labels_than_any_model_has_is_refused_before_they_are_listed(folder):
    edit_json(folder / "config.json", num_labels=10**12)
    with pytest.raises(DataError, match=r"config\.json: num_labels is 1000000000000; no model has more than 1000000"):
        load_tokenizer(folder)


def test_numbers_that_pass_every_check_are_stopped_by_the_limits(folder, monkeypatch):
    monkeypatch.setattr(checkpoint_loader, "in_child", partial(in_child, seconds=3.0, memory_bytes=2**28))
    monkeypatch.setattr(tokenizer_file, "MEMORY_BYTES", 2**28)
    repeated = {"model_type": "gpt_neo", "num_layers": 2, "attention_types": [[["global", "local"], 3 * 10**9]]}
    (folder / "config.json").write_text(json.dumps(repeated))
    for load in (load_config, load_tokenizer, lambda folder: load_model(folder, FLOAT)):
        with pytest.raises(DataError, match=r": (needs more than \d+ MiB|takes longer than 3 seconds)"):
            load(folder)
    many = {"model_type": "funnel", "d_model": 8, "n_head": 2, "d_head": 4, "d_inner": 8, "block_sizes": [1, 10**8, 1]}
    (folder / "config.json").write_text(json.dumps(many))
    with pytest.raises(DataError, match=r"config\.json: (needs more than 256 MiB|takes longer than 3 seconds)"):
        load_model(folder, FLOAT, "AutoModelForTokenClassification")


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
def test_settings_of_more_than_4_mib_are_refused_before_they_are_parsed(folder, name):
    with (folder / name).open("r+b") as file:
        file.truncate(2**22 + 1)
    with pytest.raises(DataError, match=rf"{name}: has 4194305 bytes, more than 4194304"):
        load_tokenizer(folder)


def test_a_header_of_weights_of_more_than_16_mib_is_refused_before_it_is_parsed(folder):
    with (folder / "model.safetensors").open("wb") as file:
        file.write((2**24 + 1).to_bytes(8, "little"))
        file.truncate(2**25)
    with pytest.raises(DataError, match=r"corrupted weights \(a header of 16777217 bytes\)"):
        load_config(folder)


def test_folders_without_end_are_one_error(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for _ in range(sys.getrecursionlimit() + 200):
        os.mkdir("d")
        os.chdir("d")
    try:
        with pytest.raises(DataError, match="its folders are nested too deeply"):
            load_config(folder)
    finally:
        for _ in range(sys.getrecursionlimit() + 200):
            os.chdir("..")
            os.rmdir("d")


def test_a_token_without_measure_of_a_tokenizer_in_python_is_refused(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps({"<pad>": 0, "</s>": 1, "<unk>": 2, "v" * 20_000: 3}))
    tokens = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "</s>", "bos_token": "</s>"}
    edit_json(folder / "tokenizer_config.json", tokenizer_class="MgpstrTokenizer", **tokens)
    with pytest.raises(DataError, match="a token of 20000 characters; no tokenizer has one above 10000"):
        load_tokenizer(folder)


def test_a_wrong_end_token_among_very_many_is_named_alone(folder):
    edit_json(folder / "generation_config.json", eos_token_id=list(range(100_000)))
    with pytest.raises(DataError, match=r"end token [0-9]+ is no id of its tokenizer") as caught:
        end_tokens(folder, load_tokenizer(folder))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize(("values", "sign"), [([[]] * 40_000, "["), ([{}] * 40_000, "{"), ([0] * 400_000, ",")])
def test_settings_with_more_values_than_any_are_refused_before_they_are_parsed(folder, name, values, sign):
    edit_json(folder / name, harmless=values)
    with pytest.raises(DataError, match=rf"{name}: has \d+ times '{re.escape(sign)}', and no settings have more than"):
        load_tokenizer(folder)
