import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


SHOWN = re.findall(r"```python\n((?:(?!```).)*)```\n\n```text\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(("code", "shown"), SHOWN, ids=["numpy", "torch"])
def test_an_example_runs_and_prints_what_is_shown(code, shown):
    code = code.replace("import numpy as np, torch", "import numpy as np, torch; torch.set_num_threads(1)", 1)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == shown


def test_the_trl_script_runs_on_a_smaller_ladder_for_one_step(checkpoint, prompt_rows, tmp_path, monkeypatch):
    pytest.importorskip("trl")
    from chrpo._shared.records import write_records

    code = re.search(r"## In your own TRL script\n.*?```python\n(.*?)```", README, re.DOTALL).group(1)
    smaller = {
        "max_steps=100": "max_steps=1, use_cpu=True",
        "num_generations=10": "num_generations=6",
        "size=80": "size=12",
    }
    for shown, here in {**smaller, "slack=0.01": 'slack=0.01, max_completion_length=16, report_to="none"'}.items():
        assert shown in code
        code = code.replace(shown, here)
    shutil.copytree(checkpoint, tmp_path / "checkpoints/sft")
    write_records(tmp_path / "prompts.jsonl", prompt_rows)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["trainer"].state.global_step == 1
    assert names["ControlTokens"].load("checkpoints/chrpo").content == names["ControlTokens"].load(checkpoint).content
    tokenizer, reader = names["trainer"].processing_class, names["trainer"].reader
    for text in ("<think> 7 </think> \\boxed{ 3 } [end]", "<think> so </think> \\boxed{ 1 7 } [end]"):
        facts = reader.read(tokenizer.encode(text, add_special_tokens=False), "7")
        assert (facts.format_ok, facts.correct) == (True, False), "a part of the text is no answer"


def test_the_script_without_control_tokens_runs_for_one_step(plain_checkpoint, plain_rows, tmp_path, monkeypatch):
    pytest.importorskip("trl")
    from chrpo._shared.records import write_records

    (code,) = [each for each in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "CHRPOReward(" in each]
    smaller = {"num_generations=8": "num_generations=4, max_steps=1, use_cpu=True, bf16=False", "=4096": "=12"}
    for shown, here in {**smaller, '"none")': '"none", per_device_train_batch_size=16, report_to="none")'}.items():
        assert shown in code
        code = code.replace(shown, here)
    shutil.copytree(plain_checkpoint, tmp_path / "models/base")
    write_records(tmp_path / "prompts.jsonl", plain_rows)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["trainer"].state.global_step == 1
    assert names["reward"].controller.prices()["policy"] != 8
    assert (tmp_path / "checkpoints/short/model.safetensors").is_file()
