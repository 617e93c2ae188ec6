"""Files of rows in every format, and what is wrong with them: one line that names the file, the row and the fault."""

import datetime
import json
import os
import random
import re
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from math_eval._shared import parquet_rows
from math_eval._shared.records import open_atomic, read_placed, read_records, write_records
from math_eval._shared.row_files import content_digest, shards
from math_eval._shared.runs import check_apart, digest
from math_eval.errors import DataError

ROWS = [
    {
        "id": f"p{number}",
        "question": f"ü {number}?",
        "answer": str(number),
        "nested": {"tags": ["a"], "share": number / 2},
    }
    for number in range(7)
]
NAMES = ["rows.jsonl", "rows.jsonl.gz", "rows.jsonl.zst", "rows.parquet"]


def write_table(path, rows, schema=None):
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_rows_come_back_from_every_format_as_they_were_written(tmp_path, name):
    assert write_records(tmp_path / name, ROWS) == 7
    places, rows = zip(*read_placed(tmp_path / name, "problems"), strict=True)
    assert list(rows) == ROWS
    assert places[6] == f"{tmp_path / name}:7"
    again = tmp_path / "again" / name
    write_records(again, ROWS)
    assert again.read_bytes() == (tmp_path / name).read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]


def test_a_folder_is_read_in_the_order_of_its_names_without_hidden_files_and_others(tmp_path):
    write_records(tmp_path / "b.parquet", ROWS[3:5])
    write_records(tmp_path / "a.jsonl.zst", ROWS[:3])
    write_records(tmp_path / "c.parquet", ROWS[5:])
    for name in ("_rejected.jsonl", ".hidden.jsonl", "README.md", "manifest.json"):
        (tmp_path / name).write_text("no row")
    assert list(read_records(tmp_path, "problems")) == ROWS
    assert [row["id"] for row in read_records(tmp_path / "*.parquet", "problems")] == ["p3", "p4", "p5", "p6"]
    before = content_digest(tmp_path)
    (tmp_path / "c.parquet").rename(tmp_path / "0.parquet")
    assert content_digest(tmp_path) != before
    assert content_digest(tmp_path / "b.parquet") == digest(tmp_path / "b.parquet")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=50, deadline=None)
@given(value=values, share=st.floats(allow_nan=False, allow_infinity=False))
def test_any_value_comes_back_from_parquet_or_is_refused_by_its_field(value, share, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "rows.parquet"
    rows = [{"id": "a", "question": "q", "answer": "1", "more": value, "share": share}]
    fault = ""
    try:
        write_records(path, rows)
    except DataError as error:
        fault = str(error)
    if fault:
        assert fault.startswith(f"{path}: more: ")
        assert not path.exists()
    else:
        assert list(read_records(path, "problems")) == rows


def test_a_field_that_only_some_rows_have_is_absent_in_the_others_and_a_null_of_another_field_stays(tmp_path):
    rows = [{"id": "a", "completion": "x", "gold": "1", "extracted": None, "verdict": "no_answer", "grade_ms": 0.0}]
    rows.append({**rows[0], "id": "b", "extracted": "1", "note": None})
    write_records(tmp_path / "graded.parquet", rows)
    assert list(read_records(tmp_path / "graded.parquet", "graded")) == [{**rows[0], "note": None}, rows[1]]
    traces = [
        {**ROWS[0], "cot": "c", "response": "r", "model": "m", "correct": True, "sample": 0},
        {**ROWS[1], "cot": "c", "response": "r", "model": "m", "correct": True, "sample": 0, "answer": "2"},
    ]
    write_records(tmp_path / "traces.parquet", traces)
    assert list(read_records(tmp_path / "traces.parquet", "traces")) == traces


def test_types_that_json_has_not_become_text_or_are_left_out_and_listed(tmp_path):
    when = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    row = {
        "id": "a",
        "question": "q",
        "answer": "1",
        "when": when,
        "price": Decimal("1.20"),
        "image": b"\x00",
        "m": {"k": 1},
    }
    kinds = {"when": pa.timestamp("s", "UTC"), "price": pa.decimal128(9, 2), "image": pa.binary()}
    texts = {name: pa.string() for name in ("id", "question", "answer")}
    schema = pa.schema([*texts.items(), *kinds.items(), ("m", pa.map_(pa.string(), pa.int8()))])
    path = write_table(tmp_path / "rows.parquet", [{**row, "m": [("k", 1)]}], schema)
    (read,) = read_records(path, "problems")
    del row["image"]
    assert read == {**row, "when": "2026-01-02 03:04:05.000Z", "price": "1.20"}
    with path.open("rb") as file:
        assert parquet_rows.left_out(file, str(path)) == ["image"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"x": 1}, {"x": "a"}],
            r"x: .* in rows 1 to 2; Parquet has one type for each field: name an output that ends in",
        ),
        ([{"x": {"y": 1}}, {"x": [1]}], r"x: cannot mix list and non-list"),
        ([{"x": 2**70}], r"x: .*too large"),
        ([{"x": "\ud800"}], r"x: .*surrogates not allowed"),
        ([{"x": {}}], r".*, which Parquet cannot hold; name an output that ends in \.jsonl"),
    ],
)
def test_rows_that_fit_no_type_are_refused_and_nothing_is_left(tmp_path, rows, message):
    path = tmp_path / "rows.parquet"
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: {message}"):
        write_records(path, rows)
    assert not list(tmp_path.iterdir())


