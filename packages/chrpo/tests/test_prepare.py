import json
import tracemalloc

import numpy as np
import pytest
from click.testing import CliRunner

from chrpo._shared.control_tokens import ControlTokens
from chrpo._shared.records import read_records, write_records
from chrpo.cli import cli
from chrpo.prepare import prepare
from chrpo.prompts import PromptTable

TOKENS = ControlTokens.ladder((0.2, 0.6, 1.0))
PASSES = {"easy": (4, 4, 4), "middle": (1, 4, 4), "odd": (4, 3, 4), "lost": (0, 1, 3)}


def sample(name, ratio, number, right, **more):
    thinking = round(50 * (ratio if isinstance(ratio, float) else 1)) + number
    return {
        "id": name,
        "question": f"What is {name}?",
        "answer": "7",
        "topic": "words",
        "prompt": "…",
        "completion": f"<think>…</think> \\boxed{{{7 if right else 6}}}",
        "finish_reason": "stop",
        "thinking_tokens": thinking,
        "completion_tokens": thinking + 8,
        "extracted": "7" if right else "6",
        "verdict": "correct" if right else "incorrect",
        "ratio": ratio,
        "seed": 0,
        "sample": number,
        "latency_s": 0.1,
        "temperature": 0.7,
        **more,
    }


def samples(passes=None):
    return [
        sample(name, ratio, number, number < count)
        for name, counts in (passes or PASSES).items()
        for ratio, count in zip((0.2, 0.6, 1.0), counts, strict=True)
        for number in range(4)
    ]


@pytest.fixture
def files(tmp_path):
    write_records(tmp_path / "samples.jsonl", samples())
    return tmp_path / "samples.jsonl", tmp_path / "prompts.jsonl"


def test_a_ratio_with_a_switch_is_asked_for_with_it(files):
    tokens = ControlTokens.ladder((0.2, 0.6, 1.0), {0.2: "/short"})
    prepare(*files, tokens=tokens, instruction="Think.", policy_share=0)
    rows = list(read_records(files[1], "rl_prompts"))
    endings = {row["prompt"][0]["content"].split()[-1] for row in rows}
    assert endings == {"/short", "<COMP_60>", "<COMP_100>"}
    table = PromptTable.of(rows, tokens)
    assert [row["prompt"][0]["content"].endswith(" /short") for row in rows] == (table.requested == 0).tolist()


def test_prompts_by_hand(files):
    tally, summary = prepare(*files, tokens=TOKENS, instruction="Think.", policy_share=1)
    rows = {row["id"]: row for row in read_records(files[1], "rl_prompts")}
    assert {name: row["teacher_ratio"] for name, row in rows.items()} == {
        "easy": 0.2,
        "middle": 0.6,
        "odd": 1.0,
        "lost": None,
    }
    assert rows["middle"] == {
        "id": "middle",
        "question": "What is middle?",
        "answer": "7",
        "topic": "words",
        "temperature": 0.7,
        "prompt": [{"role": "user", "content": "Think.\nWhat is middle? <COMP_POLICY>"}],
        "mode": "policy",
        "teacher_ratio": 0.6,
        "difficulty": "1",
        "reference_tokens": 52,  # the mean of 50 … 53, 51.5, to the even neighbour
        "reference_completion_tokens": 60,
        "reference_accuracy": 1.0,
        "reference_accuracies": {"0.2": 0.25, "0.6": 1.0, "1": 1.0},
    }
    difficulties = {name: row["difficulty"] for name, row in rows.items()}
    assert difficulties == {"easy": "0", "middle": "1", "odd": "none", "lost": "none"}
    assert (tally.read, tally.written, tally.rejected) == (48, 4, 0)
    assert summary["teacher_ratios"] == {"0.2": 1, "0.6": 1, "1": 1, "none": 1}
    assert (summary["not_monotone"], summary["all_fail"]) == (1, 1)
    assert summary["ratios"]["0.2"]["accuracy"] == pytest.approx(9 / 16)
    assert summary["ratios"]["0.2"]["realised_ratio"] == pytest.approx(11.5 / 52)
    assert summary["sampler"] == {"temperature": [0.7]}
    assert json.loads(files[1].with_name("prompts.summary.json").read_text()) == summary


