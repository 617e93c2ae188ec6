"""Folders and files of strangers, tried through the commands: nothing of them runs, hangs, writes elsewhere or speaks.

Each ends in one line that names the folder or file, with exit code 2.
"""

import json
import os
import pickle
import shutil
import signal
import sys

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from ratio_sft import MixSettings, TrainSettings, build, train
from ratio_sft._shared import bounded, training_checkpoints
from ratio_sft.cli import cli
from ratio_sft.data.card import card_page
from ratio_sft.errors import DataError
from ratio_sft.model import template

EVIL = "\x1b[31m red \x1b]0;title\x07<img src=x onerror=alert(1)><script>alert(1)</script>"
SETTINGS = {"max_steps": 4, "save_steps": 2, "learning_rate": 3e-3}


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def refused(*arguments):
    done = run(*arguments)
    *told, error = done.stderr.strip().splitlines()
    assert (done.exit_code, len(told)) in [(2, 0), (2, 1)], done.output
    assert all(line.startswith("thinking format: ") for line in told)
    assert "\x1b" not in done.output
    return error


def training(mix_dir, out, model):
    named = {name.replace("_", "-"): value for name, value in SETTINGS.items()}
    return ["train", mix_dir, out, "--model", model, *(text for name in named for text in (f"--{name}", named[name]))]