def test_types_widen_over_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_rows, "_GROUP_ROWS", 2)
    rows = [
        {"id": str(number), "question": "q", "answer": "1", "x": [None, [], [1], [0.5]][number]} for number in range(4)
    ]
    write_records(tmp_path / "rows.parquet", rows)
    assert pq.ParquetFile(tmp_path / "rows.parquet").num_row_groups == 2
    assert [row["x"] for row in read_records(tmp_path / "rows.parquet", "problems")] == [None, [], [1.0], [0.5]]


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("rows.parquet", cut, r": unreadable \(.*\); is it incomplete, or not Parquet\?"),
        (
            "rows.parquet",
            lambda path: path.write_bytes(b""),
            r": unreadable \(.*\); is it incomplete, or not Parquet\?",
        ),
        ("rows.jsonl.gz", cut, r":\d+: unreadable \(.*\); is it incomplete, or not UTF-8 text\?"),
        ("rows.jsonl.zst", cut, r":\d+: unreadable \(Truncated.*\); is it incomplete, or not UTF-8 text\?"),
        ("rows.jsonl.zst", lambda path: path.write_text('{"id": 1}'), r":1: unreadable \(ZSTD.*\); is it incomplete"),
        (
            "rows.parquet",
            lambda path: write_table(path, [{"id": "a", "question": "q"}]),
            r":1: answer: field .* is missing",
        ),
        ("rows.parquet", lambda path: write_table(path, [{**ROWS[0], "answer": 5}]), r":1: answer: got 5; expected"),
        (
            "rows.parquet",
            lambda path: write_table(path, [{**ROWS[0], "answer": None}]),
            r":1: answer: got null; expected",
        ),
        (
            "rows.parquet",
            lambda path: write_table(path, [{**ROWS[0], "x": float("nan")}]),
            r":1: x: not a finite number",
        ),
        ("rows.parquet", lambda path: write_table(path, [], pa.schema([("id", pa.string())])), r": no rows"),
    ],
)
def test_a_file_that_is_damaged_or_breaks_the_contract_is_refused_by_its_place(tmp_path, name, change, message):
    path = tmp_path / name
    write_records(path, ROWS)
    change(path)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}{message}"):
        list(read_records(path, "problems"))


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    table = pa.table([["a"], ["b"]], names=["id", "id"])
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"column 'id' is there twice; rename one"):
        list(read_records(tmp_path / "rows.parquet", "problems"))


