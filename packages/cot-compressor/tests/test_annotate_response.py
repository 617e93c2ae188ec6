import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cot_compressor._shared.records import read_records
from cot_compressor.budget.counting import count_words
from cot_compressor.cli import cli
from cot_compressor.errors import DataError, RejectedRow
from cot_compressor.text.segment import segment
from cot_compressor.training.annotate import annotate_file
from cot_compressor.training.annotate_response import ResponseAnnotator

COT = (
    "Okay, let me think about the doors. The red door leads to the cellar. I like doors in general. "
    "The blue door is locked since March, and the key is lost. Hmm, what else? The green door leads to the garden. "
    "A bird sings outside. So the way to the garden is the green door. That should be fine."
)
RESPONSE = (
    "The blue door cannot be used, because it has been locked since March and its key is lost. The red door only leads "
    "down to the cellar. The green door therefore is the way to the garden."
)


def kept(cot: str, answer: str, response: str, share: float = 0.6) -> list[str]:
    spans = ResponseAnnotator(share).keep("Which door?", cot, answer, response)
    return [cot[start:end] for start, end in spans]


def test_whole_sentences_that_carry_the_response_are_kept() -> None:
    text = " ".join(kept(COT, "green", RESPONSE))
    assert "The blue door is locked since March, and the key is lost." in text
    assert "The red door leads to the cellar." in text
    assert "bird" not in text
    assert "Okay" not in text


def test_the_last_sentence_that_states_the_answer_comes_first() -> None:
    assert kept(COT, "the green door", RESPONSE, 0.2) == ["So the way to the garden is the green door."]


@given(share=st.floats(0.05, 0.95), answer=st.sampled_from(["", "green", "42"]))
def test_what_is_kept_stays_within_the_share_and_consists_of_sentences(share: float, answer: str) -> None:
    if share * count_words(COT) < min(map(count_words, COT.split(". "))):
        with pytest.raises(RejectedRow, match="no sentence fits"):
            kept(COT, answer, RESPONSE, share)
        return
    try:
        pieces = kept(COT, answer, RESPONSE, share)
    except RejectedRow:
        return  # only sentences without anything of the response fit
    assert sum(map(count_words, pieces)) <= share * count_words(COT)
    steps = {unit.start: unit.step for unit in segment(COT)}
    for piece in pieces:
        start = COT.index(piece)
        assert start == 0 or steps[start] != steps[max(at for at in steps if at < start)]
        assert piece[-1] in ".?"


def test_a_response_that_says_too_little_is_a_counted_reject(tmp_path: Path, toy_traces: list[dict]) -> None:
    row = {**toy_traces[0], "cot": COT, "answer": "green"}
    rows = [
        {**row, "response": RESPONSE},
        {**row, "id": "short", "response": "The answer is green."},
        {**row, "id": "other", "response": "Seven swans swim slowly south, singing several sorrowful songs; " * 3},
        {**row, "id": "blank", "cot": " ", "response": RESPONSE},
    ]
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    tally = annotate_file(source, out)
    assert tally is not None
    assert tally.summary() == "4 read, 1 written, 3 rejected (empty_cot 1, short_response 1, unrelated_response 1)"
    (written,) = read_records(out, "annotated")
    assert written["annotator"]["name"] == "response"
    first = out.read_bytes()
    command = ["annotate", str(source), str(tmp_path / "again.jsonl"), "--keep-share", "0.3"]
    assert CliRunner().invoke(cli, command).exit_code == 0
    assert (tmp_path / "again.jsonl").read_bytes() == first


@pytest.mark.parametrize("share", [0, 1, 30, float("nan")])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(DataError, match="keep share must be in"):
        ResponseAnnotator(share)
