import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from ratio_sft import TrainSettings, train
from ratio_sft._shared.thinking import THINK
from ratio_sft.cli import cli
from ratio_sft.errors import DataError
from ratio_sft.evaluation.check import boxed_answer


def test_following_is_logged_at_every_checkpoint_and_again_after_a_resume(
    tmp_path, base, mix_dir, cut_before_publishing
):
    settings = TrainSettings(model=str(base), max_steps=5, save_steps=2, learning_rate=1e-2, follow=2)
    report = train(mix_dir, tmp_path / "sft", settings)
    lines = [json.loads(line) for line in (tmp_path / "sft" / "follow_log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 5]
    names = {f"{what} {ratio}" for what in ("realised", "accuracy") for ratio in ("0.2", "0.6", "1")}
    assert set(lines[0]) == names | {"step", "mean_absolute_error"}
    assert report["following"] == lines[-1]
    without = train(mix_dir, tmp_path / "plain", replace(settings, follow=0))
    assert without["last_loss"] == report["last_loss"]

    cut_before_publishing(mix_dir, tmp_path / "cut", settings)
    assert train(mix_dir, tmp_path / "cut", settings) == report


def test_a_mixture_without_held_out_rows_cannot_be_followed(tmp_path, base, mix_dir):
    (tmp_path / "mix").mkdir()
    (tmp_path / "mix" / "train.jsonl").write_bytes((mix_dir / "train.jsonl").read_bytes())
    with pytest.raises(DataError, match="no held-out question has a row of every ratio"):
        train(tmp_path / "mix", tmp_path / "sft", TrainSettings(model=str(base), max_steps=1, follow=2))


def test_the_last_box_after_the_thinking_counts():
    assert boxed_answer(THINK.split("<think>\\boxed{1}</think>\n\\boxed{ 2 }")) == "2"
    assert boxed_answer(THINK.split("<think>\\boxed{1}</think>\nnone")) is None
    assert boxed_answer(THINK.split("<think>\\boxed{1}")) is None
    assert boxed_answer(THINK.split("\\boxed{\\frac{1}{2")) is None


@pytest.mark.parametrize("name", ["ddp", "fsdp2", "zero3"])
def test_accelerate_reads_the_configurations(name):
    from accelerate.commands.config.config_args import load_config_from_file

    path = CliRunner().invoke(cli, ["accelerate-config", name]).stdout.strip()
    found = load_config_from_file(path)
    assert found.num_machines == 1
    assert yaml.safe_load(Path(path).read_text("utf-8"))["mixed_precision"] == "bf16"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ratio-weight", "0.2"], "Invalid value for '--ratio-weight': '0.2' is not RATIO=NUMBER, such as 0.2=2"),
        (["--ratio-weight", "0.2=-1"], "error: the weight of ratio 0.2 must be at least 0; got -1.0"),
        (["--report-to", "paper"], "Invalid value for '--report-to': 'paper' is not one of"),
        (["--follow", "-1"], "error: follow must be at least 0; got -1"),
    ],
)
def test_options_out_of_range_end_with_exit_code_2(mix_dir, base, tmp_path, arguments, message):
    result = CliRunner().invoke(cli, ["train", str(mix_dir), str(tmp_path / "o"), "--model", str(base), *arguments])
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
