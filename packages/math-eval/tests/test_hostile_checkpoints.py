"""Checkpoints of strangers: a chat template that attacks, a setting that would change samples, a corrupted file."""

import json
import shutil
import time

import pytest
from click.testing import CliRunner

from math_eval._shared import bounded
from math_eval.backends import Sampling
from math_eval.backends.checkpoint import Checkpoint
from math_eval.backends.hf import HFModel
from math_eval.cli import cli
from math_eval.errors import DataError


@pytest.fixture
def folder(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def edit(path, **values):
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**content, **values}))


def set_template(folder, text):
    edit(folder / "tokenizer_config.json", chat_template=text)
    (folder / "chat_template.jinja").write_text(text)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('touch MARKER') }}",
        "{{ lipsum.__globals__['os'].system('touch MARKER') }}",
        "{{ raise_exception.__globals__['__builtins__']['open']('MARKER', 'w') }}",
        "{{ '{0.__class__.__mro__}'.format(messages) }}",
        "{% if %}",
        "{{ raise_exception('\x1b[31m\x1b]0;title\x07') }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 3000000000 }}",
        "{{ 'a' * 30000000 }}",
    ],
)
def test_a_hostile_template_is_one_line_that_names_the_folder(folder, problems, tmp_path, monkeypatch, template):
    for limit, value in {"seconds": 1.0, "memory_bytes": 2**28, "result_bytes": 2**22}.items():
        monkeypatch.setitem(bounded.in_child.__kwdefaults__, limit, value)
    set_template(folder, template.replace("MARKER", str(tmp_path / "marker")))
    start = time.monotonic()
    done = CliRunner().invoke(
        cli,
        ["run", "--model", str(folder), "--tasks", str(problems), "--limit", "1", "--output-dir", str(tmp_path / "r")],
    )
    assert time.monotonic() - start < 60
    assert done.exit_code == 2, done.output
    assert f"error: {folder}: chat template: " in done.stderr
    assert "\x1b" not in done.output
    assert not (tmp_path / "marker").exists()
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("words", [["--model", "MODEL"], ["--model", "openai:m", "--tokenizer", "MODEL"]])
def test_a_link_whose_target_never_ends_is_refused_before_it_is_read(folder, problems, tmp_path, monkeypatch, words):
    (tmp_path / "endless").write_text("a pipe of the system, which looks like a file")
    (folder / "x.txt").symlink_to(tmp_path / "endless")
    monkeypatch.setattr("math_eval.fingerprint.files_sha256", lambda *_: pytest.fail("read"))
    words = [word.replace("MODEL", str(folder)) for word in words]
    server = ["--base-url", "http://127.0.0.1:9/v1"] if "--tokenizer" in words else []
    words = ["run", *words, *server, "--tasks", str(problems), "--output-dir", str(tmp_path / "r")]
    done = CliRunner().invoke(cli, words)
    assert (done.exit_code, "x.txt: is a symbolic link to outside the folder" in done.stderr) == (2, True)


@pytest.mark.parametrize("length", [200_000, 30_000])
def test_a_template_that_adds_very_much_is_refused_before_its_text_is_tokenised(folder, length):
    set_template(folder, f"{{{{ messages[0].content }}}}{{{{ 'a' * {length} }}}}")
    checkpoint = Checkpoint(folder)
    checkpoint.encode = lambda _: pytest.fail("tokenised")
    with pytest.raises(DataError, match=r"model: chat template: adds \d+ characters to .*; mend it"):
        checkpoint.render(["b" * 500_000] * 50)


def test_long_messages_are_no_fault_of_the_template(folder):
    set_template(folder, "{{ messages[0].content }}{{ 'a' * 5000 }}")
    assert len(Checkpoint(folder).render(["b" * 500_000] * 50)[0]) == 505_000


