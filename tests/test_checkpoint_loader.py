"""A stranger's checkpoint folder: loaded without running anything of it, or refused in one line that names it."""

import json
import logging
import os
import pickle
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from math_eval._shared.checkpoint_loader import end_tokens, load_config, load_model, load_tokenizer
from math_eval.errors import DataError

from .conftest import edit_json

FLOAT = torch.float32


@pytest.fixture
def folder(sound_checkpoint, tmp_path):
    return shutil.copytree(sound_checkpoint, tmp_path / "model")


def load_all(folder):
    tokenizer = load_tokenizer(folder)
    return load_model(folder, FLOAT), tokenizer, end_tokens(folder, tokenizer)


def test_a_sound_folder_is_loaded(folder):
    model, tokenizer, ends = load_all(folder)
    assert model.dtype == FLOAT
    assert ends == [tokenizer.eos_token_id]


def test_code_of_the_folder_is_never_run_and_never_asked_about(folder, tmp_path, monkeypatch):
    marker = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass C: pass\n")
    code = {name: "evil.C" for name in ("AutoConfig", "AutoTokenizer", "AutoModelForCausalLM")}
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked a question"))
    edit_json(folder / "config.json", model_type="evil", auto_map=code)
    for load in (load_config, lambda folder: load_model(folder, FLOAT)):
        with pytest.raises(DataError, match=r"model: config\.json cannot be loaded"):
            load(folder)
    edit_json(folder / "tokenizer_config.json", tokenizer_class="Evil", auto_map={"AutoTokenizer": ["evil.C", None]})
    with suppress(DataError):
        load_tokenizer(folder)
    assert not marker.exists()


def test_code_of_a_part_of_the_model_is_never_run_and_never_asked_about(folder, tmp_path, monkeypatch):
    marker = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass C: pass\n")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    part = {"model_type": "siglip_text_model", "num_hidden_layers": 1, "auto_map": {"AutoModel": f"{folder}--evil.C"}}
    edit_json(folder / "config.json", model_type="fuyu", text_config=part)
    with pytest.raises(DataError, match=r"the weights cannot be loaded .*execute custom code"):
        load_model(folder, FLOAT)
    edit_json(folder / "config.json", model_type="gemma4_assistant", text_config=None, auto_map=part["auto_map"])
    with pytest.raises(DataError, match="cannot be loaded"):
        load_model(folder, FLOAT)
    assert not marker.exists()


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
def test_names_of_fields_never_reach_the_terminal(folder, file, capfd):
    token = {"content": "<pad>", "__type": "AddedToken", "\x1b]0;title\x07": True}
    edit_json(folder / file, pad_token=token, more=[[token]])
    with pytest.raises(DataError, match=rf"{file}: a field is named '\\x1b\]0;title\\x07'; remove it"):
        load_tokenizer(folder)
    assert "\x1b" not in "".join(capfd.readouterr())


def test_pickles_are_never_opened(folder, tmp_path):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match="only pickle weights"):
        load_model(folder, FLOAT)
    (folder / "model.safetensors").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match=r"model\.safetensors: corrupted weights"):
        load_model(folder, FLOAT)
    assert not marker.exists()


def test_files_outside_the_folder_are_refused(folder, tmp_path):
    outside = tmp_path / "outside.safetensors"
    (folder / "model.safetensors").rename(outside)
    (folder / "model.safetensors").symlink_to(outside)
    with pytest.raises(DataError, match="is a symbolic link to outside the folder"):
        load_model(folder, FLOAT)
    (folder / "model.safetensors").unlink()
    shutil.copy(outside, folder / "other.safetensors")
    index = folder / "model.safetensors.index.json"
    for name in ("../outside.safetensors", str(outside), "absent.safetensors", 3):
        index.write_text(json.dumps({"metadata": {}, "weight_map": {"model.norm.weight": name}}))
        with pytest.raises(DataError, match=r"index\.json: names .*, which is no file of the folder"):
            load_model(folder, FLOAT)
    (folder / "pickled.bin").touch()
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"model.norm.weight": "pickled.bin"}}))
    with pytest.raises(DataError, match=r"index\.json: names 'pickled\.bin', which is no safetensors file"):
        load_model(folder, FLOAT)
    index.write_text("[]")
    with pytest.raises(DataError, match=r"index\.json: no weight_map"):
        load_model(folder, FLOAT)


