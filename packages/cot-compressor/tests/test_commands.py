import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from cot_compressor import Compressor
from cot_compressor._shared.records import read_records
from cot_compressor.cli import cli
from cot_compressor.compress import compress_file
from cot_compressor.distributed import only_writer
from cot_compressor.errors import DataError
from cot_compressor.plain_text import shown
from cot_compressor.scorers.hub import find_folder

PROGRAM = [sys.executable, "-c", "from cot_compressor.cli import cli; cli()"]


def run(*arguments: object):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.mark.parametrize("command", ["annotate", "train", "compress", "evaluate", "export", "push"])
def test_every_command_shows_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"  cot-compressor {command} " in result.output


def test_help_does_not_import_what_it_does_not_need() -> None:
    program = "import sys; import cot_compressor.cli; print({'torch', 'transformers'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "set()\n"
    )


def test_compress_writes_the_contract_in_input_order(traces_file: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl.gz"
    result = run("compress", traces_file, out, "--ratio", 0.4, "--ratio", 0.2, "--tokenizer", tokenizer_folder)
    assert result.exit_code == 0, result.output
    assert result.stderr.endswith("60 read, 60 written, 0 rejected\n")
    rows = list(read_records(out, "compressed"))
    sources = list(read_records(traces_file, "traces"))
    assert [{key: value for key, value in row.items() if key != "compressions"} for row in rows] == sources
    for row in rows:
        assert [entry["ratio"] for entry in row["compressions"]] == [0.2, 0.4]
        for entry in row["compressions"]:
            assert entry["tokens"] <= entry["ratio"] * entry["original_tokens"]
            assert entry["tokenizer"] == "toy-target"
    manifest = json.loads((tmp_path / "out.jsonl.gz.manifest.json").read_text("utf-8"))
    assert manifest["rows"] == {"read": 60, "written": 60, "rejected": {}}
    assert str(tmp_path) not in json.dumps(manifest)


THOUGHTS = "Okay, let me think. So 12 + 15 = 27.\r\nCheck: 12 + 15 = 27, yes.\n"
ASKED = ["--question", "What is 12 + 15?"]


def test_plain_text_is_shortened_on_standard_output(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["compress", "-", "--ratio", "0.3", *ASKED], input=THOUGHTS)
    assert (result.exit_code, result.stdout) == (0, "So 12 + 15 = 27\n")
    path = tmp_path / "thoughts.txt"
    path.write_bytes(THOUGHTS.encode())
    assert run("compress", path, "--ratio", 0.3, *ASKED).stdout == result.stdout
    diff = run("compress", path, "--ratio", 0.3, "--diff", *ASKED)
    assert diff.stdout.splitlines() == ["[-Okay, let me think.-] So 12 + 15 = 27[-.", "Check: 12 + 15 = 27, yes.-]", ""]


def test_a_diff_in_colour_marks_what_is_kept() -> None:
    kept = Compressor.from_pretrained("rules").compress(THOUGHTS, question=ASKED[1], ratio=0.3)
    assert "\x1b[32m\x1b[1mSo 12 + 15 = 27\x1b[0m" in shown(THOUGHTS, kept, whole=True, terminal=True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.txt"], "nowhere.txt: cannot be read"),
        (["traces.jsonl"], "give OUT, the file to write"),
        (["-", "--ratio", "0.2"], "one --ratio"),
        (["a.jsonl", "b.jsonl"], "needs --tokenizer FOLDER"),
        (["thoughts.txt", "short.txt"], "for a plain text, leave out OUT"),
        (["-", "b.jsonl", "--tokenizer", "t"], "-: standard input is for a plain text; leave out OUT"),
        (["-"], "standard input: ratio 0.5 of 1 tokens"),
        (["a.jsonl", "b.jsonl", "--tokenizer", "t", "--diff"], "drop OUT"),
    ],
)
def test_wrong_use_of_plain_text_is_one_line(arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(cli, ["compress", *arguments, "--ratio", "0.5"], input="a")
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_a_blank_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "blank.txt"
    path.write_text("\n")
    result = run("compress", path, "--ratio", 0.5)
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: {path}: the chain of thought is blank; leave it out\n",
    )


def test_text_that_is_not_utf8_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"caf\xe9")
    result = run("compress", path, "--ratio", 0.5)
    assert result.exit_code == 2
    assert "not UTF-8 at byte 3" in result.stderr