def test_a_completion_of_tokens_without_measure_is_refused(folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    number = 1 + max(*content["model"]["vocab"].values(), *(token["id"] for token in content["added_tokens"]))
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    content["added_tokens"].append({"id": number, "content": "v" * 10_000, **flags})
    (folder / "tokenizer.json").write_text(json.dumps(content))
    checkpoint = Checkpoint(folder)
    assert checkpoint.completion([number] * 100, ended=False).text.count("v") == 1_000_000
    with pytest.raises(DataError, match=r"a completion of 103 tokens has 1030\d+ characters, more than 1020600"):
        checkpoint.completion([number] * 103, ended=False)


def test_all_prompts_of_a_run_are_rendered_by_one_child(folder, problems, tmp_path, monkeypatch):
    called = []
    whole = bounded.in_child
    monkeypatch.setattr(bounded, "in_child", lambda *args, **limits: called.append(limits) or whole(*args, **limits))
    second = shutil.copy(problems, tmp_path / "second.jsonl")
    command = ["run", "--model", str(folder), "--tasks", f"{problems},{second}", "--limit", "3", "--max-tokens", "4"]
    for ratio in ("none", "0.2", "policy"):
        command += ["--ratio", ratio]
    assert CliRunner().invoke(cli, [*command, "--output-dir", str(tmp_path / "r")]).exit_code == 0
    assert len(called) == 1
    assert called[0]["seconds"] > bounded.SECONDS


def test_prompts_are_those_of_the_template_in_this_process(tiny_model):
    checkpoint = Checkpoint(tiny_model)
    turns = ["add 1 and 2 <COMP_20>", "größe \u2028 \ud800 \x1b", "add 1 and 2 <COMP_20>", ""]
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    expected = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": turn}], tokenize=False, add_generation_prompt=True, ratio=None
        )
        for turn in turns
    ]
    assert checkpoint.render(turns) == expected
    assert checkpoint.render([]) == []


def test_only_the_end_tokens_of_a_generation_config_count(folder):
    plain = HFModel(folder)
    sampling = Sampling(40, 0.7, 0.9)
    before = plain.complete(plain.render(["add 1 and 2"] * 4), sampling, seed=3)
    edit(
        folder / "generation_config.json",
        num_beams=64,
        repetition_penalty=50.0,
        max_length=3,
        suppress_tokens=[5, 6],
        forced_bos_token_id=3,
        temperature=9.0,
        top_k=1,
        eos_token_id=[1],
    )
    model = HFModel(folder)
    assert model.complete(model.render(["add 1 and 2"] * 4), sampling, seed=3) == before
    edit(folder / "generation_config.json", eos_token_id=[1, 5])
    model = HFModel(folder)
    assert model.ends == [1, 5]
    assert model.complete(model.render(["add 1 and 2"]), sampling, seed=3)[0].text == ""


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "[]"),
        ("config.json", '{"model_type": ["qwen3"]}'),
        ("config.json", "\ufeff{"),
        ("generation_config.json", '{"eos_token_id": "<evil>"}'),
        ("generation_config.json", '{"eos_token_id": 99999999999999999999}'),
        ("tokenizer.json", "[" * 200_000),
        ("tokenizer.json", "{"),
        ("tokenizer_config.json", "5"),
        ("control_tokens.json", "[]"),
        ("control_tokens.json", "[" * 200_000),
        ("model.safetensors", "short"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "../outside.safetensors"}}'),
        ("adapter_config.json", "{}"),
    ],
)
def test_a_corrupted_file_is_one_line_that_names_the_folder(folder, problems, tmp_path, file, content):
    (folder / file).write_text(content)
    command = ["run", "--model", str(folder), "--tasks", str(problems), "--limit", "1", "--output-dir", tmp_path / "r"]
    done = CliRunner().invoke(cli, list(map(str, command)))
    assert done.exit_code == 2, done.output
    lines = [line for line in done.stderr.splitlines() if line and "it/s]" not in line]
    *told, error = lines
    assert all(line.startswith("thinking format: ") for line in told), done.stderr
    assert str(folder) in error
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("kind", [Checkpoint, HFModel])
def test_a_quantisation_that_is_not_installed_is_named(folder, kind):
    edit(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    if kind is HFModel:
        with pytest.raises(DataError, match="model: the weights cannot be loaded"):
            HFModel(folder)