def test_a_subfolder_leads_nowhere(folder, tmp_path):
    templates = folder / "additional_chat_templates"
    templates.mkdir()
    (templates / "default.jinja").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match=r"default\.jinja: is a symbolic link to outside the folder"):
        load_tokenizer(folder)
    shutil.rmtree(templates)
    (folder / "sub").mkdir()
    shutil.copy(folder / "model.safetensors", tmp_path / "outside.safetensors")
    index = {
        "metadata": {},
        "weight_map": dict.fromkeys(load_file(folder / "model.safetensors"), "../outside.safetensors"),
    }
    (folder / "sub/a.safetensors.index.json").write_text(json.dumps(index))
    edit_json(folder / "config.json", transformers_weights="sub/a.safetensors.index.json")
    with pytest.raises(DataError, match=r"transformers_weights is 'sub/a\.safetensors.*', no name of a file"):
        load_model(folder, FLOAT)


def test_no_other_config_takes_the_place_of_the_one_that_was_checked(folder):
    other = {**json.loads((folder / "config.json").read_text()), "attn_implementation": "evil-owner/evil-kernel"}
    (folder / "config.4.0.0.json").write_text(json.dumps(other))
    edit_json(folder / "config.json", configuration_files=["config.4.0.0.json"])
    for load in (load_config, load_tokenizer, lambda folder: load_model(folder, FLOAT)):
        with pytest.raises(DataError, match=r"config\.json: configuration_files names other configs"):
            load(folder)


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ("special_tokens_map.json", "tokenizer_file", "{outside}/tokenizer.json"),
        ("special_tokens_map.json", "vocab_file", "{outside}/vocab.txt"),
        ("tokenizer_config.json", "tokenizer_file", "{outside}/tokenizer.json"),
        ("tokenizer_config.json", "vocab", "{outside}/vocab.txt"),
        ("tokenizer_config.json", "init_inputs", ["{outside}/vocab.txt"]),
        ("tokenizer_config.json", "fast_tokenizer_files", ["../outside/tokenizer.4.0.0.json"]),
    ],
)
def test_a_tokenizer_reads_no_file_elsewhere(folder, tmp_path, file, field, value):
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("tokenizer.json", "tokenizer.4.0.0.json"):
        shutil.copy(folder / "tokenizer.json", outside / name)
    (outside / "vocab.txt").write_text("[UNK]\nsecret\n")
    listed = [one.format(outside=outside) for one in ([value] if isinstance(value, str) else value)]
    edit_json(folder / file, **{field: listed[0] if isinstance(value, str) else listed})
    with pytest.raises(DataError, match=rf"{file}: .*{field}.*; remove (it|this field)"):
        load_tokenizer(folder)
    shutil.rmtree(outside)
    if file == "tokenizer_config.json" and field == "tokenizer_file":
        load_tokenizer(folder)  # a path of the machine that made it, which transformers passes over


def test_a_tokenizer_without_files_of_its_own_is_one_error(folder):
    edit_json(folder / "tokenizer_config.json", tokenizer_class="RagTokenizer")
    with pytest.raises(DataError, match="RagTokenizer', which is no tokenizer"):
        load_tokenizer(folder)


@pytest.mark.parametrize("file", ["tokenizer_config.json", "config.json"])
@pytest.mark.parametrize("name", ["AutoModelForCausalLM", "AutoTokenizer", "Qwen3Config", "pipeline", "utils"])
def test_a_tokenizer_is_never_another_part_of_the_library(folder, file, name):
    edit_json(folder / "tokenizer_config.json", tokenizer_class=None)
    edit_json(folder / file, tokenizer_class=name)
    with pytest.raises(DataError, match=rf"/{file}: tokenizer_class is '{name}', which is no tokenizer; remove this"):
        load_tokenizer(folder)