def test_rows_without_the_whole_contract_are_taken_and_carried_through(tokenizer_folder: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl.gz", tmp_path / "out.jsonl"
    row = {"id": "a/1", "question": "Q?", "cot": "Tom gets 12 + 15 = 27 more.", "answer": None, "extra": {"x": [1]}}
    source.write_bytes(gzip.compress((json.dumps(row) + "\n").encode()))
    assert run("compress", source, out, "--ratio", 0.7, "--tokenizer", tokenizer_folder).exit_code == 0
    (written,) = map(json.loads, out.read_text("utf-8").splitlines())
    assert written.pop("compressions")[0]["text"]
    assert written == row


def test_unusable_rows_are_counted_and_set_aside(tokenizer_folder: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    cots = [
        "",
        " \r\n",
        "12 + 15 = 27",
        "\\(" * 3000,
        "Tom \x00 gets \ud800 5 more 👍🏽.\r\nYes",
        "Tom $ gets 5 more $x",
    ]
    source.write_text(
        "".join(json.dumps({"id": str(at), "question": "Q?", "cot": cot}) + "\n" for at, cot in enumerate(cots)),
        "utf-8",
    )
    result = run("compress", source, out, "--ratio", 0.5, "--tokenizer", tokenizer_folder)
    assert result.stderr.endswith("6 read, 2 written, 4 rejected (empty_cot 2, infeasible_budget 2)\n")
    rejected = [json.loads(line) for line in (tmp_path / "out.rejected.jsonl").read_text("utf-8").splitlines()]
    assert [row["id"] for row in rejected] == ["0", "1", "2", "3"]
    assert "the smallest ratio for it is 1.0000" in rejected[2]["reject_detail"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"id": "a", "question": "Q?"}', "in.jsonl:2: cot: field 'cot' is missing"),
        ('{"id": "a", "question": "Q?", "cot": 5}', "in.jsonl:2: cot: got 5"),
        ('{"id": "a", "question": "Q?", "cot": "x", "sample": -1}', "in.jsonl:2: sample: got -1"),
        ('{"id": "a", "question": "Q?", "cot": "x", "correct": "yes"}', 'in.jsonl:2: correct: got "yes"'),
        ('{"id": "a", "que', "in.jsonl:2: not JSON"),
    ],
)
def test_a_broken_row_is_one_line_and_leaves_no_output(
    line: str, complaint: str, tokenizer_folder: Path, tmp_path: Path
) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    good = json.dumps({"id": "g", "question": "Q?", "cot": "Tom gets 5 more."})
    source.write_text(f"{good}\n{line}\n", "utf-8")
    result = run("compress", source, out, "--ratio", 0.5, "--tokenizer", tokenizer_folder)
    assert result.exit_code == 2
    (message,) = [text for text in result.stderr.splitlines() if text.startswith("error: ")]
    assert complaint in message
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--ratio", "20"], "ratio must be in (0, 1]; got 20. Did you mean 0.2?"),
        (["--ratio", "0.2", "--scorer", "nowhere"], "scorer nowhere: no such folder"),
        (["--ratio", "0.2", "--tokenizer", "nowhere"], "tokenizer nowhere: no such folder"),
    ],
)
def test_wrong_options_are_one_line(
    options: list[str], complaint: str, traces_file: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    result = run("compress", traces_file, tmp_path / "out.jsonl", "--tokenizer", tokenizer_folder, *options)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_a_finished_command_is_not_repeated_and_other_settings_are_refused(
    traces_file: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    base = ["compress", traces_file, out, "--tokenizer", tokenizer_folder, "--ratio"]
    assert run(*base, 0.4).exit_code == 0
    before = out.stat().st_mtime_ns
    again = run(*base, 0.4)
    assert again.exit_code == 0
    assert "nothing to do" in again.stderr
    assert out.stat().st_mtime_ns == before
    other = run(*base, 0.5)
    assert other.exit_code == 2
    assert (
        "made with other settings (ratios was [0.4], is [0.5]); name another output, or add --overwrite" in other.stderr
    )
    assert run(*base, 0.5, "--overwrite").exit_code == 0
    assert [entry["ratio"] for entry in next(read_records(out, "compressed"))["compressions"]] == [0.5]


def test_nothing_is_left_of_a_command_that_was_killed_at_its_end(
    traces_file: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    command = ["compress", traces_file, tmp_path / "out.jsonl", "--tokenizer", tokenizer_folder, "--ratio", 0.4]
    assert run(*command).exit_code == 0
    done = sorted(tmp_path.rglob("*"))
    (tmp_path / ".out.jsonl.old").mkdir()
    (tmp_path / ".out.jsonl.old" / "rows-0of1.jsonl").touch()
    (tmp_path / ".out.jsonl.0.lock").touch()
    assert "nothing to do" in run(*command).stderr
    assert sorted(tmp_path.rglob("*")) == done


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_an_output_that_was_removed_is_made_again(
    overwrite: list[str], traces_file: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    base = ["compress", traces_file, out, "--tokenizer", tokenizer_folder, *overwrite, "--ratio"]
    assert run(*base, 0.4).exit_code == 0
    before = out.read_bytes()
    out.unlink()
    assert run(*base, 0.5).exit_code == 0, "other settings have nothing to replace"
    out.unlink()
    assert run(*base, 0.4).exit_code == 0
    assert out.read_bytes() == before


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
@pytest.mark.parametrize("ratio", [0.5, 0.6])
@pytest.mark.parametrize("name", ["out.jsonl", "out.rejected.jsonl"])
def test_a_file_that_was_changed_is_not_replaced(
    overwrite: list[str], ratio: float, name: str, tokenizer_folder: Path, tmp_path: Path
) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [{"id": str(at), "question": "Q?", "cot": cot} for at, cot in enumerate(["Tom gets 12 + 15 = 27.", ""])]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    base = ["compress", source, out, "--tokenizer", tokenizer_folder, "--ratio"]
    assert run(*base, 0.5).exit_code == 0
    (tmp_path / name).write_text("my notes")
    again = run(*base, ratio, *overwrite)
    assert again.exit_code == 2
    assert f"{tmp_path / name}: changed since cot-compressor compress wrote it; name another output" in again.stderr
    assert (tmp_path / name).read_text() == "my notes"


def test_rejected_rows_of_a_text_file_lose_its_suffix(tokenizer_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": "a", "question": "Q?", "cot": ""}\n')
    result = run("compress", source, tmp_path / "out.txt", "--ratio", 0.5, "--tokenizer", tokenizer_folder)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out.rejected.jsonl").is_file()


def test_a_report_whose_metrics_were_removed_is_made_again(
    traces_file: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    arguments = ("evaluate", traces_file, tmp_path / "report", "--ratio", 0.4, "--tokenizer", tokenizer_folder)
    first = run(*arguments)
    assert first.stdout.endswith("60 read, 60 measured, 0 rejected\n")
    assert max(map(len, first.stdout.splitlines())) <= 100
    (tmp_path / "report" / "metrics.jsonl").unlink()
    second = run(*arguments)
    assert (second.exit_code, second.stdout) == (0, first.stdout)


def test_an_interrupted_command_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(source: Path) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("cot_compressor.plain_text.read_text", interrupted)
    result = run("compress", "thoughts.txt", "--ratio", 0.5)
    assert (result.exit_code, result.stderr) == (130, "interrupted; repeat the command to continue\n")


def test_an_unfinished_run_with_other_settings_is_refused_and_overwrite_starts_again(
    traces_file: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    out, partial = tmp_path / "out.jsonl", tmp_path / ".out.jsonl.partial"
    base = ["compress", traces_file, out, "--tokenizer", tokenizer_folder, "--ratio"]
    assert run(*base, 0.4).exit_code == 0
    whole = out.read_bytes()
    partial.mkdir()
    (tmp_path / "out.jsonl.manifest.json").rename(partial / "manifest.json")
    (partial / "rows-0of1.jsonl").write_text('{"reject": "slow", "detail": "none"}\n{"row": {"incomp', "utf-8")
    out.unlink()
    other = run(*base, 0.5)
    assert other.exit_code == 2
    assert "an unfinished run with other settings (ratios was [0.4], is [0.5]); finish it with those" in other.stderr
    assert not out.exists()
    assert "60 read, 59 written, 1 rejected (slow 1)" in run(*base, 0.4).stderr, "the same settings continue"
    assert "60 read, 60 written, 0 rejected" in run(*base, 0.4, "--overwrite").stderr
    assert out.read_bytes() == whole


def test_an_output_may_be_named_by_a_hidden_option(traces_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert run("annotate", traces_file, "--annotator", "rules", "--output-dir", out).exit_code == 0
    assert len(list(read_records(out, "annotated"))) == 60
    assert "--output-dir" not in run("annotate", "--help").output
    assert "Missing argument 'OUT'" in run("annotate", traces_file).stderr


def test_a_second_run_on_the_same_output_is_refused(traces_file: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    arguments = ("compress", traces_file, out, "--ratio", 0.4, "--tokenizer", tokenizer_folder)
    with only_writer(out):
        second = run(*arguments)
    assert (second.exit_code, "out.jsonl: another process is writing it" in second.stderr) == (2, True)
    assert run(*arguments).exit_code == 0, "the lock ends with the run"


def test_a_folder_in_place_of_the_output_is_named_before_any_work(
    traces_file: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    result = run("compress", traces_file, tmp_path, "--ratio", 0.4, "--tokenizer", tokenizer_folder, "--overwrite")
    assert (result.exit_code, f"{tmp_path}: is a folder" in result.stderr) == (2, True)


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_what_another_wrote_is_not_replaced(
    overwrite: list[str], annotated: Path, traces_file: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    arguments = ("--tokenizer", tokenizer_folder, "--ratio", 0.4, *overwrite)
    out, report = tmp_path / "out.jsonl", tmp_path / "reports" / "report.html"
    report.parent.mkdir()
    for path in (out, report):
        path.write_text("precious", "utf-8")
    results = [
        run("compress", traces_file, out, *arguments),
        run("compress", traces_file, annotated, *arguments),
        run("evaluate", traces_file, report.parent, *arguments),
    ]
    complaints = (
        "already there, and not written by cot-compressor compress",
        "written by cot-compressor annotate, not by cot-compressor compress",
        "already there, and not written by cot-compressor evaluate",
    )
    for result, complaint in zip(results, complaints, strict=True):
        assert result.exit_code == 2
        assert complaint in result.stderr
        assert "name another output" in result.stderr
    assert out.read_text("utf-8") == report.read_text("utf-8") == "precious"


def test_the_input_is_not_replaced(traces_file: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    arguments = ("--tokenizer", tokenizer_folder, "--ratio", 0.4)
    assert run("compress", traces_file, out, *arguments).exit_code == 0
    before = out.read_bytes()
    result = run("compress", out, out, *arguments, "--overwrite")
    assert (result.exit_code, f"would replace {out}, which is read" in result.stderr) == (2, True)
    assert out.read_bytes() == before


def test_only_the_tokenizer_decides_whether_an_output_is_finished(
    traces_file: Path, tokenizer_folder: Path, byte_tokenizer, tmp_path: Path
) -> None:
    folder = shutil.copytree(tokenizer_folder, tmp_path / "target")
    arguments = ("compress", traces_file, tmp_path / "out.jsonl", "--ratio", 0.4, "--tokenizer", folder)
    assert run(*arguments).exit_code == 0
    (folder / "note.txt").write_text("a note", "utf-8")
    assert "nothing to do" in run(*arguments).stderr
    byte_tokenizer.save_pretrained(folder)
    assert "made with other settings (tokenizer was " in run(*arguments).stderr


def test_no_row_to_measure_is_said_each_time(tokenizer_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": "a", "question": "Q?", "cot": "27"}\n', "utf-8")
    arguments = ("evaluate", source, tmp_path / "report", "--ratio", 0.2, "--tokenizer", tokenizer_folder)
    first, second = run(*arguments), run(*arguments)
    assert (first.exit_code, second.exit_code) == (2, 2)
    assert "in.jsonl: no row can be measured; use larger ratios" in first.stderr
    assert first.stderr.endswith(second.stderr)


def test_a_file_in_place_of_the_report_is_named(traces_file: Path, tokenizer_folder: Path) -> None:
    result = run("evaluate", traces_file, traces_file, "--ratio", 0.2, "--tokenizer", tokenizer_folder)
    assert (result.exit_code, f"{traces_file}: is a file; name a folder" in result.stderr) == (2, True)


def test_a_number_that_json_cannot_hold_is_named_before_any_work(tokenizer_folder: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    good = '{"id": "g", "question": "Q?", "cot": "Tom gets 5 more."}'
    bad = good.replace('"g"', '"b", "extra": [1e999]')
    source.write_text(f"{good}\n{bad}\n", "utf-8")
    result = run("compress", source, out, "--ratio", 0.5, "--tokenizer", tokenizer_folder)
    assert (result.exit_code, f"{source}:2: extra" in result.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_mistyped_path_is_not_asked_for_on_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    with pytest.raises(DataError, match="scorer models/compresor: no such folder; give `rules`"):
        find_folder("models/compresor")


def test_a_killed_run_goes_on_and_ends_the_same(toy_traces: list[dict], tokenizer_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    rows = [{**row, "id": f"{row['id']}/{turn}"} for turn in range(8) for row in toy_traces]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    options = {"ratios": [0.2, 0.4], "scorer": "rules", "tokenizer": tokenizer_folder}
    compress_file(source, tmp_path / "whole.jsonl", **options)
    killed, partial = tmp_path / "killed.jsonl", tmp_path / ".killed.jsonl.partial" / "rows-0of1.jsonl"
    arguments = ["compress", source, killed, "--ratio", 0.2, "--ratio", 0.4, "--tokenizer", tokenizer_folder]
    process = subprocess.Popen([*PROGRAM, *map(str, arguments)], stderr=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and not (partial.is_file() and partial.stat().st_size > 10_000):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not killed.exists()
    with partial.open("a", encoding="utf-8") as file:
        file.write('{"row": {"incomp')
    done = partial.read_bytes().count(b"\n")
    assert 0 < done < len(rows)
    tally = compress_file(source, killed, **options)
    assert tally is not None
    assert tally.read == tally.written == len(rows)
    assert killed.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not partial.parent.exists()