@pytest.mark.parametrize("policy_share", [1.0, 0.0])
def test_the_floor_of_a_difficulty_is_the_accuracy_that_new_samples_have(tmp_path, policy_share):
    """Every problem has accuracy .8 at every ratio, so every group has, too: no group consists of unlucky draws."""
    generator = np.random.default_rng(5)
    passes = {f"p{number}": tuple(generator.binomial(4, 0.8, 3)) for number in range(600)}
    write_records(tmp_path / "samples.jsonl", samples(passes))
    prepare(tmp_path / "samples.jsonl", tmp_path / "out.jsonl", tokens=TOKENS, policy_share=policy_share)
    table = PromptTable.of(list(read_records(tmp_path / "out.jsonl", "rl_prompts")), TOKENS, by_difficulty=True)
    floors = table.floors(0.0)
    assert len(floors) == {1.0: 3, 0.0: 9}[policy_share]
    sizes = {name: table.group.count(name) for name in floors}
    assert all(abs(floor - 0.8) < 4 * (0.16 / 4 / sizes[name]) ** 0.5 for name, floor in floors.items())


def test_fixed_prompts_are_spread_over_the_ladder(tmp_path):
    write_records(tmp_path / "samples.jsonl", samples({f"p{i}": (4, 4, 4) for i in range(12)}))
    prepare(tmp_path / "samples.jsonl", tmp_path / "out.jsonl", tokens=TOKENS, policy_share=0.5, seed=3)
    rows = list(read_records(tmp_path / "out.jsonl", "rl_prompts"))
    ends = [row["prompt"][0]["content"].split()[-1] for row in rows]
    assert {end: ends.count(end) for end in ends} == {
        "<COMP_POLICY>": 6,
        "<COMP_20>": 2,
        "<COMP_60>": 2,
        "<COMP_100>": 2,
    }
    assert all((row["mode"] == "policy") == (end == "<COMP_POLICY>") for row, end in zip(rows, ends, strict=True))


def test_a_fifth_of_the_prompts_requests_a_ratio_unless_another_share_is_given(tmp_path):
    write_records(tmp_path / "samples.jsonl", samples({f"p{i}": (4, 4, 4) for i in range(15)}))
    _, summary = prepare(tmp_path / "samples.jsonl", tmp_path / "out.jsonl", tokens=TOKENS)
    requests = [row["prompt"][0]["content"].split()[-1] for row in read_records(tmp_path / "out.jsonl", "rl_prompts")]
    assert summary["policy_prompts"] == requests.count("<COMP_POLICY>") == 12
    assert {"<COMP_20>", "<COMP_60>", "<COMP_100>"} < set(requests)


def test_equal_seeds_give_equal_files(files, tmp_path):
    prepare(*files, tokens=TOKENS, policy_share=0.5, seed=1)
    prepare(files[0], tmp_path / "again.jsonl", tokens=TOKENS, policy_share=0.5, seed=1)
    assert files[1].read_bytes() == (tmp_path / "again.jsonl").read_bytes()


def test_unusable_problems_are_counted_and_kept(tmp_path):
    rows = samples()
    rows = [row for row in rows if not (row["id"] == "easy" and row["ratio"] == 0.6)]
    rows = [row for row in rows if not (row["id"] == "middle" and row["ratio"] == 0.2 and row["sample"] > 1)]
    rows[-1]["answer"] = "8"
    rows.append({**sample("policy only", 0.2, 0, True), "ratio": "policy"})
    write_records(tmp_path / "s.jsonl", rows)
    tally, summary = prepare(tmp_path / "s.jsonl", tmp_path / "p.jsonl", tokens=TOKENS)
    assert tally.reasons == {"id_not_unique": 1, "ratio_not_sampled": 2, "too_few_samples": 1}
    assert summary["prompts"] == 1
    rejected = [json.loads(line) for line in (tmp_path / "p.rejected.jsonl").read_text().splitlines()]
    assert {"id": "easy", "reject_reason": "ratio_not_sampled", "reject_detail": "no sample at 0.6"} in rejected


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_the_command_writes_and_reports(files, checkpoint):
    result = run("prepare", *files, "--checkpoint", checkpoint)
    assert result.exit_code == 0, result.output
    told = "thinking format: <think> … </think>, opened by the model\n"
    assert result.stderr == told + "48 read, 4 written, 0 rejected\n"
    assert "ratio  0.2  accuracy 0.562" in result.stdout


