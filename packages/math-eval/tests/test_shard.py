"""The shards of a run, joined, are the run that one command makes: every row, every figure, the settings."""

import json
import re

import pytest
from click.testing import CliRunner

from math_eval._shared.runs import write_manifest
from math_eval.cli import cli
from math_eval.errors import DataError
from math_eval.shard import parse_shard

pytestmark = pytest.mark.enable_socket
_TIMED = ("latency_s", "wall_s", "samples_per_s")


def invoke(*arguments, code=0):
    done = CliRunner().invoke(cli, [str(each) for each in arguments])
    assert done.exit_code == code, done.output
    return done


def untimed(found):
    return [{name: value for name, value in row.items() if name not in _TIMED} for row in found]


def content(folder):
    """Samples, conditions and settings of a run."""
    samples = [json.loads(line) for path in sorted(folder.glob("samples_*")) for line in path.open(encoding="utf-8")]
    results = json.loads((folder / "results.json").read_text("utf-8"))["conditions"]
    return untimed(samples), untimed(results), json.loads((folder / "manifest.json").read_text("utf-8"))["settings"]


def test_batches_of_a_checkpoint_are_those_of_the_whole_run(tiny_model, problems, tmp_path):
    other = tmp_path / "more.jsonl"
    other.write_text(problems.read_text("utf-8"), "utf-8")
    command = [
        "run", "--model", tiny_model, "--tasks", f"{problems},{other}", "--ratio", "0.2", "--ratio", "policy",
        "--max-tokens", "24", "--batch-size", "5", "--temperature", "1.5", "--limit", "12",
    ]  # fmt: skip
    invoke(*command, "--output-dir", tmp_path / "whole")
    shards = [tmp_path / f"part-{number}" for number in (1, 2, 3)]
    for number, shard in enumerate(shards, 1):
        invoke(*command, "--shard", f"{number}/3", "--output-dir", shard)
    sizes = [sum(len(path.read_bytes().splitlines()) for path in shard.glob("samples_*")) for shard in shards]
    assert (sum(sizes), min(sizes) > 0) == (48, True)
    merged = invoke("merge", *reversed(shards), "--output-dir", tmp_path / "merged")
    assert "sums ratio 0.2: accuracy" in merged.stdout
    assert content(tmp_path / "merged") == content(tmp_path / "whole")
    for again in (["merge", *shards], command):
        assert "already complete" in invoke(*again, "--output-dir", tmp_path / "merged").stderr
    assert "already complete" in invoke(*command, "--shard", "2/3", "--output-dir", shards[1]).stderr


@pytest.fixture
def by_server(serve, problems, tmp_path):
    """`by_server(folder, *more)` runs a model behind a server, which refuses one question."""
    pytest.importorskip("openai", reason="needs cot-math-eval[openai]")

    def answer(request):
        question = json.loads(request.body)["messages"][0]["content"]
        one, two = map(int, re.findall(r"\d+", question))
        if (one, two) == (2, 3):
            return 400, {}, b'{"error": {"message": "too hard"}}'
        message = {"role": "assistant", "content": f"<think>{one} + {two}</think> \\boxed{{{one + two}}}"}
        reply = {"choices": [{"finish_reason": "stop", "message": message}], "usage": {"completion_tokens": 20}}
        return 200, {"Content-Type": "application/json"}, json.dumps(reply).encode()

    command = ["run", "--model", "openai:m", "--base-url", f"{serve(answer).url}/v1", "--tasks", problems]

    def run(folder, *more):
        invoke(*command, "--instruction", "", "--output-dir", tmp_path / folder, *more)
        return tmp_path / folder

    return run


@pytest.mark.parametrize(("limit", "sizes"), [(16, [6, 5, 5]), (2, [1, 1, 0])])
def test_requests_of_a_server_are_dealt_out_one_by_one(by_server, tmp_path, limit, sizes):
    shards = [by_server(f"part-{number}", "--limit", limit, "--shard", f"{number}/3") for number in (1, 2, 3)]
    assert [len((shard / "samples_sums.jsonl").read_bytes().splitlines()) for shard in shards] == sizes
    invoke("merge", *shards, "--output-dir", tmp_path / "merged")
    assert content(tmp_path / "merged") == content(by_server("whole", "--limit", limit))
    assert json.loads((tmp_path / "merged" / "manifest.json").read_text("utf-8"))["base_urls"]


