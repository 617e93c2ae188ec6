"""A stranger's checkpoint in `chrpo train`: it runs nothing, changes no rollout in silence, and ends in time."""

import json
import shutil

import pytest
from click.testing import CliRunner

from chrpo._shared.records import write_records
from chrpo.cli import cli
from chrpo.errors import DataError
from chrpo.prompts import control_tokens

pytest.importorskip("trl")

FLAGS = ["--max-steps", "1", "--prompts-per-step", "2", "--rollouts", "6", "--max-tokens", "14"]


@pytest.fixture
def model(checkpoint, tmp_path):
    return shutil.copytree(checkpoint, tmp_path / "model")


@pytest.fixture
def train(model, prompt_rows, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    write_records(prompts, prompt_rows)

    def run(out="out"):
        return CliRunner().invoke(
            cli, ["train", str(prompts), str(tmp_path / out), "--model", str(model), *FLAGS], input="y\ny\n"
        )

    return run


def edit(path, **values):
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**content, **values}))


def test_generation_settings_of_a_checkpoint_change_no_rollout_and_are_kept_for_its_users(model, train, tmp_path):
    assert train("sound").exit_code == 0
    hostile = {"num_beams": 4, "repetition_penalty": 50.0, "min_new_tokens": 13, "suppress_tokens": [0, 1, 2, 3]}
    edit(model / "generation_config.json", do_sample=True, top_k=1, max_length=3, **hostile)
    assert train("hostile").exit_code == 0
    sound, changed = (
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[0]) for name in ("sound", "hostile")
    )
    assert changed == sound
    kept = json.loads((tmp_path / "hostile/generation_config.json").read_text())
    assert {name: kept[name] for name in hostile} == hostile
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("sound", "hostile")]
    assert manifests[0]["settings"]["inputs"] != manifests[1]["settings"]["inputs"], "the change is on record"


def test_code_of_a_checkpoint_is_refused_without_a_question(model, train, tmp_path):
    marker = tmp_path / "ran"
    (model / "evil.py").write_text(f"open({str(marker)!r}, 'w')\n")
    edit(model / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.C"})
    done = train()
    assert done.exit_code == 2
    assert "config.json cannot be loaded" in done.stderr
    assert "[y/N]" not in done.output
    assert not marker.exists()
    assert not (tmp_path / ".out.partial").exists()


def test_code_of_a_part_of_a_folder_is_never_run_by_the_trainer(model, prompt_rows, config, tmp_path, monkeypatch):
    from chrpo import ControlTokens
    from chrpo.trl import CHRPOTrainer

    monkeypatch.setattr("builtins.input", lambda *_: "y")
    (model / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\n")
    part = {"model_type": "siglip_text_model", "num_hidden_layers": 1, "auto_map": {"AutoModel": f"{model}--evil.C"}}
    edit(model / "config.json", model_type="fuyu", architectures=["FuyuForCausalLM"], text_config=part)
    tokens = ControlTokens.load(model)
    with pytest.raises(DataError, match="the weights cannot be loaded"):
        CHRPOTrainer(str(model), config(tmp_path / "out"), prompts=prompt_rows, control_tokens=tokens)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("named", [["Qwen2_5OmniForConditionalGeneration"], ["AutoTokenizer"], [], None, "x", [1]])
def test_the_kl_penalty_loads_the_model_as_no_other_class(model, prompt_rows, config, tmp_path, monkeypatch, named):
    from chrpo import ControlTokens
    from chrpo.trl import CHRPOTrainer

    edit(model / "config.json", architectures=named)
    monkeypatch.setattr("trl.trainer.grpo_trainer.create_model_from_path", lambda *_, **__: pytest.fail("loaded"))
    args = config(tmp_path / "out", beta=0.1)
    with pytest.raises(DataError, match=r'architectures is .* in config.json, .* write \["Qwen3ForCausalLM"\]'):
        CHRPOTrainer(model, args, prompts=prompt_rows, control_tokens=ControlTokens.load(model))


def test_a_link_whose_target_never_ends_is_refused_before_it_is_read(model, train, tmp_path, monkeypatch):
    (tmp_path / "endless").write_text("a pipe of the system, which looks like a file")
    (model / "x.txt").symlink_to(tmp_path / "endless")
    monkeypatch.setattr("chrpo._shared.runs.digest", lambda *_: pytest.fail("read"))
    done = train()
    assert (done.exit_code, "x.txt: is a symbolic link to outside the folder" in done.stderr) == (2, True)


def test_control_tokens_outside_the_checkpoint_are_not_read(model, tmp_path):
    (model / "control_tokens.json").unlink()
    (model / "control_tokens.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(DataError, match=r"control_tokens\.json: is a symbolic link to outside the folder"):
        control_tokens(model)


def test_a_folder_is_trained_as_its_loaded_model(model, prompt_rows, config, tmp_path):
    from chrpo import ControlTokens
    from chrpo.trl import CHRPOTrainer

    args = config(tmp_path / "out")
    trainer = CHRPOTrainer(model, args, prompts=prompt_rows, control_tokens=ControlTokens.load(model))
    trainer.train()
    assert trainer.state.global_step == args.max_steps
    args = config(tmp_path / "other", model_init_kwargs={"dtype": "bfloat16"})
    with pytest.raises(DataError, match="load the model and pass it"):
        CHRPOTrainer(model, args, prompts=prompt_rows, control_tokens=ControlTokens.load(model))
    args = config(tmp_path / "another")
    with pytest.raises(DataError, match="a loaded model needs its tokenizer"):
        CHRPOTrainer(trainer.model, args, prompts=prompt_rows, control_tokens=ControlTokens.load(model))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('\x1b[31mno') }}", r"chat template: TemplateError: \x1b[31mno"),
        ("{% if %}", "chat template: TemplateSyntaxError"),
        ("{{ 'a' * 3000000000 }}", "chat template: needs more than"),
        ("{{ 'a' * 2000000 }}", "chat template: adds 1999"),
        ("{{ 'a' * 60000 }}", "characters to 8 prompts, more than 140000; mend it"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "chat template: SecurityError"),
    ],
)
def test_a_hostile_template_is_one_clear_line(model, train, template, message):
    (model / "chat_template.jinja").write_text(template)
    done = train()
    assert done.exit_code == 2
    assert message in done.stderr
    assert "\x1b" not in done.output