def test_the_thinking_format_is_told_once_before_the_work_and_not_without_any(files, tmp_path):
    samples, out = files
    told = []

    def tell(line):
        told.append(line)
        assert not out.exists()

    prepare(samples, out, tokens=TOKENS, thinking_format="thought", notify=tell)
    assert out.exists()
    prepare(samples, out, tokens=TOKENS, thinking_format="thought", notify=tell)
    assert told == ["thinking format: <thought> … </thought>, opened by the model"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda rows: rows[:0], "no rows"),
        (lambda rows: [{**rows[0], "ratio": 20}], "s.jsonl:1: ratio"),
        (lambda rows: [{**rows[0], "thinking_tokens": "12"}], "s.jsonl:1: thinking_tokens"),
        (lambda rows: [*rows, rows[-1]], "is there twice"),
        (lambda rows: [row for row in rows if row["ratio"] == 0.2], "sample the whole ladder"),
    ],
)
def test_bad_samples_end_in_one_line_and_exit_2(tmp_path, checkpoint, spoil, words):
    write_records(tmp_path / "s.jsonl", spoil(samples()))
    result = run("prepare", tmp_path / "s.jsonl", tmp_path / "p.jsonl", "--checkpoint", checkpoint)
    assert result.exit_code == 2
    told, message = result.stderr.splitlines()
    assert told.startswith("thinking format: ")
    assert words in message
    assert not (tmp_path / "p.jsonl").exists()


def test_a_forgotten_out_never_replaces_samples(files, tmp_path, checkpoint):
    write_records(tmp_path / "more.jsonl", samples({"more": (4, 4, 4)}))
    before = (tmp_path / "more.jsonl").read_bytes()
    result = run("prepare", files[0], tmp_path / "more.jsonl", "--checkpoint", checkpoint)
    assert (result.exit_code, "more.jsonl: already there, and not written by chrpo prepare" in result.stderr) == (
        2,
        True,
    )
    assert (tmp_path / "more.jsonl").read_bytes() == before
    assert run("prepare", files[0], tmp_path, "--checkpoint", checkpoint).exit_code == 2


def test_finished_prompts_are_left_alone_and_other_settings_are_refused(files, checkpoint):
    base = ("prepare", *files, "--checkpoint", checkpoint)
    assert run(*base).exit_code == 0
    before = files[1].stat().st_mtime_ns
    again = run(*base)
    assert (again.exit_code, again.stderr) == (0, f"{files[1]}: already made with these settings; nothing to do\n")
    other = run(*base, "--seed", 1)
    assert other.exit_code == 2
    assert "made with other settings (seed was 0, is 1); name another output, or add --overwrite" in other.stderr
    assert files[1].stat().st_mtime_ns == before
    assert run(*base, "--seed", 1, "--overwrite").exit_code == 0
    write_records(files[0], samples({"easy": (4, 4, 4)}))
    assert "made with other settings (samples was " in run(*base, "--seed", 1).stderr


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
@pytest.mark.parametrize("name", ["prompts.jsonl", "prompts.summary.json", "prompts.rejected.jsonl"])
def test_a_file_of_somebody_else_is_never_replaced(files, checkpoint, name, overwrite):
    base = ("prepare", *files, "--checkpoint", checkpoint)
    path = files[1].with_name(name)
    path.write_text("my notes")
    first = run(*base, *overwrite)
    assert (first.exit_code, f"{path}: already there, and not written by chrpo prepare" in first.stderr) == (2, True)
    path.unlink()
    assert run(*base).exit_code == 0
    path.write_text("my notes")
    second = run(*base, *overwrite)
    assert second.exit_code == 2
    fault = "already there, and not written by chrpo prepare" if "rejected" in name else "changed since chrpo prepare"
    assert f"{path}: {fault}" in second.stderr
    assert path.read_text() == "my notes"


@pytest.mark.parametrize("name", ["prompts.jsonl", "prompts.summary.json"])
def test_a_file_that_was_removed_is_made_again(files, checkpoint, name):
    base = ("prepare", *files, "--checkpoint", checkpoint)
    assert run(*base).exit_code == 0
    path = files[1].with_name(name)
    before = path.read_bytes()
    path.unlink()
    assert run(*base).exit_code == 0
    assert path.read_bytes() == before


