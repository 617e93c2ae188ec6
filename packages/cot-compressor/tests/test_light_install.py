"""What works with the core dependencies alone, and what names the extra that it needs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from cot_compressor import Compressor
from cot_compressor.budget.counting import TokenCounter

PROGRAM = """
import sys

class Absent:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in {
            "accelerate", "onnxruntime", "openai", "pyarrow", "safetensors", "torch", "transformers"
        }:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
from cot_compressor.cli import cli
cli()
"""
TEXT = "Let me see. Tom gets 15 more, so 12 + 15 = 27, yes."


def run(*arguments: object) -> subprocess.CompletedProcess:
    """A command in a process that finds none of the optional packages."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.run(command, input=TEXT, capture_output=True, text=True)


def test_rules_shorten_a_text_without_torch_and_transformers(tokenizer_folder: Path) -> None:
    for options in ([], ["--tokenizer", tokenizer_folder]):
        done = run("compress", "-", "--ratio", 0.5, *options)
        compressor = Compressor.from_pretrained("rules", tokenizer=options[1] if options else None)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == compressor.compress(TEXT, ratio=0.5).text + "\n"


@pytest.mark.parametrize(("ending", "what"), [("parquet", "Parquet"), ("jsonl.zst", "zstd")])
def test_an_output_that_needs_pyarrow_is_refused_before_the_work(
    traces_file: Path, tokenizer_folder: Path, tmp_path: Path, ending: str, what: str
) -> None:
    out = tmp_path / f"out.{ending}"
    done = run("compress", traces_file, out, "--ratio", 0.5, "--tokenizer", tokenizer_folder)
    wanted = f"error: {out}: {what} needs pyarrow: pip install 'cot-compressor[parquet]'\n"
    assert (done.returncode, done.stderr, [*tmp_path.glob(".*.partial")]) == (2, wanted, [])


def test_files_are_annotated_compressed_and_evaluated_without_torch_and_transformers(
    traces_file: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    options = ["--ratio", 0.4, "--tokenizer", tokenizer_folder]
    for command in (
        ["annotate", traces_file, tmp_path / "annotated.jsonl"],
        ["compress", traces_file, tmp_path / "compressed.jsonl", *options],
        ["evaluate", traces_file, tmp_path / "report", *options],
    ):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "compressed.jsonl.manifest.json").read_text("utf-8"))
    assert manifest["rows"] == {"read": 60, "written": 60, "rejected": {}}


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("compress - --ratio 0.5 --scorer {trained}", "scorer"),
        ("compress - --ratio 0.5 --tokenizer {empty}", "scorer"),
        ("annotate {annotated} {out} --annotator reader --model {encoder}", "scorer"),
        ("evaluate {annotated} {out} --ratio 0.5 --tokenizer {encoder} --reader {encoder}", "scorer"),
        ("train {annotated} {out} --encoder {encoder}", "train"),
        ("export {trained} {out}", "onnx"),
        ("annotate {annotated} {out} --annotator openai --model m --base-url http://127.0.0.1:9", "llm"),
        ("annotate {parquet} {out}", "parquet"),
        ("annotate {annotated} {out}.parquet", "parquet"),
        ("annotate {annotated} {out}.jsonl.zst", "parquet"),
        ("annotate s3://bucket/corpus {out}", "parquet"),
    ],
)
def test_what_needs_an_extra_names_it(
    command: str, extra: str, trained: Path, annotated: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    places = {
        "parquet": tmp_path / "rows.parquet",
        "trained": trained,
        "annotated": annotated,
        "encoder": encoder_folder,
        "empty": tmp_path / "empty",
    }
    done = run(*command.format(**places, out=tmp_path / "out").split())
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith(f": pip install 'cot-compressor[{extra}]'\n")
    assert not list(tmp_path.glob("out*"))


def test_special_tokens_that_only_the_config_names_count_as_in_transformers(byte_tokenizer, tmp_path: Path) -> None:
    byte_tokenizer.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    config = json.loads(file.read_text("utf-8"))
    config |= {"eos_token": "<|end|>", "extra_special_tokens": ["<|im_start|>"]}
    config["added_tokens_decoder"] = {"900": {"content": "<think>", "special": False, "normalized": False}}
    file.write_text(json.dumps(config), "utf-8")
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    counter = TokenCounter.from_folder(tmp_path)
    for text in ("Tom <|end|> <|im_start|>gets <think> 5", "Tom[SEP] gets 5 <|end", "<think>\n12 + 15</think>"):
        assert counter.count(text) == len(loaded.encode(text, add_special_tokens=False))


def test_a_tokenizer_of_the_tokenizers_library_counts(byte_tokenizer) -> None:
    compressor = Compressor.from_pretrained("rules", tokenizer=byte_tokenizer.backend_tokenizer)
    expected = Compressor.from_pretrained("rules", tokenizer=byte_tokenizer)
    assert compressor.compress(TEXT, ratio=0.5).text == expected.compress(TEXT, ratio=0.5).text


def test_a_folder_without_tokenizer_json_is_read_by_transformers(
    encoder_folder: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(encoder_folder, tmp_path / "vocabulary")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', "utf-8")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "tom", "gets"]), "utf-8")
    assert TokenCounter.from_folder(folder).count("Tom gets Tom") == 3