def edit(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


class MakesFolder:
    """A pickle of it makes a folder when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def model(base, tmp_path):
    return shutil.copytree(base, tmp_path / "model")


# --- model folders ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["", "y\n" * 100])
def test_code_of_a_model_folder_is_never_run_and_never_asked_about(tmp_path, mix_dir, model, answer):
    (model / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\n")
    code = {name: "evil.C" for name in ("AutoConfig", "AutoTokenizer", "AutoModelForCausalLM")}
    edit(model / "config.json", model_type="evil", auto_map=code)
    edit(model / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.C", None]})
    done = CliRunner().invoke(cli, list(map(str, training(mix_dir, tmp_path / "out", model))), input=answer)
    assert (done.exit_code, "[y/N]" in done.output) == (2, False)
    assert f"{model}: config.json cannot be loaded" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "[]", "config.json: not a JSON object"),
        ("config.json", '{"model_type": ["qwen3"]}', "config.json cannot be loaded"),
        ("config.json", {"dtype": "nn"}, "config.json: dtype 'nn' is no number format of weights"),
        ("config.json", {"dtype": "int8"}, "config.json: dtype 'int8' is no number format of weights"),
        ("config.json", {"num_hidden_layers": 10**8, "layer_types": None}, "num_hidden_layers is 100000000"),
        ("config.json", {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "the weights cannot be loaded"),
        ("config.json", {"attn_implementation": "a/b"}, "attn_implementation names code of a hub"),
        ("tokenizer.json", "[" * 200_000, "the tokenizer cannot be loaded"),
        ("tokenizer_config.json", '{"eos_token": {"content": ' * 500, "tokenizer_config.json: nested too deeply"),
        ("generation_config.json", "[" * 200_000, "generation_config.json: has 200000 times"),
        ("model.safetensors", "\x08\0\0\0\0\0\0\0notjson!", "model.safetensors: corrupted weights"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "../x.safetensors"}}', "is no file of the folder"),
        ("adapter_config.json", '{"base_model_name_or_path": "elsewhere", "peft_type": "LORA"}', "has an adapter"),
        ("control_tokens.json", "[]", "control_tokens.json"),
    ],
)
def test_a_corrupted_model_folder_is_one_line_that_names_it(tmp_path, mix_dir, model, file, content, message):
    if isinstance(content, dict):
        edit(model / file, **content)
    else:
        (model / file).write_text(content)
    line = refused(*training(mix_dir, tmp_path / "out", model))
    assert message in line
    assert str(model) in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_weights_elsewhere_are_refused(tmp_path, mix_dir, model):
    (model / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    (model / "model.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    line = refused(*training(mix_dir, tmp_path / "out", model))
    assert f"{model}/model.safetensors: is a symbolic link to outside the folder" in line


# --- chat templates ---------------------------------------------------------------------------------------------------

PLAIN = "{{ messages[0]['content'] }}"
NESTED = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{% for", "TemplateSyntaxError"),
        ("{{ raise_exception('" + EVIL + "') }}", "red"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        ("{{ cycler.__init__.__globals__.os.popen('touch ran').read() }}", "SecurityError"),
        ("{{ messages.nothing.at.all }}", "UndefinedError"),
        ("{{ 'a' * 3000000000 }}", "needs more than 1024 MiB of memory"),
        (NESTED, "takes longer than 2 seconds"),
        (
            PLAIN + "{% if 'How many' in messages[0]['content'] %}" + NESTED + "{% endif %}",
            "takes longer than 2 seconds",
        ),
        (PLAIN + "{% if 'How many' in messages[0]['content'] %}{{ raise_exception('not so') }}{% endif %}", "not so"),
    ],
)
def test_a_template_that_fails_or_never_ends_is_one_line_that_names_the_folder(
    tmp_path, mix_dir, model, monkeypatch, body, message
):
    seconds = bounded.in_child
    monkeypatch.setattr(template, "in_child", lambda *given: seconds(*given, seconds=2))
    (model / "chat_template.jinja").write_text(body)
    line = refused(*training(mix_dir, tmp_path / "out", model))
    assert line.startswith(f"error: {model}: chat template: ")
    assert message in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


@pytest.mark.parametrize("body", [5, {"default": 5}, {"default": "", "tools": [5]}])
def test_a_template_that_is_no_text_is_one_line_that_names_the_folder(tmp_path, mix_dir, model, body):
    (model / "chat_template.jinja").unlink()
    edit(model / "tokenizer_config.json", chat_template=body)
    assert f"{model}: chat template: is not text" in refused(*training(mix_dir, tmp_path / "out", model))


@pytest.mark.parametrize("length", [120_000, 9_000])
def test_a_template_that_adds_very_much_is_refused_before_its_text_is_tokenised(make_tokenizer, monkeypatch, length):
    tokenizer = make_tokenizer()
    monkeypatch.setattr(template, "text_ids", lambda *_: pytest.fail("tokenised"))
    tokenizer.chat_template = f"{{{{ messages[0].content }}}}{{{{ 'a' * {length} }}}}"
    with pytest.raises(DataError, match=r"chat template: adds \d+ characters to .*; mend it"):
        template.prompt_ids(tokenizer, [([{"role": "user", "content": "b" * 20_000}], None)] * 50)


def test_a_template_that_knows_the_time_cannot_wait_for_this_process(make_tokenizer):
    """What is tokenized is what the child rendered; nothing is rendered again outside it."""
    tokenizer = make_tokenizer("{{ messages[0]['content'] }}")
    here = os.getpid()
    plain = tokenizer.apply_chat_template

    def render(*arguments, **options):
        assert os.getpid() != here
        return plain(*arguments, **options)

    tokenizer.apply_chat_template = render
    asked = [([{"role": "user", "content": text}], None) for text in ("Tom has 2", "Tom")]
    assert template.prompt_ids(tokenizer, asked) == tokenizer(["Tom has 2", "Tom"], add_special_tokens=False).input_ids
    assert template.prompt_ids(tokenizer, []) == []


# --- working folders --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def killed(tmp_path_factory, base, mix_dir):
    """The working folder of a run that was killed after its last step, before its checkpoint folder appeared."""
    folder = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[train.__module__], "publish", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            train(mix_dir, folder / "out", TrainSettings(model=str(base), **SETTINGS))
    return folder / ".out.partial"


@pytest.fixture
def torn(tmp_path, base, mix_dir, killed):
    """The command that continues a copy of that run, and the folder of its checkpoints."""
    shutil.copytree(killed, tmp_path / ".out.partial")
    return training(mix_dir, tmp_path / "out", base), tmp_path / ".out.partial" / "checkpoints"


def unfinish(checkpoints):
    """Leave steps to do: only the checkpoint of step 2 stays."""
    shutil.rmtree(checkpoints / "checkpoint-4")
    return checkpoints / "checkpoint-2"


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"])
@pytest.mark.parametrize("fault", ["gone", "cut", "changed"])
def test_a_torn_checkpoint_is_refused(torn, name, fault):
    command, checkpoints = torn
    path = checkpoints / "checkpoint-4" / name
    content = path.read_bytes()
    path.unlink()
    if fault != "gone":
        path.write_bytes(content[: len(content) // 2] if fault == "cut" else content[:-1] + b"?")
    line = refused(*command)
    assert f"{path.parent}: {name} is {'missing' if fault == 'gone' else 'not as it was saved'}" in line
    assert "remove this folder, and the run continues from the checkpoint before it" in line


def test_without_a_torn_checkpoint_the_one_before_it_gives_the_same_end(torn, tmp_path):
    command, checkpoints = torn
    expected = load_file(tmp_path / ".out.partial/final/model.safetensors")
    shutil.rmtree(checkpoints / "checkpoint-4")
    assert run(*command).exit_code == 0
    found = load_file(tmp_path / "out/model.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(weight, expected[name]) for name, weight in found.items())


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"files": 3}', '{"files": {}}', "[" * 200_000])
def test_a_checkpoint_without_a_record_of_its_files_is_refused(torn, record):
    command, checkpoints = torn
    (checkpoints / "checkpoint-4" / training_checkpoints.COMPLETE).write_text(record)
    assert f"{checkpoints / 'checkpoint-4'}" in refused(*command)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_pickle_in_a_checkpoint_is_never_opened(torn, tmp_path, name, packed):
    command, checkpoints = torn
    checkpoint = unfinish(checkpoints)
    evil = MakesFolder(tmp_path / "ran")
    if packed:
        torch.save(evil, checkpoint / name)
    else:
        (checkpoint / name).write_bytes(pickle.dumps(evil))
    training_checkpoints.mark_complete(checkpoint)
    done = run(*command)
    assert not (tmp_path / "ran").exists()
    if name != "training_args.bin":  # which nothing reads
        told, error = done.stderr.splitlines()
        assert (done.exit_code, told.partition(": ")[0]) == (2, "thinking format"), done.stderr
        assert f"{checkpoint}: contains pickled objects" in error
        assert "weights_only" not in done.stderr


@pytest.mark.parametrize(
    "state",
    [[], {}, {"global_step": "4"}, {"evil": 1}, {"log_history": [3]}, {"log_history": 3}, {"max_steps": None}],
)
def test_a_trainer_state_of_another_shape_is_one_line(torn, state):
    command, checkpoints = torn
    path = checkpoints / "checkpoint-4" / "trainer_state.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({**whole, **state} if state else state))
    training_checkpoints.mark_complete(path.parent)
    assert "trainer_state.json" in refused(*command)


def test_code_of_a_training_checkpoint_is_never_run_and_never_asked_about(torn, tmp_path):
    command, checkpoints = torn
    checkpoint = checkpoints / "checkpoint-4"
    (checkpoint / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\n")
    edit(checkpoint / "config.json", model_type="evil", auto_map={"AutoModelForCausalLM": "evil.C"})
    training_checkpoints.mark_complete(checkpoint)
    done = CliRunner().invoke(cli, list(map(str, command)), input="y\n" * 100)
    assert (done.exit_code, f"{checkpoint}: config.json cannot be loaded" in done.stderr) == (2, True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("place", ["", "checkpoints", "checkpoints/checkpoint-4", "final", "train.arrow"])
def test_no_link_in_a_working_folder_is_followed(torn, tmp_path, place):
    command, _ = torn
    path, victim = tmp_path / ".out.partial" / place, tmp_path / "victim"
    path.rename(victim)
    path.symlink_to(victim)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert f"{path}: is a symbolic link, which a working folder never contains; remove " in refused(*command)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_build_writes_through_no_link(tmp_path, compressed, mix_dir):
    victim = tmp_path / "victim"
    victim.mkdir()
    for target in (victim, mix_dir):
        link = tmp_path / ".mix.partial"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        before = sorted(target.iterdir())
        assert f"{link}: is a symbolic link" in refused("build", compressed, tmp_path / "mix", "--heldout-share", 0.1)
        assert sorted(target.iterdir()) == before


# --- data and pages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["IN", "--teacher", "--exclude"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "binary", "twice", "nested"])
def test_a_file_of_build_that_is_none_is_one_line_that_names_it(tmp_path, compressed, option, kind):
    path = tmp_path / "file.jsonl"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        lines = {"binary": b"\x80\x81", "twice": b'{"id": "a", "id": "b"}\n', "nested": b"[" * 100_000}
        path.write_bytes(lines[kind])
    given = [path, tmp_path / "mix"] if option == "IN" else [compressed, tmp_path / "mix", option, path]
    assert str(path) in refused("build", *given)


def test_a_teacher_that_contradicts_itself_is_named(tmp_path, compressed, write_lines):
    row = {"id": "p1", "answer": "2", "teacher_ratio": 0.2, "reference_tokens": 15, "reference_accuracy": 1.0}
    row |= {"mode": "policy", "prompt": [{"role": "user", "content": "x <COMP_POLICY>"}]}
    teacher = write_lines(tmp_path / "teacher.jsonl", [row, {**row, "teacher_ratio": 0.6}])
    line = refused("build", compressed, tmp_path / "mix", "--teacher", teacher)
    assert f"{teacher}:2: problem 'p1' has teacher ratios 0.2 and 0.6; remove one of its rows" in line


@pytest.mark.parametrize("content", ["[]", "", "5", "[" * 200_000, "\x80"])
def test_a_finished_output_whose_report_is_corrupted_is_one_line(tmp_path, compressed, content):
    out = tmp_path / "mix"
    assert run("build", compressed, out).exit_code == 0
    (out / "card.json").write_text(content, "latin-1")
    assert f"{out}/card.json" in refused("build", compressed, out)


def test_texts_of_strangers_are_escaped_in_the_card_and_on_the_terminal(tmp_path, trace, write_lines):
    traces = write_lines(tmp_path / "in.jsonl", [trace(n, question=f"{EVIL} {n}", id=f"{EVIL} {n}") for n in range(3)])
    tests = tmp_path / f"test{EVIL.replace('/', '')}.jsonl"
    write_lines(tests, [{"id": "t", "question": "Another?", "answer": "4"}])
    done = run("build", traces, tmp_path / "mix", "--exclude", tests)
    assert done.exit_code == 0, done.output
    assert r"test\x1b[31m red \x1b]0;title\x07<img" in done.stdout
    assert "\x1b" not in done.output
    page = (tmp_path / "mix/card.html").read_text()
    assert r"\x1b[31m red \x1b]0;title\x07&lt;img src=x onerror=alert(1)&gt;&lt;script&gt;" in page
    assert not any(text in page for text in ("<img", "<script", "\x1b"))


def test_a_card_of_payloads_has_no_element_of_theirs(compressed, tmp_path):
    card = build(compressed, tmp_path / "mix", MixSettings())
    line = {**card["histogram"][0], "mode": EVIL}
    files = {"ngram": 13, "files": {EVIL: {"questions": 1, "matches": 0}}}
    page = card_page({
        **card, "tokenizer": EVIL, "summary": EVIL, "histogram": [line], "rejected_by_reason": {EVIL: 1},
        "decontamination": files, "examples": {EVIL: next(iter(card["examples"].values()))},
    })  # fmt: skip
    assert page.count("&lt;script&gt;") == 7
    assert not any(text in page for text in ("<img", "<script", "\x1b"))


def test_a_report_never_replaces_the_samples_it_is_made_from(tmp_path, compressed):
    samples = tmp_path / "samples.json"
    samples.write_text("{}\n")
    line = refused("evaluate", samples, "--output", tmp_path / "samples.html")
    assert f"{samples}: would replace {samples}, which is read; name another output" in line


def test_weights_with_an_evil_name_do_not_speak_to_the_terminal(tmp_path, mix_dir, model, capfd):
    weights = load_file(model / "model.safetensors")
    save_file({**weights, EVIL: torch.zeros(1)}, model / "model.safetensors", metadata={"format": "pt"})
    done = run(*training(mix_dir, tmp_path / "out", model))
    assert done.exit_code == 0
    assert "\x1b" not in done.output + "".join(capfd.readouterr())


def test_settings_for_sampling_in_a_model_folder_do_not_change_the_check_of_following(tmp_path, mix_dir, model, base):
    settings = {"num_beams": 4, "repetition_penalty": 50.0, "suppress_tokens": list(range(4, 60)), "max_length": 7}
    edit(model / "generation_config.json", **settings)
    logs = []
    for name, folder in (("plain", base), ("evil", model)):
        assert run(*training(mix_dir, tmp_path / name, folder), "--follow", 2).exit_code == 0
        logs.append((tmp_path / name / "follow_log.jsonl").read_text())
    assert logs[0] == logs[1]


def test_a_chunk_of_prompts_beyond_a_limit_is_an_error(make_tokenizer, monkeypatch):
    monkeypatch.setattr(template, "in_child", lambda *given: bounded.in_child(*given, result_bytes=100))
    with pytest.raises(DataError, match="chat template: gives more than 100 bytes"):
        template.prompt_ids(make_tokenizer(), [([{"role": "user", "content": "a" * 200}], None)])