def test_a_row_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_rows, "MAX_ROW_BYTES", 1000)
    rows = [*ROWS, {**ROWS[0], "more": "x" * 1000}]
    write_records(tmp_path / "rows.parquet", rows)
    with pytest.raises(DataError, match=r"rows\.parquet:8: more than 1000 bytes; split the record"):
        list(read_records(tmp_path / "rows.parquet", "problems"))
    monkeypatch.undo()
    assert list(read_records(tmp_path / "rows.parquet", "problems"))[-1]["more"] == "x" * 1000


def test_memory_of_reading_does_not_grow_with_the_number_of_rows(tmp_path):
    path = tmp_path / "rows.parquet"
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())])) as writer:
        for seed in range(60):
            texts = [random.Random(f"{seed}:{row}").randbytes(2**12).hex() for row in range(64)]
            writer.write_table(pa.table({"text": texts}))
    before, peak = pa.total_allocated_bytes(), 0
    with path.open("rb") as file:
        for _ in parquet_rows.read_parquet(file, str(path)):
            peak = max(peak, pa.total_allocated_bytes() - before)
    assert 0 < peak < 6 * 2**20 < path.stat().st_size / 2


def test_an_empty_shard_is_no_fault_and_a_folder_without_shards_is(tmp_path):
    (tmp_path / "notes.txt").write_text("{}")
    with pytest.raises(DataError, match=r"no shards; expected files that end in \.parquet"):
        shards(tmp_path)
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(DataError, match="no rows"):
        list(read_records(tmp_path, "problems"))
    write_records(tmp_path / "b.jsonl", ROWS)
    assert list(read_records(tmp_path, "problems")) == ROWS


@pytest.mark.parametrize(
    "address",
    [
        "s3://key:secret@bucket/x.parquet",
        "s3:///key:secret@bucket/x.parquet",
        "fsspec+s3://key:secret@bucket/x.jsonl",
        "s3+x://key:secret@bucket/x",
        "key:secret@s3://bucket/x",
        "s3://bucket/x?secret_key=secret",
        "abfs://container/x?client_secret=secret",
        "hf://datasets/owner/name/x#secret",
    ],
)
def test_an_address_that_may_contain_a_key_is_refused_and_not_shown(address):
    with pytest.raises(DataError, match="may contain a key; give it without, and set the store's own var") as refused:
        list(read_records(address, "problems"))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "store",
    [
        *("zz", "file", "hdfs", "mock", "fsspec+http", "fsspec+file"),
        *("fsspec+simplecache::file", "S3", "", "s3\n"),
    ],
)
def test_only_stores_that_are_documented_are_reached(store):
    with pytest.raises(DataError, match=r"no known object store is named .*; give a path, or .* s3://, gs:// or hf://"):
        list(read_records(f"{store}://bucket/x.jsonl", "problems"))


def test_a_file_with_more_values_than_its_size_explains_is_refused_before_they_are_read(tmp_path):
    same = pa.DictionaryArray.from_arrays(pa.nulls(9_000_000, pa.int8()).fill_null(0), ["a"])
    pq.write_table(pa.table({"id": same, "question": same}), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"18000000 values, more than .*; it contains more than 100 times its size"):
        list(read_records(tmp_path / "rows.parquet", "problems"))


def test_text_that_a_dictionary_repeats_is_refused_once_it_is_much_more_than_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_rows, "MAX_UNPACKED", 100_000)
    same = pa.DictionaryArray.from_arrays(pa.nulls(20_000, pa.int8()).fill_null(0), ["a" * 1000])
    pq.write_table(pa.table({"text": same}), tmp_path / "rows.parquet")
    with (tmp_path / "rows.parquet").open("rb") as file:
        rows = parquet_rows.read_parquet(file, "rows.parquet")
        with pytest.raises(DataError, match=r"rows\.parquet:\d+: it contains more than 100 times its size"):
            list(rows)