def test_shards_that_are_not_one_run_are_refused(by_server, tmp_path):
    one, two, other, whole = (
        by_server("one", "--shard", "1/2"),
        by_server("two", "--shard", "2/2"),
        by_server("other", "--shard", "2/2", "--max-tokens", "7"),
        by_server("whole"),
    )

    def refused(*shards, words):
        failed = invoke("merge", *shards, "--output-dir", tmp_path / "merged", code=2)
        assert re.search(words, failed.stderr), failed.stderr
        assert not (tmp_path / "merged" / "manifest.json").exists()

    refused(one, words="2/2: no folder of this shard")
    refused(one, two, by_server("third", "--shard", "1/3"), words="third: is shard 1/3, and .*one is one of 2")
    refused(one, one, words="is shard 1/2, and so is")
    refused(one, other, words="other: made otherwise than .*max_tokens was 4096, is 7")
    refused(one, whole, words="whole: no shard of a run")
    write_manifest(tmp_path / "mix" / "manifest.json", "ratio-sft build", {})
    refused(tmp_path / "mix", words="mix: no shard of a run")
    manifest = json.loads((two / "manifest.json").read_text("utf-8"))
    (two / "manifest.json").write_text(json.dumps({**manifest, "environment": {"openai": "0"}}), "utf-8")
    refused(one, two, words="two: made otherwise than .*environment.openai was")
    (two / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    rows = (two / "samples_sums.jsonl").read_text("utf-8").splitlines(keepends=True)
    (two / "samples_sums.jsonl").write_text("".join(rows[1:]), "utf-8")
    refused(one, two, words="not the samples that .*shard.json names")
    (two / "shard.json").write_text('{"requests": {"sums": 16}, "places": {"sums": [-1]}}', "utf-8")
    refused(one, two, words=r"shard.json: places.sums\[0\]")
    (two / "shard.json").unlink()
    refused(one, two, words="no complete shard")


def refusals(folder, whole, tmp_path):
    """What each command that reads a run says about a folder."""
    out = tmp_path / "out"
    for command in (
        ["export", "traces", folder, out], ["export", "logs", folder, out, "--tool", "lm-eval"],
        ["compare", folder, whole], ["compare", whole, folder], ["report", folder, "--output", f"{out}.html"],
        ["report", whole, folder, "--output", f"{out}.html"], ["doctor", folder], ["grade", folder, out],
    ):  # fmt: skip
        yield invoke(*command, code=2).stderr
        assert not out.exists(), command


def test_each_reader_of_a_run_says_that_a_folder_is_a_shard_and_what_to_do(by_server, tmp_path):
    whole, shard = by_server("whole"), by_server("part", "--shard", "1/2")
    words = f"error: {shard}: this is shard 1/2 of a run; join all of its shards with `math-eval merge`, and name the "
    assert {*refusals(shard, whole, tmp_path)} == {f"{words}joined run\n"}
    (shard / "shard.json").unlink()
    words = (
        f"error: {shard}: this is shard 1/2 of a run, and not finished (no shard.json); repeat its `math-eval run "
        "--shard 1/2` to resume it, and join all of its shards with `math-eval merge`\n"
    )
    assert {*refusals(shard, whole, tmp_path)} == {words}
    (whole / "results.json").unlink()
    assert {*refusals(whole, shard, tmp_path)} == {
        f"error: {whole}: this run is not finished (no results.json); repeat its `math-eval run` to resume it\n", words
    }  # fmt: skip


def test_each_reader_of_a_run_refuses_what_another_command_wrote(write_run, tmp_path):
    whole, folder = write_run("whole", [{"id": "a"}]), tmp_path / "graded"
    folder.mkdir()
    manifest = {"command": "math-eval grade", "settings": {"shards": ["part-0.jsonl"]}}
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    *read, graded = refusals(folder, whole, tmp_path)
    words = f"{folder}: written by math-eval grade, and not a run folder; name one that `math-eval run` made"
    assert {*read} == {f"error: {words}\n"}
    assert "graded: unfinished, part-0.jsonl of 1 shards not there" in graded, "graded files may be graded again"


def test_a_folder_of_shards_is_no_leaderboard_and_says_why(by_server, tmp_path):
    for number in (1, 2):
        by_server(f"runs/part-{number}", "--shard", f"{number}/2")
    words = "left out because they are shards of a run, which `math-eval merge` joins: part-1, part-2"
    report = ["report", tmp_path / "runs", "--output", tmp_path / "board.html"]
    assert f"no finished run in it ({words})" in invoke(*report, code=2).stderr
    by_server("runs/whole")
    assert words in invoke(*report).stdout.splitlines()
    assert words in (tmp_path / "board.html").read_text("utf-8")


def test_a_shard_that_was_interrupted_is_resumed_as_the_same_shard(by_server, tmp_path):
    folder = by_server("part", "--shard", "1/2")
    rows = (folder / "samples_sums.jsonl").read_bytes()
    (folder / "shard.json").unlink()
    (folder / "samples_sums.jsonl").unlink()
    (folder / "samples_sums.partial.jsonl").write_bytes(rows[:700])
    assert untimed(map(json.loads, (by_server("part", "--shard", "1/2") / "samples_sums.jsonl").open())) == untimed(
        map(json.loads, rows.splitlines())
    )
    (folder / "shard.json").unlink()
    with pytest.raises(AssertionError, match="shard was '1/2', is '2/2'"):
        by_server("part", "--shard", "2/2")


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/0", "1", "1/2/3", "a/b", "-1/2", "1/9999999"])
def test_a_shard_is_a_number_of_a_count(text):
    with pytest.raises(DataError, match="shard must be I/N"):
        parse_shard(text)
