"""Mistakes of users, tried through the commands: each gives a clear error or a counted reject."""

import json
import shutil

import pytest
from click.testing import CliRunner
from transformers import OPTConfig, OPTForCausalLM

from ratio_sft.cli import cli


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def refused(tmp_path):
    """Runs a command that must refuse: one line, exit code 2, nothing left; returns the line."""

    def check(*arguments):
        before = sorted(tmp_path.rglob("*"))
        done = run(*arguments)
        assert done.exit_code == 2, done.output
        assert sorted(tmp_path.rglob("*")) == before
        lines = [line for line in done.stderr.strip().splitlines() if not line.startswith("thinking format: ")]
        assert len(lines) == 1, done.stderr
        return lines[0]

    return check


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def mixed(mix_dir, tmp_path, write_lines):
    """Makes a copy of the mixture with some rows changed: `mixed(train=lambda rows: rows[1:])`."""

    def copy(**changes):
        folder = tmp_path / "mix"
        folder.mkdir()
        for name in ("train", "heldout"):
            rows = [json.loads(line) for line in (mix_dir / f"{name}.jsonl").read_text().splitlines()]
            write_lines(folder / f"{name}.jsonl", changes.get(name, list)(rows))
        return folder

    return copy


def train(data, out, model, *more):
    return ["train", data, out, "--model", model, "--max-steps", "1", *more]


def test_traces_compressed_with_another_tokenizer_than_the_models(
    refused, out, tmp_path, make_model, make_tokenizer, mix_dir
):
    """The model's tokenizer has one token for each letter, so `so` is two tokens."""
    from tokenizers import Regex, pre_tokenizers

    letters = make_tokenizer()
    letters.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    make_model().save_pretrained(tmp_path / "base")
    letters.save_pretrained(tmp_path / "base")
    message = refused(*train(mix_dir, out, tmp_path / "base"))
    assert f"{mix_dir}/train.jsonl: compressed with another tokenizer: " in message
    assert "run `cot-compressor compress` again with --tokenizer set to the model's folder" in message


def test_traces_compressed_with_two_tokenizers(refused, out, tmp_path, trace, write_lines):
    other = [{**entry, "tokenizer": "other"} for entry in trace(1)["compressions"]]
    traces = write_lines(tmp_path / "in.jsonl", [trace(0), trace(1, compressions=other)])
    each = f"'tiny' in {traces}:1, 'other' in {traces}:2"
    assert f"several tokenizers ({each}); use the target model's for all" in refused("build", traces, out)


def test_a_trace_without_one_of_the_ratios_is_a_counted_reject(out, tmp_path, trace, write_lines):
    traces = write_lines(tmp_path / "in.jsonl", [trace(0), trace(1), trace(2, ratios=(0.2, 1.0))])
    done = run("build", traces, out, "--policy-share", 0, "--heldout-share", 0)
    assert done.exit_code == 0, done.output
    assert "3 read, 6 written, 1 rejected (missing_ratio 1)" in done.stderr
    rejected = json.loads((out / "mixture.rejected.jsonl").read_text())
    assert (rejected["id"], rejected["reject_reason"]) == ("p2", "missing_ratio")


def test_no_trace_has_all_the_ratios(refused, out, tmp_path, trace, write_lines):
    traces = write_lines(tmp_path / "in.jsonl", [trace(0, ratios=(0.2, 1.0)), trace(1, ratios=(0.6, 1.0))])
    assert f"{traces}: no trace is usable: 2 read, 0 written, 2 rejected (missing_ratio 2)" in refused(
        "build", traces, out
    )
    assert f"{traces}: no trace has ratio 0.4; compress with --ratio 0.4" in refused(
        "build", traces, out, "--ratio", 0.4
    )


def test_a_trace_that_appears_twice(refused, out, tmp_path, trace, write_lines):
    traces = write_lines(tmp_path / "in.jsonl", [trace(0), trace(1), trace(0)])
    message = refused("build", traces, out)
    assert f"{traces}:3: id 'p0', sample 0, model 'tiny' appears twice; remove one of the rows" in message


def test_an_id_for_two_questions(refused, out, tmp_path, trace, write_lines):
    traces = write_lines(tmp_path / "in.jsonl", [trace(0), trace(1), trace(2, id="p0", sample=1)])
    message = refused("build", traces, out)
    assert f"{traces}:3: id 'p0' belongs to two questions; give each question its own" in message


def test_a_trace_of_a_test_question_is_a_counted_reject(out, tmp_path, trace, write_lines):
    traces = write_lines(tmp_path / "in.jsonl", [trace(number) for number in range(4)])
    shouted = {"id": "t", "question": f"  {trace(2)['question'].upper()}", "answer": "4"}
    done = run("build", traces, out, "--exclude", write_lines(tmp_path / "test.jsonl", [shouted]))
    assert done.exit_code == 0, done.output
    assert "test.jsonl: 1 test questions, 1 traces rejected for them" in done.stdout
    assert json.loads((out / "card.json").read_text())["rejected_by_reason"] == {"in_test": 1}


def test_a_held_out_question_that_is_trained_on(refused, out, base, mixed, mix_dir):
    taught = json.loads((mix_dir / "train.jsonl").read_text().splitlines()[-1])
    data = mixed(heldout=lambda rows: [*rows, taught])
    message = refused(*train(data, out, base))
    assert f"{data}/heldout.jsonl:" in message
    assert f"the question of {taught['id']!r} is in train.jsonl too; take it out of one of them" in message


