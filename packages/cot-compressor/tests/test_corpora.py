"""Corpora of strangers: shards in Parquet and JSON Lines, columns with other names, conversations, and their faults."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from cot_compressor import Layout, compress_file
from cot_compressor._shared.records import read_records, write_records
from cot_compressor._shared.row_layout import layout_of
from cot_compressor._shared.row_source import RowSource
from cot_compressor.cli import cli
from cot_compressor.errors import DataError
from cot_compressor.resumable import Job, Outcome

FOR_TRACES = 'answer=solution,model:="R1",correct:=true,sample:=0'


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def turns(*texts: str) -> list[dict[str, str]]:
    roles = ["user", "assistant"] if len(texts) == 2 else ["system", "user", "assistant"]
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]


def as_corpus(trace: dict[str, Any]) -> dict[str, Any]:
    messages = turns(trace["question"], f"<think>\n{trace['cot']}\n</think>\n\n{trace['response']}")
    return {"messages": messages, "solution": trace["answer"], "source": {"name": "toy", "level": 3}, "score": 0.5}


def save_shards(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir()
    for number in range(3):
        pq.write_table(pa.Table.from_pylist(rows[number::3]), folder / f"part-{number}.parquet", row_group_size=5)
    return folder


@pytest.fixture
def corpus(tmp_path: Path, toy_traces: list[dict[str, Any]]) -> Path:
    return save_shards(tmp_path / "corpus", [as_corpus(trace) for trace in toy_traces])


@pytest.fixture
def options(tokenizer_folder: Path) -> list[object]:
    return ["--ratio", 0.4, "--tokenizer", tokenizer_folder, "--messages", "messages", "--columns", "answer=solution"]


def test_a_folder_of_conversations_is_compressed_as_the_same_traces_in_json_lines(
    corpus: Path, options: list[object], toy_traces: list[dict[str, Any]], tokenizer_folder: Path, tmp_path: Path
) -> None:
    done = run("compress", corpus, tmp_path / "short.parquet", *options)
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (0, "60 read, 60 written, 0 rejected")
    ordered = [
        {**trace, "id": f"part-{part}.parquet:{at + 1}"}
        for part in range(3)
        for at, trace in enumerate(toy_traces[part::3])
    ]
    write_records(tmp_path / "plain.jsonl.gz", ordered)
    compress_file(
        tmp_path / "plain.jsonl.gz",
        tmp_path / "plain.out.jsonl",
        ratios=[0.4],
        scorer="rules",
        tokenizer=tokenizer_folder,
    )
    fields = ["id", "question", "cot", "response", "answer", "compressions"]
    short = list(read_records(tmp_path / "short.parquet", "compress_input"))
    plain = list(read_records(tmp_path / "plain.out.jsonl", "compressed"))
    assert [[row[name] for name in fields] for row in short] == [[row[name] for name in fields] for row in plain]
    assert short[0].keys() == {*fields, "source", "score"}
    types = pq.read_schema(tmp_path / "short.parquet")
    assert str(types.field("source").type) == "struct<name: string, level: int64>"
    assert types.field("compressions").type.value_type.field("tokens").type == pa.int64()
    run("compress", corpus, tmp_path / "short.jsonl.zst", *options)
    assert list(read_records(tmp_path / "short.jsonl.zst", "compress_input")) == short
    settings = json.loads((tmp_path / "short.parquet.manifest.json").read_text("utf-8"))["settings"]
    assert settings["layout"]["columns"] == {"answer": "solution"}
    assert settings["layout"]["thinking_format"]["open"] == "<think>"
    again = run("compress", corpus, tmp_path / "short.parquet", *options)
    assert again.stderr.endswith("already made with these settings; nothing to do\n")
    other = run("compress", corpus, tmp_path / "short.parquet", *options, "--thinking-format", "thought")
    assert (other.exit_code, "layout.thinking_format.open was '<think>', is '<thought>'" in other.stderr) == (2, True)


QUESTION = "What is 12 + 15?"
ANSWER = "<think>Let me see. So 12 + 15 = 27. Check: 12 + 15 = 27, yes.</think>27"


@pytest.mark.parametrize(
    ("messages", "solution", "reason", "detail"),
    [
        (
            [*turns(QUESTION, ANSWER), *turns("Why?", ANSWER)],
            "27",
            "other_turns",
            "turns of user, assistant, user, assistant",
        ),
        (
            [*turns(QUESTION, ANSWER), *turns("Why?", ANSWER)[:1]],
            "27",
            "other_turns",
            "turns of user, assistant, user;",
        ),
        (turns(QUESTION, ANSWER)[:1], "27", "other_turns", "turns of user; expected one of the user and one of"),
        ([], "27", "other_turns", "turns of nobody"),
        (None, "27", "no_conversation", "messages: got null; expected a list of turns"),
        ([{"role": "tool", "content": "x"}], "27", "no_conversation", 'messages.0: role is "tool"'),
        ([{"role": "user", "content": None}], "27", "no_conversation", "messages.0: content is null; expected text"),
        (turns(QUESTION, "27"), "27", "no_thinking", "no thinking between the tags of format 'think'"),
        (turns(QUESTION, "<think>12 + 15"), "27", "open_thinking", "the thinking is never closed"),
        (turns(QUESTION, f"Sure! {ANSWER}"), "27", "text_before_thinking", "begins with 'Sure! <think>"),
        (turns(QUESTION, ANSWER), None, "does_not_fit", "answer: got null"),
        (turns("", ANSWER), "27", "does_not_fit", 'question: got ""'),
    ],
)
def test_a_row_that_does_not_fit_is_rejected_with_its_file_and_row_and_the_others_go_on(
    messages: Any, solution: Any, reason: str, detail: str, tmp_path: Path
) -> None:
    good = {"messages": turns(QUESTION, ANSWER), "solution": "27"}
    folder = tmp_path / "corpus"
    write_records(folder / "a.jsonl", [good, good])
    write_records(folder / "b.jsonl", [good, {"messages": messages, "solution": solution}, good])
    rows = list(RowSource(folder, "traces", layout_of(FOR_TRACES, "messages")).rows())
    assert [isinstance(row, dict) for row in rows] == [True, True, True, False, True]
    assert rows[3].reason == reason
    assert rows[3].detail.startswith(f"{folder}/b.jsonl:2: ")
    assert detail in rows[3].detail


def test_rejected_rows_are_written_as_they_are_in_the_corpus(options: list[object], tmp_path: Path) -> None:
    good = {"messages": turns("Be brief.", QUESTION, ANSWER), "solution": "27", "score": 1.0}
    bad = {**good, "score": float("nan")}
    write_records(tmp_path / "corpus/a.parquet", [good])
    pq.write_table(pa.Table.from_pylist([bad, good]), tmp_path / "corpus/b.parquet")
    done = run("compress", tmp_path / "corpus", tmp_path / "out.jsonl", *options)
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (0, "3 read, 2 written, 1 rejected (does_not_fit 1)")
    (rejected,) = map(json.loads, (tmp_path / "out.rejected.jsonl").read_text("utf-8").splitlines())
    assert rejected.pop("reject_detail").startswith(f"{tmp_path}/corpus/b.parquet:1: score: not a finite number")
    assert rejected == {**bad, "score": "nan", "reject_reason": "does_not_fit"}
    (first, _) = read_records(tmp_path / "out.jsonl", "compress_input")
    assert (first["system"], first["question"]) == ("Be brief.", QUESTION)


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def rewrite(path: Path, **columns: Any) -> None:
    table = pq.read_table(path)
    for name, values in columns.items():
        at = table.column_names.index(name)
        table = (
            table.remove_column(at) if values is None else table.set_column(at, name, pa.array([values] * len(table)))
        )
    pq.write_table(table, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (tear, r"/part-1.parquet: unreadable ("),
        (lambda path: rewrite(path, solution=5), "/part-1.parquet: column 'solution' is int64, and large_string in "),
        (
            lambda path: rewrite(path, solution=None),
            "/part-1.parquet: no column 'solution', but messages, source, score; see",
        ),
        (lambda path: path.write_bytes(b""), "/part-1.parquet: unreadable ("),
    ],
)
def test_a_damaged_or_different_shard_stops_the_command_before_anything_is_written(
    change: Any, message: str, corpus: Path, options: list[object], tmp_path: Path
) -> None:
    change(corpus / "part-1.parquet")
    done = run("compress", corpus, tmp_path / "out.parquet", *options)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {corpus}{message}")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_an_empty_shard_and_two_shards_with_the_same_ids_are_no_fault(options: list[object], tmp_path: Path) -> None:
    rows = [{"id": "same", "messages": turns(QUESTION, ANSWER), "solution": "27"}]
    for name in ("a", "b"):
        write_records(tmp_path / f"corpus/{name}.parquet", rows)
    schema = pq.read_schema(tmp_path / "corpus/a.parquet")
    pq.write_table(schema.empty_table(), tmp_path / "corpus/c.parquet")
    done = run("compress", tmp_path / "corpus", tmp_path / "out.parquet", *options)
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (0, "2 read, 2 written, 0 rejected")
    assert [row["id"] for row in read_records(tmp_path / "out.parquet", "compress_input")] == ["same", "same"]


def test_columns_of_shards_may_have_types_that_fit_together_and_rejected_rows_are_no_shard(tmp_path: Path) -> None:
    row = {"question": "1 + 1?", "cot": "1 + 1 = 2."}
    more = {"a": {"level": 1, "tags": [], "note": None}, "b": {"level": 1.5, "tags": ["x"], "note": {"by": "me"}}}
    for name, fields in more.items():
        write_records(tmp_path / f"corpus/{name}.parquet", [{"id": name, **row, **fields}])
    (tmp_path / "corpus/a.rejected.jsonl").write_text("{}\n")
    source = RowSource(tmp_path / "corpus", "compress_input")
    source.check()
    assert [found["id"] for found in source.rows() if isinstance(found, dict)] == ["a", "b"]
    write_records(tmp_path / "corpus/c.parquet", [{"id": "c", **row, "level": "hard"}])
    with pytest.raises(
        DataError, match=r"c\.parquet: column 'level' is large_string, and double in .*a\.parquet; mend"
    ):
        source.check()


def test_a_corpus_of_which_no_row_fits_stops_the_command(corpus: Path, options: list[object], tmp_path: Path) -> None:
    done = run("compress", corpus, tmp_path / "out.parquet", *options, "--thinking-format", "bracket-think")
    assert done.exit_code == 2
    assert "no row fits, such as " in done.stderr
    assert "no thinking between the tags of format 'bracket-think'; the answer begins with '<think>" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_an_output_in_the_folder_of_its_input_is_refused(corpus: Path, options: list[object]) -> None:
    done = run("compress", corpus, corpus / "out.parquet", *options)
    assert (done.exit_code, "would become a shard of" in done.stderr) == (2, True)
    assert len(list(corpus.iterdir())) == 3


def test_annotate_and_evaluate_read_a_corpus(corpus: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    options = ["--annotator", "rules", "--messages", "messages", "--columns", FOR_TRACES]
    done = run("annotate", corpus, tmp_path / "annotated.parquet", *options)
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (0, "60 read, 60 written, 0 rejected")
    rows = list(read_records(tmp_path / "annotated.parquet", "annotated"))
    assert {(row["model"], row["correct"], row["sample"]) for row in rows} == {("R1", True, 0)}
    done = run(
        "evaluate",
        corpus,
        tmp_path / "report",
        "--ratio",
        0.4,
        "--tokenizer",
        tokenizer_folder,
        "--messages",
        "messages",
    )
    assert done.exit_code == 0, done.stderr
    assert "60 read, 60 measured, 0 rejected" in done.stdout


def test_an_interrupted_run_goes_on_where_rejected_rows_are_among_the_finished_ones(
    corpus: Path, tmp_path: Path
) -> None:
    rewrite(corpus / "part-0.parquet", solution="")
    source = RowSource(corpus, "traces", layout_of(FOR_TRACES, "messages"))
    seen: list[str] = []

    def convert(rows: list[dict[str, Any]]) -> Iterator[Outcome]:
        for row in rows:
            if len(seen) == 13:
                seen.append("stop")
                raise KeyboardInterrupt
            seen.append(row["id"])
            yield row

    job = Job("annotate", source, tmp_path / "out.parquet", {})
    with pytest.raises(KeyboardInterrupt):
        job.run(convert, batch_rows=4)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["corpus"]
    tally = job.run(convert, batch_rows=4)
    assert tally is not None
    assert tally.summary() == "60 read, 40 written, 20 rejected (does_not_fit 20)"
    assert [name for name in seen if name != "stop"] == [
        f"part-{part}.parquet:{row}" for part in (1, 2) for row in range(1, 21)
    ]
    Job("annotate", source, tmp_path / "whole.parquet", {}).run(lambda rows: rows, batch_rows=64)
    assert (tmp_path / "whole.parquet").read_bytes() == (tmp_path / "out.parquet").read_bytes()


@pytest.mark.parametrize("columns", ["question", "question=", "=x", "a=b,a=c", "a=b,,c=d", "sample:=01", "model:=R1"])
def test_columns_that_name_nothing_are_refused(columns: str) -> None:
    with pytest.raises(DataError, match=r"^--columns: "):
        layout_of(columns, None)


def test_separate_thinking_and_the_names_of_other_corpora_are_understood() -> None:
    conversation = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "27", "reasoning_content": " 12 + 15 "}]
    layout = Layout(messages="conversations")
    assert layout.fit({"conversations": conversation}, whole=False) == {
        "question": "q",
        "cot": "12 + 15",
        "response": "27",
    }
    whole = layout.fit({"conversations": conversation}, whole=True)
    assert whole == {"question": "q", "completion": "<think> 12 + 15 </think>27"}


def test_a_column_in_the_place_of_a_field_is_replaced_and_every_other_one_carried() -> None:
    raw = {"question": "short", "problem": "long", "cot": "c", "index": 7}
    fields = Layout(columns={"question": "problem"}, constants={"sample": 0}).fit(raw, whole=False)
    assert fields == {"question": "long", "sample": 0, "cot": "c", "index": 7}
