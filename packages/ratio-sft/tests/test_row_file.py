import gzip
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratio_sft import MixSettings, build
from ratio_sft._shared.records import read_records
from ratio_sft.data.row_file import RowFile
from ratio_sft.errors import DataError

QUESTION = {"answer": "1"}


@given(
    texts=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=12),
    ending=st.sampled_from(["\n", "\n\n", ""]),
    packed=st.booleans(),
    data=st.data(),
)
def test_rows_by_number_are_the_rows_in_order(tmp_path_factory, texts, ending, packed, data):
    lines = [json.dumps({"id": str(n), "question": text, **QUESTION}) for n, text in enumerate(texts)]
    content = ("\n" + "\n \n".join(lines) + ending).encode()
    path = tmp_path_factory.mktemp("rows") / ("p.jsonl.gz" if packed else "p.jsonl")
    path.write_bytes(gzip.compress(content) if packed else content)
    rows, expected = RowFile(path, "problems"), list(read_records(path, "problems"))
    assert list(rows) == expected
    assert len(rows) == len(texts)
    assert [rows.where(number) for number in range(len(texts))] == [f"{path}:{2 * n + 2}" for n in range(len(texts))]
    for number in data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=6)):
        assert rows[number] == expected[number]


def test_a_bad_row_is_named_before_any_is_read(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"id": "a", "question": "b", "answer": "1"}\n{"id": "c"}\n')
    with pytest.raises(DataError, match=r"p\.jsonl:2: question"):
        RowFile(tmp_path / "p.jsonl", "problems")


def test_memory_of_a_build_does_not_depend_on_how_long_traces_are(tmp_path, trace, write_lines):
    size = 200_000
    padded = ({**trace(number, correct=number % 2 == 0), "cot": size * " "} for number in range(60))
    source = write_lines(tmp_path / "in.jsonl", padded)
    tracemalloc.start()
    build(source, tmp_path / "mix", MixSettings(heldout_share=0.1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60 * size / 2