def test_rows_beyond_the_models_context_are_counted_rejects(out, tmp_path, make_model, make_tokenizer, mix_dir):
    model = make_model()
    model.config.max_position_embeddings = 150
    model.save_pretrained(tmp_path / "base")
    make_tokenizer().save_pretrained(tmp_path / "base")
    done = run(*train(mix_dir, out, tmp_path / "base"))
    assert done.exit_code == 0, done.output
    rejected = [json.loads(line) for line in (out / "train.rejected.jsonl").read_text().splitlines()]
    assert {row["reject_reason"] for row in rejected} == {"beyond_context"}
    assert {row["ratio"] for row in rejected} == {1.0}
    assert all(row["reject_detail"].endswith(" tokens are more than the model's 150 positions") for row in rejected)
    assert f"{len(rejected)} rejected (beyond_context {len(rejected)})" in done.stderr


def test_a_base_model_that_has_such_a_token_already(refused, out, tmp_path, make_model, make_tokenizer, mix_dir):
    tokenizer = make_tokenizer(extra=("<|im_start|>", "<COMP_60>"))
    make_model().save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    message = refused(*train(mix_dir, out, tmp_path / "base"))
    assert f"the tokenizer already has <COMP_60> (id {tokenizer.convert_tokens_to_ids('<COMP_60>')})" in message
    assert "start from a model without it" in message


@pytest.fixture(scope="module")
def narrow(tmp_path_factory, compressed, base):
    """A checkpoint that knows 0.2 and 0.6 only."""
    folder = tmp_path_factory.mktemp("narrow")
    assert run("build", compressed, folder / "mix", "--ratio", 0.2, "--ratio", 0.6).exit_code == 0
    assert run(*train(folder / "mix", folder / "sft", base)).exit_code == 0
    return folder


def test_packing_for_a_model_whose_packed_rows_see_each_other(refused, out, tmp_path, make_tokenizer, mix_dir):
    shape = {"vocab_size": 100, "hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 64}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 512}
    OPTForCausalLM(OPTConfig(**shape, **heads, pad_token_id=1, eos_token_id=2)).save_pretrained(tmp_path / "base")
    make_tokenizer().save_pretrained(tmp_path / "base")
    message = refused(*train(mix_dir, out, tmp_path / "base", "--packing"))
    assert "--packing: a model of type opt lets a packed row see the row before it; leave out --packing" in message
    assert run(*train(mix_dir, out, tmp_path / "base")).exit_code == 0


def test_a_trace_with_half_a_surrogate_pair_is_a_counted_reject(out, tmp_path, trace, write_lines):
    """The first trace would be the card's example."""
    traces = write_lines(tmp_path / "in.jsonl", [trace(0, question="How many \ud800?"), trace(1), trace(2)])
    done = run("build", traces, out, "--policy-share", 0, "--heldout-share", 0)
    assert done.exit_code == 0, done.output
    assert "3 read, 6 written, 1 rejected (lone_surrogate 1)" in done.stderr
    rejected = json.loads((out / "mixture.rejected.jsonl").read_text())
    assert (rejected["id"], rejected["reject_detail"]) == ("p0", "\\ud800")


def test_an_sft_file_with_half_a_surrogate_pair(refused, out, base, mixed):
    def corrupt(rows):
        rows[4]["completion"][0]["content"] += "\udc00"
        return rows

    data = mixed(train=corrupt)
    message = refused(*train(data, out, base))
    assert f"{data}/train.jsonl:5: completion: contains \\udc00, half of a surrogate pair; take it out" in message


def test_a_mixture_with_more_ratios_than_the_checkpoint_knows(refused, out, narrow, mix_dir):
    message = refused(*train(mix_dir, out, narrow / "sft"))
    assert f"{mix_dir}/train.jsonl:3: completion: opens with '<COMP_100>" in message
    assert "not with a ratio token of the ladder (<COMP_20>, <COMP_60>, <COMP_POLICY>)" in message


def test_a_mixture_with_fewer_ratios_than_the_checkpoint_knows_is_welcome(tmp_path, out, narrow, base, mix_dir):
    assert run(*train(mix_dir, tmp_path / "wide", base)).exit_code == 0
    assert run(*train(narrow / "mix", out, tmp_path / "wide")).exit_code == 0
    written = [json.loads((folder / "control_tokens.json").read_text()) for folder in (out, tmp_path / "wide")]
    assert written[0] == written[1]
    assert list(written[0]["ratios"].values()) == [0.2, 0.6, 1.0]


def test_a_checkpoint_whose_tokens_mean_other_ratios(refused, out, tmp_path, narrow, mix_dir):
    shutil.copytree(narrow / "sft", tmp_path / "other")
    ladder = json.loads((tmp_path / "other/control_tokens.json").read_text())
    ladder["ratios"] = {"<COMP_20>": 0.25, "<COMP_60>": 0.6}
    (tmp_path / "other/control_tokens.json").write_text(json.dumps(ladder))
    message = refused(*train(mix_dir, out, tmp_path / "other"))
    assert "train.jsonl:1: ratio: 0.2, but the completion opens with the token of 0.25" in message


def test_a_checkpoint_whose_tokenizer_lacks_a_token_of_its_ladder(refused, out, tmp_path, base, mix_dir):
    shutil.copytree(base, tmp_path / "other")
    ladder = {"format": 1, "ratios": {"<COMP_20>": 0.2}, "policy": "<COMP_POLICY>"}
    (tmp_path / "other/control_tokens.json").write_text(json.dumps(ladder))
    message = refused(*train(mix_dir, out, tmp_path / "other"))
    assert "its tokenizer lacks <COMP_20>, <COMP_POLICY> of control_tokens.json" in message
