"""Outputs, finished or not, whose files somebody damaged: named with the remedy, never used or replaced in silence."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cot_compressor._shared.output_file import OutputFile
from cot_compressor._shared.records import Row
from cot_compressor._shared.row_source import RowSource
from cot_compressor.cli import cli
from cot_compressor.errors import DataError
from cot_compressor.resumable import Job


def run(*arguments: object):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def evaluate(traces_file: Path, tokenizer_folder: Path, tmp_path: Path):
    out = tmp_path / "report"
    return lambda *more: run("evaluate", traces_file, out, "--ratio", 0.4, "--tokenizer", tokenizer_folder, *more)


@pytest.mark.parametrize("name", ["report.json", "report.html"])
def test_a_report_that_was_changed_is_noticed_and_one_that_is_gone_is_made_again(
    evaluate, tmp_path: Path, name: str
) -> None:
    assert evaluate().exit_code == 0
    path = tmp_path / "report" / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    for more in ([], ["--overwrite"]):
        done = evaluate(*more)
        assert done.exit_code == 2
        assert f"{path}: changed since cot-compressor evaluate wrote it; name another output, or move" in done.stderr
    assert path.read_bytes() == whole[: len(whole) // 2]
    path.unlink()
    assert evaluate().exit_code == 0
    assert path.read_bytes() == whole
    assert "nothing to do" in evaluate().stderr


def test_reports_of_other_settings_are_replaced_with_overwrite_only(evaluate, tmp_path: Path) -> None:
    assert evaluate().exit_code == 0
    before = (tmp_path / "report/report.json").read_bytes()
    done = evaluate("--seed", 1)
    assert (done.exit_code, "made with other settings (seed was 0, is 1)" in done.stderr) == (2, True)
    assert (tmp_path / "report/report.json").read_bytes() == before
    assert evaluate("--seed", 1, "--overwrite").exit_code == 0
    assert (tmp_path / "report/report.json").read_bytes() != before


def test_reports_of_a_run_that_was_stopped_before_they_appeared_are_made(
    evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = OutputFile.publish

    def stop(output: OutputFile, *packages: object, **more: object) -> None:
        if output.out.name == "report.json":
            raise KeyboardInterrupt
        whole(output, *packages, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(OutputFile, "publish", stop)
        assert "interrupted" in evaluate().stderr
    assert not (tmp_path / "report/report.json").exists()
    assert evaluate().exit_code == 0
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [
        *("metrics.jsonl", "metrics.jsonl.manifest.json", "report.html", "report.json", "report.json.manifest.json")
    ]


@pytest.mark.parametrize(
    "line",
    ["text", "5", "[]", "{}", '{"row": 5}', '{"reject": 1}', '{"reject": "a", "detail": 1}', "\x80", "[" * 200_000],
)
def test_a_damaged_row_of_an_unfinished_output_is_named(
    line: str, traces_file: Path, tokenizer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    arguments = ("compress", traces_file, tmp_path / "out.jsonl", "--ratio", 0.4, "--tokenizer", tokenizer_folder)
    with monkeypatch.context() as patch:
        patch.setattr(OutputFile, "publish", stop)
        assert "interrupted" in run(*arguments).stderr
    [path] = (tmp_path / ".out.jsonl.partial").glob("rows-*")
    rows = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join([rows[0], f"{line}\n", *rows[2:]]), "latin-1")
    done = run(*arguments)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
    assert f"{path}:2: not a finished row; remove {path.parent}, and all are made again" in done.stderr
    path.write_text("".join([rows[1], rows[0], *rows[2:]]), "utf-8")
    done = run(*arguments)
    assert (done.exit_code, "remove this folder, and all are made again" in done.stderr) == (2, True)


def test_a_folder_that_was_exchanged_for_a_link_while_a_command_runs_is_never_written_to(
    traces_file: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "out.jsonl").write_text("mine")

    def exchange(batch: list[Row]) -> list[Row]:
        final = tmp_path / ".out.jsonl.partial/final"
        if not final.is_symlink():
            final.symlink_to(elsewhere)
        return batch

    with pytest.raises(DataError, match="final: is a symbolic link"):
        Job("annotate", RowSource(traces_file, "traces"), tmp_path / "out.jsonl", {}).run(exchange, batch_rows=1)
    assert [(path.name, path.read_text()) for path in elsewhere.iterdir()] == [("out.jsonl", "mine")]


def test_rows_that_were_exchanged_for_a_link_while_a_command_runs_are_never_written_to(
    traces_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("mine")

    def exchange(batch: list[Row]) -> list[Row]:
        [path] = (tmp_path / ".out.jsonl.partial").glob("rows-*")
        path.unlink(missing_ok=True)
        path.symlink_to(tmp_path / "mine")
        return batch

    with pytest.raises(OSError, match=r"rows-0of1\.jsonl"):
        Job("annotate", RowSource(traces_file, "traces"), tmp_path / "out.jsonl", {}).run(exchange, batch_rows=1)
    assert (tmp_path / "mine").read_text() == "mine"
