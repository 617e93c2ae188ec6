"""The settings classes are the only source of flags, defaults and help texts."""

import json
import subprocess
import sys
from dataclasses import fields

import pytest
from click.testing import CliRunner

import ratio_sft
from ratio_sft import MixSettings, TrainSettings, train
from ratio_sft.cli import cli


@pytest.mark.parametrize(("command", "settings"), [("build", MixSettings), ("train", TrainSettings)])
def test_every_setting_is_a_flag_with_its_default_and_its_help(command, settings):
    options = {parameter.name: parameter for parameter in cli.commands[command].params}
    for field in fields(settings):
        option = options[field.name]
        assert field.metadata["help"] in option.help
        assert option.required or option.default == field.default


def test_one_tracker_is_recorded_as_a_name_and_several_as_a_list(tmp_path, base, mix_dir, monkeypatch):
    """Seeds of math-eval depend on the bytes of a checkpoint's manifest."""
    monkeypatch.setattr("ratio_sft.settings.find_spec", lambda name: True)
    settings = TrainSettings(model=str(base), max_steps=1)
    train(mix_dir, tmp_path / "sft", settings)
    assert json.loads((tmp_path / "sft" / "manifest.json").read_text())["settings"]["report_to"] is None
    command = ["train", str(mix_dir), str(tmp_path / "sft"), "--model", str(base), "--max-steps", "1"]
    for trackers, recorded in ((["wandb"], "'wandb'"), (["wandb", "trackio"], "['wandb', 'trackio']")):
        flags = [text for tracker in trackers for text in ("--report-to", tracker)]
        other = CliRunner().invoke(cli, [*command, *flags])
        assert (other.exit_code, f"report_to was None, is {recorded}" in other.stderr) == (2, True), other.stderr


def test_the_package_loads_neither_torch_nor_transformers():
    code = "import sys, ratio_sft, ratio_sft.cli; print({'torch', 'transformers', 'trl'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_every_public_name_can_be_imported():
    assert set(ratio_sft.__all__) <= set(dir(ratio_sft))
    assert all(getattr(ratio_sft, name) for name in ratio_sft.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'absent'"):
        ratio_sft.absent  # noqa: B018


def test_the_output_may_be_an_option_too(tmp_path, compressed):
    def run(*arguments):
        return CliRunner().invoke(cli, ["build", str(compressed), *map(str, arguments)])

    assert run("--output-dir", tmp_path / "mix").exit_code == 0
    assert (tmp_path / "mix" / "train.jsonl").is_file()
    both = run(tmp_path / "a", "--output-dir", tmp_path / "b")
    assert (both.exit_code, "OUT_DIR and --output-dir name two outputs" in both.stderr) == (2, True)
    neither = run()
    assert (neither.exit_code, "Missing argument 'OUT_DIR'" in neither.stderr) == (2, True)
    assert "--output-dir" not in run("--help").stdout
