import gzip
import json
import shutil
from pathlib import Path

import pytest
from transformers import ByT5Tokenizer

from cot_compressor import Compressor, InfeasibleBudget
from cot_compressor._shared.records import read_records
from cot_compressor.errors import DataError
from cot_compressor.evaluation.evaluate import evaluate_file
from cot_compressor.text.render import render


@pytest.fixture(scope="module")
def compressor() -> Compressor:
    return Compressor.from_pretrained("rules")


@pytest.mark.parametrize("cot", ["", " \r\n\t "])
@pytest.mark.parametrize("length", [{"ratio": 0.5}, {"max_tokens": 5}, {"threshold": -99}])
def test_a_blank_text_is_an_error_that_says_so(compressor: Compressor, cot: str, length: dict) -> None:
    with pytest.raises(InfeasibleBudget, match="blank"):
        compressor.compress(cot, **length)


@pytest.mark.parametrize("cot", ["27", "So 27.", "12 + 15 = 27"])
def test_a_text_shorter_than_the_budget_comes_back_whole(compressor: Compressor, cot: str) -> None:
    for length in ({"ratio": 1.0}, {"max_tokens": 100}, {"threshold": -99}):
        result = compressor.compress(cot, **length)
        assert (result.text, result.achieved_ratio) == (cot, 1.0)


@pytest.mark.parametrize("cot", ["$x + y$", "12 + 15 = 27", "\\boxed{27}", "a" * 1000])
def test_one_unit_above_the_budget_names_the_ratio_it_needs(compressor: Compressor, byte_tokenizer, cot: str) -> None:
    with pytest.raises(InfeasibleBudget, match=r"the smallest ratio for it is 1\.0000"):
        compressor.compress(cot, ratio=0.5, tokenizer=byte_tokenizer)


def test_a_megabyte_of_openers_is_a_clear_error(compressor: Compressor) -> None:
    with pytest.raises(InfeasibleBudget, match="no unit fits a budget of 200000 tokens"):
        compressor.compress("\\(" * 500_000, ratio=0.2)


def test_ten_megabytes_of_one_word_are_a_clear_error(compressor: Compressor) -> None:
    with pytest.raises(InfeasibleBudget, match="no unit fits a budget of 0 tokens"):
        compressor.compress("a" * 10_000_000, ratio=0.2)


@pytest.mark.parametrize(
    "cot",
    [
        "pay $5 for $x + 1 and \\( y then $ z = 3",
        "null \x00 in the \x00 middle",
        "lone \ud800 halves \udfff here",
        "שלום עולם 12 + 15 = 27 טוב מאוד",
        "first line\r\nsecond line\r\n\r\nthird line",
        "👍🏽 family 👩\u200d👩\u200d👧 flag 🇫🇷 end",
    ],
)
@pytest.mark.parametrize("counting", ["pieces", "byte_tokenizer", "word_tokenizer"])
def test_odd_text_gives_whole_pieces_of_itself(compressor: Compressor, request, cot: str, counting: str) -> None:
    tokenizer = None if counting == "pieces" else request.getfixturevalue(counting)
    results = compressor.compress(cot, ratios=[0.5, 0.8, 1.0], tokenizer=tokenizer)
    assert results[-1].text == cot
    for result in results:
        assert result.text == render(cot, result.spans) != ""
        assert result.tokens <= result.ratio * result.original_tokens


def test_half_a_character_does_not_break_the_report(tokenizer_folder: Path, tmp_path: Path) -> None:
    row = {"id": "\ud800", "question": "What \ud800 is it?", "cot": "lone \ud800 halves, so 12 + 15 = 27 it is."}
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps(row) + "\n", "utf-8")
    evaluate_file(source, tmp_path / "report", ratios=[0.6], scorer="rules", tokenizer=tokenizer_folder)
    assert "\ufffd" in (tmp_path / "report" / "report.html").read_text("utf-8")


def test_a_tokenizer_without_a_fast_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no fast version"):
        Compressor.from_pretrained("rules", tokenizer=ByT5Tokenizer())
    ByT5Tokenizer().save_pretrained(tmp_path)
    with pytest.raises(DataError, match=r"no tokenizer in it|no fast version"):
        Compressor.from_pretrained("rules", tokenizer=tmp_path)


def test_a_model_folder_without_tokenizer_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}), "utf-8")
    with pytest.raises(DataError, match="no tokenizer in it"):
        Compressor.from_pretrained("rules", tokenizer=tmp_path)


@pytest.mark.parametrize("content", ["", "{", '{"x": 1}'])
def test_a_broken_tokenizer_file_is_refused(tokenizer_folder: Path, tmp_path: Path, content: str) -> None:
    folder = shutil.copytree(tokenizer_folder, tmp_path / "broken")
    (folder / "tokenizer.json").write_text(content, "utf-8")
    with pytest.raises(DataError, match="tokenizer"):
        Compressor.from_pretrained("rules", tokenizer=folder)


def test_a_renamed_tokenizer_folder_counts_the_same(tokenizer_folder: Path, tmp_path: Path) -> None:
    cot = "Tom gets 12 + 15 = 27 pens. So the answer is 27."
    renamed = shutil.copytree(tokenizer_folder, tmp_path / "any name")
    first, second = (
        Compressor.from_pretrained("rules", tokenizer=folder).compress(cot, ratio=0.5)
        for folder in (tokenizer_folder, renamed)
    )
    assert (first.text, first.tokens) == (second.text, second.tokens)


def test_a_damaged_gzip_is_named_with_its_line(tmp_path: Path, toy_traces: list[dict]) -> None:
    packed = bytearray(gzip.compress("".join(json.dumps(row) + "\n" for row in toy_traces).encode()))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = bytes(64)
    (tmp_path / "in.jsonl.gz").write_bytes(packed)
    with pytest.raises(DataError, match=r"in\.jsonl\.gz:\d+: "):
        list(read_records(tmp_path / "in.jsonl.gz", "traces"))


def test_a_link_whose_target_never_ends_is_refused_before_it_is_read(tmp_path: Path, monkeypatch) -> None:
    from cot_compressor._shared import runs
    from cot_compressor.scorers.load import scorer_fingerprint
    from cot_compressor.training.settings import TrainSettings
    from cot_compressor.training.train import train_file

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "compressor.json").write_text("{}")
    (tmp_path / "endless").write_text("a pipe of the system, which looks like a file")
    (folder / "x.txt").symlink_to(tmp_path / "endless")
    digest = runs.digest
    monkeypatch.setattr(runs, "digest", lambda path: pytest.fail("read") if Path(path) == folder else digest(path))
    with pytest.raises(DataError, match=r"x\.txt: is a symbolic link to outside the folder"):
        scorer_fingerprint(folder)
    with pytest.raises(DataError, match=r"x\.txt: is a symbolic link to outside the folder"):
        train_file(tmp_path / "annotated.jsonl", tmp_path / "out", TrainSettings(encoder=folder))