@pytest.mark.parametrize("name", ["Qwen2TokenizerFast", "PreTrainedTokenizerFast", "LlamaTokenizer", "OwnTokenizer"])
def test_tokenizers_of_the_library_and_unknown_ones_are_accepted(folder, name):
    edit_json(folder / "tokenizer_config.json", tokenizer_class=name)
    assert load_tokenizer(folder).is_fast


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", ["eos_token", "pad_token"])
def test_an_end_or_padding_token_beyond_the_models_is_refused(folder, name, nested):
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    if nested:  # where a config has two, that of the text counts
        edit_json(folder / "config.json", vocab_size=10**6, text_config={"vocab_size": size})
    assert load_tokenizer(folder).pad_token_id < size
    edit_json(folder / "tokenizer_config.json", **{name: "<lost>"})
    with pytest.raises(DataError, match=rf"model: {name} '<lost>' has id \d+, and the model has {size} tokens; name "):
        load_tokenizer(folder)
    (folder / "config.json").unlink()
    assert getattr(load_tokenizer(folder), name) == "<lost>", "a tokenizer alone is left as it is"


def test_a_tokenizer_is_not_loaded_beside_a_config_that_names_code_of_a_hub(folder):
    edit_json(folder / "config.json", attn_implementation="evil-owner/evil-kernel")
    with pytest.raises(DataError, match="attn_implementation names code of a hub"):
        load_tokenizer(folder)


@pytest.mark.parametrize("name", ["more.safetensors", "additional_chat_templates/more.jinja"])
def test_a_pipe_in_a_folder_is_refused_and_not_waited_for(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    os.mkfifo(folder / name)
    for load in (load_config, load_tokenizer, lambda folder: load_model(folder, FLOAT)):
        with pytest.raises(DataError, match="is a pipe or a device; remove it"):
            load(folder)


def test_a_link_to_itself_is_no_traceback(folder):
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    (folder / "chat_template.jinja").symlink_to("chat_template.jinja")
    with suppress(DataError):
        load_tokenizer(folder)


def test_the_links_of_a_hub_cache_are_followed(folder, tmp_path):
    blobs, snapshot = tmp_path / "models--a--b/blobs", tmp_path / "models--a--b/snapshots/1f3c"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(folder.iterdir()):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    load_all(snapshot)
    (blobs / "more").mkdir()
    (blobs / "more/secret.jinja").symlink_to(tmp_path / "secret")
    (snapshot / "additional_chat_templates").symlink_to("../../blobs/more")
    with pytest.raises(DataError, match="additional_chat_templates: is a symbolic link to a folder"):
        load_tokenizer(snapshot)


def test_a_link_to_a_folder_beside_it_is_refused_too(folder):
    (folder / "templates").mkdir()
    (folder / "additional_chat_templates").symlink_to("templates")
    with pytest.raises(DataError, match="is a symbolic link to a folder"):
        load_tokenizer(folder)


@pytest.mark.parametrize("name", [b"w\x1b]0;title\x07.safetensors", b"x\x9b31m.json", b"a\nb.txt"])
def test_a_name_that_speaks_to_a_terminal_is_refused_before_a_library_shows_it(folder, name):
    Path(os.fsdecode(bytes(folder / "x")[:-1] + name)).touch()
    with pytest.raises(DataError, match="has a control character in its name; remove or rename it") as error:
        load_tokenizer(folder)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "[]", r"config\.json: not a JSON object"),
        ("config.json", "[" * 20_000, r"config\.json: nested too deeply"),
        ("config.json", '{"model_type": ["qwen3"]}', "cannot be loaded"),
        ("tokenizer.json", "[" * 200_000, "the tokenizer cannot be loaded"),
        ("tokenizer.json", '{"version": "1.0"', "the tokenizer cannot be loaded"),
        ("generation_config.json", "[]", r"generation_config\.json: not a JSON object"),
        ("generation_config.json", '{"eos_token_id": "<evil>"}', "end token <evil> is no id"),
        ("generation_config.json", '{"eos_token_id": 99999999999999999999}', "end token 99999999999999999999 is no id"),
        ("model.safetensors", "short", r"model\.safetensors: corrupted weights"),
        ("model.safetensors", "\x08\0\0\0\0\0\0\0notjson!", r"model\.safetensors: corrupted weights"),
    ],
)
def test_a_corrupted_file_is_one_error_that_names_folder_and_file(folder, file, content, message):
    (folder / file).write_text(content)
    with pytest.raises(DataError, match=message) as refused:
        load_all(folder)
    assert str(folder) in str(refused.value)
    assert len(str(refused.value)) < 700