@pytest.mark.parametrize("inner", [pa.null(), pa.struct([("deep", pa.list_(pa.null()))])])
def test_a_list_of_nulls_counts_as_large(tmp_path, monkeypatch, inner):
    monkeypatch.setattr(parquet_rows, "MAX_ROW_BYTES", 1000)
    schema = pa.schema([("id", pa.string()), ("z", pa.list_(inner))])
    write_table(tmp_path / "rows.parquet", [{"id": "a", "z": [None] * 10}, {"id": "b", "z": [None] * 1000}], schema)
    with (tmp_path / "rows.parquet").open("rb") as file, pytest.raises(DataError, match=r"r:2: more than 1000 bytes"):
        list(parquet_rows.read_parquet(file, "r"))


def test_a_file_of_too_many_columns_is_refused(tmp_path):
    write_table(tmp_path / "rows.parquet", [{"s": {f"k{number}": 1 for number in range(1001)}}])
    with pytest.raises(DataError, match="1001 columns, those inside structures too, more than 1000; leave out"):
        list(read_records(tmp_path / "rows.parquet", "problems"))


@pytest.mark.parametrize("kind", ["broken link", "folder", "pipe", "c.jsonl.xz", "c.JSONL", "c.parquet.part"])
def test_a_name_that_looks_like_rows_and_cannot_be_read_is_named(tmp_path, kind):
    write_records(tmp_path / "a.jsonl", ROWS)
    (tmp_path / "a.jsonl.manifest.json").write_text("{}")
    path = tmp_path / (kind if "." in kind else "c.jsonl")
    if kind == "broken link":
        path.symlink_to(tmp_path / "nowhere.jsonl")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("")
    with pytest.raises(DataError, match=rf"cannot read {re.escape(path.name)}: no file, or none that ends in .*; move"):
        shards(tmp_path)
    assert [shard.file.name for shard in shards(tmp_path / "a*.jsonl")] == ["a.jsonl"]


def test_the_samples_of_an_unfinished_run_are_no_shard(tmp_path):
    for name in ("samples_a.jsonl", "samples_b.partial.jsonl"):
        write_records(tmp_path / name, ROWS)
    for source in (tmp_path, tmp_path / "samples_*"):
        with pytest.raises(DataError, match=r"samples_b\.partial\.jsonl is unfinished; repeat the command"):
            shards(source)
    assert [shard.file.name for shard in shards(tmp_path / "samples_a*")] == ["samples_a.jsonl"]


@pytest.mark.parametrize(
    ("out", "given", "refused"),
    [
        ("corp/z.jsonl", "corp", True),
        ("corp/z.JSONL", "link", True),
        ("link/z.jsonl", "corp/*.jsonl", True),
        ("corp/a.jsonl", "corp/a.jsonl", True),
        ("corp", "corp/a.jsonl", True),
        ("corp/z.parquet", "corp/*.jsonl", False),
        ("corp/z.jsonl", "corp/a.jsonl", False),
        ("corp/more/z.jsonl", "corp", False),
        ("z.jsonl", "corp", False),
    ],
)
def test_an_output_that_would_be_read_as_input_is_refused(tmp_path, monkeypatch, out, given, refused):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corp").mkdir()
    (tmp_path / "link").symlink_to("corp")
    (tmp_path / "corp/a.jsonl").write_text("")
    if refused:
        with pytest.raises(DataError, match=r"would (replace|become a shard of) (corp|link)"):
            check_apart([out], [given])
    else:
        check_apart([out], [given])


def test_a_parquet_file_is_written_with_the_same_types_for_json_lines_and_rows(tmp_path):
    with open_atomic(tmp_path / "rows.jsonl.zst") as out:
        out.writelines(json.dumps(row) + "\n" for row in ROWS)
    write_records(tmp_path / "rows.parquet", read_records(tmp_path / "rows.jsonl.zst", "problems"))
    assert (
        str(pq.read_schema(tmp_path / "rows.parquet").field("nested").type)
        == "struct<tags: list<element: string>, share: double>"
    )