def test_a_prompt_of_a_million_characters_is_refused_before_it_is_tokenised(model):
    from chrpo._shared.checkpoint_loader import load_tokenizer
    from chrpo.rendering import render_prompts

    rows = [{"prompt": [{"role": "user", "content": "b" * 1_000_000}]}]
    with pytest.raises(DataError, match=r"chat template: a prompt of 1000\d+ characters; mend the template or the"):
        render_prompts(load_tokenizer(model), rows, {})


def test_a_template_that_does_not_end_is_stopped(model, train, monkeypatch):
    monkeypatch.setattr("chrpo.rendering.TEMPLATE_SECONDS", 1.0)
    (model / "chat_template.jinja").write_text(
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    )
    done = train()
    assert (done.exit_code, "chat template: takes longer than 1.08 seconds" in done.stderr) == (2, True)


def test_training_never_renders_or_parses_with_what_came_along(model, prompt_rows, config, tmp_path, monkeypatch):
    from transformers import PreTrainedTokenizerBase

    from chrpo import ControlTokens
    from chrpo.trl import CHRPOTrainer

    # The time decides whether this template ends, and the schema is a pattern that is slow on every completion.
    text = (model / "chat_template.jinja").read_text()
    (model / "chat_template.jinja").write_text("{% if strftime_now('%Y') == '1999' %}never{% endif %}" + text)
    edit(model / "tokenizer_config.json", response_schema={"type": "object", "x-regex": "(a|a|b)*(c+c+)+d"})
    args = config(tmp_path / "out")
    trainer = CHRPOTrainer(model, args, prompts=prompt_rows, control_tokens=ControlTokens.load(model))
    for name in ("apply_chat_template", "parse_response"):
        monkeypatch.setattr(PreTrainedTokenizerBase, name, lambda *_, **__: pytest.fail("ran in the trainer"))
    trainer.train()
    assert trainer.state.global_step == args.max_steps


def test_a_link_in_the_working_folder_is_refused_and_its_target_stays(train, tmp_path):
    precious, work = tmp_path / "precious", tmp_path / ".out.partial"
    precious.mkdir()
    (precious / "file").write_text("mine")
    work.symlink_to(precious)
    done = train()
    assert (done.exit_code, "is a symbolic link" in done.stderr) == (2, True)
    work.unlink()
    work.mkdir()
    (work / "metrics.jsonl").symlink_to(precious / "file")
    done = train()
    assert (done.exit_code, "is a symbolic link" in done.stderr) == (2, True)
    assert (precious / "file").read_text() == "mine"


@pytest.mark.parametrize("content", ["steps = " + "[" * 100_000, "steps", '"a\\u001b" = 1', 'objective = "\\u001b"'])
def test_a_hostile_file_of_settings_is_one_line(tmp_path, content):
    path = tmp_path / "run.toml"
    path.write_text(content)
    done = CliRunner().invoke(cli, ["train", "prompts.jsonl", "out", "--model", "model", "--config", str(path)])
    assert done.exit_code == 2
    assert "\x1b" not in done.output
    assert "Traceback" not in done.output
