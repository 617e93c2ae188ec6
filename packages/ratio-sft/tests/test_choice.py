"""What a model does after SFT: which ratio it chooses, and at which token it stops."""

import json

import pytest
import torch
from click.testing import CliRunner

from ratio_sft import ControlTokens, DataError, MixSettings, add_control_tokens, build
from ratio_sft._shared.records import Tally, read_records
from ratio_sft._shared.thinking import THINK
from ratio_sft.cli import cli
from ratio_sft.evaluation.choice import chosen_ratios, policy_questions
from ratio_sft.model.checkpoints import end_ids
from ratio_sft.model.template import end_of_turn, prompt_ids
from ratio_sft.training.encoding import encode

TOKENS = ControlTokens.ladder((0.2, 0.6, 1.0))
GEMMA = (
    "{% for message in messages %}<start_of_turn>{{ message.role }}\n{{ message.content }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


@pytest.fixture(scope="module")
def prepared(make_model, make_tokenizer):
    model, tokenizer = make_model(), make_tokenizer()
    add_control_tokens(model, tokenizer, TOKENS)
    return model, tokenizer


def test_the_choice_is_the_mean_probability_of_each_ratio_token(prepared, mix_dir):
    model, tokenizer = prepared
    rows = list(read_records(mix_dir / "heldout.jsonl", "sft"))
    questions = policy_questions(rows, TOKENS)
    assert len(questions) == len({row["id"] for row in rows}) < len(rows)
    assert not any(token in json.dumps(questions) for token in TOKENS.all_tokens)
    questions.append([{"role": "user", "content": "How many?"}])  # another length, so that a batch is padded
    found = chosen_ratios(model, tokenizer, questions, TOKENS, device="cpu", batch_size=3)
    each = []
    for ids in prompt_ids(tokenizer, [(messages, "policy") for messages in questions]):
        with torch.no_grad():
            each.append(model(torch.tensor([ids])).logits[0, -1].double().softmax(-1))
    mean = torch.stack(each).mean(0)
    for token, ratio in TOKENS.ratios.items():
        assert found[f"{ratio:g}"] == pytest.approx(mean[tokenizer.convert_tokens_to_ids(token)].item(), rel=1e-5)
    assert sum(found.values()) == pytest.approx(1)
    assert chosen_ratios(model, tokenizer, [], TOKENS, device="cpu", batch_size=3) == {}


def test_the_command_reports_which_ratio_the_model_chooses(base, mix_dir, tmp_path):
    flags = ["--max-steps", "2", "--lr-scheduler", "linear", "--no-bf16", "--no-gradient-checkpointing"]
    done = CliRunner().invoke(cli, ["train", str(mix_dir), str(tmp_path / "sft"), "--model", str(base), *flags])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "sft" / "train_report.json").read_text())
    assert list(report["chosen_ratios"]) == ["0.2", "0.6", "1", "other"]
    shown = "  ".join(f"{name} {share:.1%}" for name, share in report["chosen_ratios"].items())
    assert f"the model chooses  {shown}" in done.output


@pytest.mark.parametrize("stops", [True, False])
def test_a_response_ends_as_the_template_ends_it_where_generation_stops_there(
    make_model, make_tokenizer, mix_dir, stops
):
    model, tokenizer = make_model(), make_tokenizer(GEMMA, extra=("<start_of_turn>", "<end_of_turn>"))
    own, turn = tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<end_of_turn>")
    model.generation_config.eos_token_id = [own, turn] if stops else own
    add_control_tokens(model, tokenizer, TOKENS)
    end = end_of_turn(tokenizer, end_ids(model, tokenizer))
    assert end == (turn if stops else own)
    rows = list(read_records(mix_dir / "train.jsonl", "sft"))[:3]
    for row in encode(tokenizer, rows, TOKENS, THINK, max_length=6144, end=end, tally=Tally()):
        assert row.labels[-1] == end
        assert not {own, turn} & set(row.labels[:-1])


def test_a_model_whose_embeddings_are_on_other_processes_is_refused(make_model, make_tokenizer):
    model = make_model()
    model.get_input_embeddings().weight = torch.nn.Parameter(torch.empty(0))  # as under zero3_init_flag
    with pytest.raises(DataError, match=r"divided among processes \(DeepSpeed ZeRO-3\).*zero3_init_flag to false"):
        add_control_tokens(model, make_tokenizer(), TOKENS)


def test_traces_that_were_shortened_by_other_means_need_no_spans(trace, write_lines, tmp_path):
    rows = [trace(number) for number in range(8)]
    for row in rows:
        for entry in row["compressions"]:
            del entry["spans"]
    card = build(write_lines(tmp_path / "other.jsonl", rows), tmp_path / "mix", MixSettings())
    assert card["counts"]["train"] > 0


@pytest.mark.parametrize("release", ["0.24.0", "1.17.0"])
def test_a_trl_beyond_the_range_is_refused(monkeypatch, release):
    import trl

    from ratio_sft.errors import RatioSftError
    from ratio_sft.training.compat import check_version

    monkeypatch.setattr(trl, "__version__", release)
    with pytest.raises(RatioSftError, match=rf"does not train with TRL {release}; install trl>=0\.29,<1\.17"):
        check_version()


def test_training_without_trl_names_the_extra(base, mix_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("ratio_sft.training.train.find_spec", lambda name: None)
    done = CliRunner().invoke(cli, ["train", str(mix_dir), str(tmp_path / "sft"), "--model", str(base)])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "training needs TRL, which is not installed: pip install 'ratio-sft[train]'" in done.stderr
    assert not (tmp_path / "sft").exists()