def test_a_tokenizer_that_is_not_there_is_not_invented(folder):
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(DataError, match="tokenizer"):
        load_tokenizer(folder)


def test_names_of_tensors_reach_the_terminal_escaped(folder, capfd):
    weights = load_file(folder / "model.safetensors")
    evil = "\x1b]0;title\x07\x1b\x1b[0m[31m"
    save_file({**weights, evil: torch.zeros(1)}, folder / "model.safetensors", metadata={"format": "pt"})
    logger = logging.getLogger("transformers")
    stream = logger.handlers[0].setStream(sys.stderr)
    try:
        load_model(folder, FLOAT)
    finally:
        logger.handlers[0].setStream(stream)
    shown = capfd.readouterr().err
    assert r"\x1b]0;title\x07" in shown
    assert "\x1b" not in shown


def test_an_adapter_beside_the_weights_is_refused(folder):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere"}')
    with pytest.raises(DataError, match=r"model: has an adapter .*merge the adapter into its model"):
        load_model(folder, FLOAT)


@pytest.mark.parametrize(
    "fields",
    [
        {"attn_implementation": "evil-owner/evil-kernel"},
        {"_attn_implementation": "evil-owner/evil-kernel@main:attention"},
        {"text_config": {"attn_implementation": {"": "evil-owner/evil-kernel"}}},
        {"experts_implementation": "evil-owner/evil-kernel"},
    ],
)
def test_an_attention_that_is_code_of_a_hub_is_refused(folder, fields):
    edit_json(folder / "config.json", **fields)
    with pytest.raises(DataError, match=r"config\.json: \w+ names code of a hub .*remove this field"):
        load_model(folder, FLOAT)


def test_a_field_that_hides_a_method_of_the_config_is_one_error(folder):
    edit_json(folder / "config.json", get_text_config="text")
    with pytest.raises(DataError, match=r"config\.json cannot be loaded"):
        load_config(folder)


@pytest.mark.parametrize("place", ["top", "text_config", "list"])
def test_no_field_of_a_config_gets_the_meaning_of_another(folder, place):
    alias = {"attribute_map": {"harmless": "transformers_weights"}, "harmless": "../elsewhere.safetensors"}
    edit_json(folder / "config.json", **(alias if place == "top" else {place: [alias] if place == "list" else alias}))
    for load in (load_config, load_tokenizer, lambda folder: load_model(folder, FLOAT)):
        with pytest.raises(DataError, match=r"config\.json: attribute_map gives fields other meanings; remove"):
            load(folder)


@pytest.mark.parametrize("name", ["/mine", "../mine", "a/b", ""])
def test_a_chat_template_whose_name_is_a_path_is_refused(folder, name):
    (folder / "chat_template.jinja").unlink()
    templates = [{"name": "default", "template": "a"}, {"name": name, "template": "a stranger's"}]
    for given in (templates, {one["name"]: one["template"] for one in templates}):
        edit_json(folder / "tokenizer_config.json", chat_template=given)
        with pytest.raises(DataError, match="model: a chat template is named"):
            load_tokenizer(folder)
    edit_json(folder / "tokenizer_config.json", chat_template=templates[:1])
    assert load_tokenizer(folder).chat_template


@pytest.mark.parametrize("name", ["adapter_model.bin", "weights.bin", "pytorch_model.bin.index.json"])
def test_weights_that_a_config_names_are_never_unpickled(folder, name, monkeypatch):
    torch.save(load_file(folder / "model.safetensors"), folder / name)
    edit_json(folder / "config.json", transformers_weights=name)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(DataError, match=f"transformers_weights is '{name}', no safetensors file"):
        load_model(folder, FLOAT)


@pytest.mark.parametrize("name", ["save_pretrained", "_auto_class", "push_to_hub"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_field_that_would_fail_or_copy_code_when_the_model_is_saved_is_refused(folder, name, nested):
    fields = {name: "AutoConfig"}
    if nested:
        part = {**fields, "model_type": "persimmon"}
        fields = {"model_type": "fuyu", "architectures": ["FuyuForCausalLM"], "text_config": part}
    edit_json(folder / "config.json", **fields)
    with pytest.raises(DataError, match=f"config.json: field '{name}' would take the place of a part of transformers"):
        load_config(folder)