@pytest.mark.parametrize("killed_at", range(6))
def test_killed_while_files_get_their_names_the_command_ends_the_same(files, checkpoint, killed_at, monkeypatch):
    from chrpo._shared import output_file

    base = ("prepare", *files, "--checkpoint", checkpoint)
    assert run(*base).exit_code == 0
    whole = {path.name: path.read_bytes() for path in files[1].parent.iterdir()}
    assert run(*base, "--seed", 1, "--policy-share", 0.5, "--overwrite").exit_code == 0
    moves = iter(range(killed_at))

    def until_killed(function):
        def call(*arguments, **options):
            next(moves)
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(output_file.os, "replace", until_killed(output_file.os.replace))
        with pytest.raises((StopIteration, RuntimeError)):
            prepare(*files, tokens=TOKENS, overwrite=True)
    result = run(*base, "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert {path.name: path.read_bytes() for path in files[1].parent.iterdir()} == whole


def test_samples_off_the_ladder_are_counted(tmp_path, checkpoint):
    other = [sample("easy", ratio, 0, True) for ratio in (0.3, "policy", None)]
    write_records(tmp_path / "s.jsonl", [*samples(), *other])
    result = run("prepare", tmp_path / "s.jsonl", tmp_path / "p.jsonl", "--checkpoint", checkpoint)
    assert "3 samples are at no ratio of the ladder" in result.stderr
    assert json.loads((tmp_path / "p.summary.json").read_text())["samples_off_the_ladder"] == 3


def test_samples_of_two_temperatures_are_reported(tmp_path, checkpoint):
    rows = samples()
    rows[-1]["temperature"] = 1.0
    write_records(tmp_path / "s.jsonl", rows)
    result = run("prepare", tmp_path / "s.jsonl", tmp_path / "p.jsonl", "--checkpoint", checkpoint)
    assert "samples of different temperature are counted together: 0.7, 1.0\n" in result.stderr


def test_what_the_rows_leave_out_is_read_off_the_manifest_beside_them(tmp_path, checkpoint):
    for number, temperature in enumerate((0.3, 1.0)):
        rows = [{**row, "seed": number} for row in samples()]
        for row in rows:
            del row["temperature"]
        (tmp_path / str(number)).mkdir()
        write_records(tmp_path / str(number) / "s.jsonl", rows)
        manifest = {"settings": {"temperature": temperature, "max_tokens": 64, "model": "a digest"}}
        (tmp_path / str(number) / "manifest.json").write_text(json.dumps(manifest))
    files = [tmp_path / "0" / "s.jsonl", tmp_path / "1" / "s.jsonl"]
    result = run("prepare", *files, tmp_path / "p.jsonl", "--checkpoint", checkpoint)
    assert "samples of different temperature are counted together: 0.3, 1.0\n" in result.stderr
    sampler = json.loads((tmp_path / "p.summary.json").read_text())["sampler"]
    assert sampler == {"temperature": [0.3, 1.0], "max_tokens": [64]}


def test_samples_that_training_would_prompt_or_grade_differently_are_reported(tmp_path, checkpoint):
    rows = samples()
    right = [row for row in rows if row["id"] == "easy"]
    right[0]["finish_reason"] = "length"
    right[1]["completion"] = "<think>…</think> 7"
    right[2]["prompt"] = f"<user>{right[2]['question']} <COMP_20>"
    right[3]["prompt"] = f"<user>Think.\n{right[3]['question']} <COMP_20>"
    write_records(tmp_path / "s.jsonl", rows)
    options = ("--checkpoint", checkpoint, "--instruction", "Think.")
    result = run("prepare", tmp_path / "s.jsonl", tmp_path / "p.jsonl", *options)
    assert "1 samples are correct but truncated" in result.stderr
    assert "1 samples were graded correct without an answer in the form that training asks for" in result.stderr
    assert "1 samples were drawn with another instruction" in result.stderr
    easy = next(row for row in read_records(tmp_path / "p.jsonl", "rl_prompts") if row["id"] == "easy")
    assert easy["reference_accuracies"]["0.2"] == 0.75


def test_a_corrupted_file_and_a_missing_ladder_are_named(tmp_path, files, checkpoint):
    half = tmp_path / "half.jsonl"
    half.write_text('{"id": "a", "que')
    assert "half.jsonl:1: not JSON" in run("prepare", half, tmp_path / "p.jsonl", "--checkpoint", checkpoint).stderr
    result = run("prepare", files[0], tmp_path / "p.jsonl", "--checkpoint", tmp_path)
    assert result.exit_code == 2
    assert "control_tokens.json" in result.stderr


@pytest.mark.parametrize("name", ["control_tokens.json", "thinking_format.json"])
def test_a_file_of_the_checkpoint_that_is_elsewhere_is_not_read(tmp_path, files, name):
    (tmp_path / "model").mkdir()
    (tmp_path / "elsewhere.json").write_text("secret")
    (tmp_path / "model" / name).symlink_to(tmp_path / "elsewhere.json")
    result = run("prepare", *files, "--checkpoint", tmp_path / "model")
    assert (result.exit_code, f"{name}: is a symbolic link to outside the folder" in result.stderr) == (2, True)
    assert "secret" not in result.output


def test_memory_does_not_depend_on_how_long_completions_are(tmp_path):
    rows = [{**row, "completion": 20_000 * " "} for row in samples({f"p{i}": (4, 4, 4) for i in range(50)})]
    write_records(tmp_path / "samples.jsonl", rows)
    tracemalloc.start()
    prepare(tmp_path / "samples.jsonl", tmp_path / "out.jsonl", tokens=TOKENS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(rows) * 20_000 / 3


def plain_samples(**correct):
    """Samples without a ratio, correct (1) or not (0) in turn."""
    return [
        sample(name, None, number, bool(int(right)))
        for name, rights in correct.items()
        for number, right in enumerate(rights)
    ]


def test_prompts_without_control_tokens_by_hand(tmp_path):
    rows = plain_samples(even="0101", odd="11100", lost="0000", once="1")
    write_records(tmp_path / "samples.jsonl", [*rows, sample("even", 0.2, 0, True)])
    told = []
    options = {"tokens": None, "instruction": "Think.", "notify": told.append}
    tally, summary = prepare(tmp_path / "samples.jsonl", tmp_path / "prompts.jsonl", **options)
    assert told == [
        "thinking format: <think> … </think>, opened by the model",
        "no control tokens: the whole response is shortened",
    ]
    found = {row["id"]: row for row in read_records(tmp_path / "prompts.jsonl", "rl_prompts")}
    assert found["even"] == {
        "id": "even",
        "question": "What is even?",
        "answer": "7",
        "topic": "words",
        "temperature": 0.7,
        "prompt": [{"role": "user", "content": "Think.\nWhat is even?"}],
        "mode": "policy",
        "teacher_ratio": None,
        "reference_tokens": 52,
        "reference_completion_tokens": 60,
        "reference_accuracy": 0.5,
        "difficulty": "easy",
        "held_out_accuracy": 0.0,
    }
    # The second and fourth of 11100 show the difficulty, the other three the accuracy.
    assert [found["odd"][name] for name in ("reference_accuracy", "difficulty", "held_out_accuracy")] == [
        0.6,
        "medium",
        2 / 3,
    ]
    assert found["lost"]["difficulty"] == "hard"
    assert not {"difficulty", "held_out_accuracy"} & found["once"].keys()
    assert PromptTable.of(list(found.values()), None).floors(0) == {"policy": (0.5 + 0.6 + 0 + 1) / 4}
    assert summary["accuracy"] == (0.5 + 0.6 + 0 + 1) / 4
    assert summary["samples_at_a_ratio"] == 1
    assert (tally.read, tally.written) == (15, 4)


def test_the_floor_of_a_difficulty_without_control_tokens_is_the_accuracy_that_new_samples_have(tmp_path):
    """Of 2000 problems that are all solved half of the time, no group is harder or easier than the others."""
    generator = np.random.default_rng(0)
    rights = {f"p{n}": "".join(map(str, generator.integers(0, 2, 4))) for n in range(2000)}
    write_records(tmp_path / "samples.jsonl", plain_samples(**rights))
    prepare(tmp_path / "samples.jsonl", tmp_path / "out.jsonl", tokens=None)
    table = PromptTable.of(list(read_records(tmp_path / "out.jsonl", "rl_prompts")), None, by_difficulty=True)
    floors = table.floors(0)
    assert floors.keys() == {"policy/easy", "policy/hard", "policy/medium"}
    assert list(floors.values()) == pytest.approx([0.5] * 3, abs=0.05)


def test_the_command_prepares_prompts_for_a_checkpoint_without_control_tokens(tmp_path):
    (tmp_path / "plain").mkdir()
    write_records(tmp_path / "samples.jsonl", plain_samples(one="1101", two="1111"))
    call = ["prepare", str(tmp_path / "samples.jsonl"), str(tmp_path / "out.jsonl"), "--checkpoint"]
    made = CliRunner().invoke(cli, [*call, str(tmp_path / "plain")])
    assert made.exit_code == 0, made.output
    assert made.stdout == "accuracy 0.875  thinking tokens 52  completion tokens 60\n"
    assert "no control tokens: the whole response is shortened" in made.stderr
    for more, words in (
        (["--policy-share", "0.5"], "the checkpoint has no control tokens"),
        (["--checkpoint", str(tmp_path / "nothing")], "no such folder"),
    ):
        refused = CliRunner().invoke(cli, [*call, str(tmp_path / "plain"), *more])
        assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
        assert words in refused.stderr
    write_records(tmp_path / "samples.jsonl", samples())
    refused = CliRunner().invoke(cli, [*call, str(tmp_path / "plain"), "--overwrite"])
    assert refused.exit_code == 2
    assert "no problem has a sample without a ratio" in refused.stderr
