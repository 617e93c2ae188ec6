import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from cot_compressor import Compressor
from cot_compressor.errors import DataError
from cot_compressor.scorers.base import ScoringInput
from cot_compressor.scorers.classifier import TokenClassifier
from cot_compressor.scorers.export import export_folder
from cot_compressor.text.segment import segment


@pytest.fixture(scope="module")
def rounded(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_folder(trained, tmp_path_factory.mktemp("onnx") / "int8")


def test_an_export_is_a_smaller_model_folder_that_scores_alike(
    trained: Path, rounded: Path, toy_traces: list[dict]
) -> None:
    assert {path.name for path in rounded.iterdir()} >= {"model.onnx", "compressor.json", "README.md", "manifest.json"}
    assert not list(rounded.glob("*.safetensors"))
    # Guards against rows of padding, which no window has, took a third of the time.
    assert "IsNaN" not in {node.op_type for node in onnx.load(rounded / "model.onnx").graph.node}
    items = [ScoringInput(row["question"], row["cot"], segment(row["cot"])) for row in toy_traces[:9]]
    whole, scorer = TokenClassifier.from_folder(trained).score(items), TokenClassifier.from_folder(rounded)
    together = scorer.score(items)
    for item, exact, close in zip(items, whole, together, strict=True):
        assert close == pytest.approx(exact, abs=0.3)
        assert scorer.score([item]) == [close]


def test_an_export_goes_wherever_a_scorer_goes(rounded: Path, tokenizer_folder: Path, toy_traces: list[dict]) -> None:
    compressor = Compressor.from_pretrained(rounded, tokenizer=tokenizer_folder)
    row = toy_traces[3]
    assert " = " in compressor.compress(row["cot"], question=row["question"], ratio=0.3).text


def test_what_cannot_be_exported_or_read_is_one_clear_line(
    trained: Path, rounded: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"has no compressor\.json"):
        export_folder(encoder_folder, tmp_path / "out")
    with pytest.raises(DataError, match="exists already"):
        export_folder(trained, rounded)
    with pytest.raises(DataError, match="is an ONNX model already"):
        export_folder(rounded, tmp_path / "again")
    with pytest.raises(DataError, match="is int8; leave out dtype bfloat16"):
        TokenClassifier.from_folder(rounded, dtype="bfloat16")
    broken = shutil.copytree(rounded, tmp_path / "broken")
    (broken / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(DataError, match=r"model\.onnx: ONNX Runtime cannot read it"):
        TokenClassifier.from_folder(broken)
    assert json.loads((rounded / "manifest.json").read_text("utf-8"))["settings"].keys() == {"scorer"}


def test_the_runtime_writes_nothing_to_the_home_folder(tmp_path: Path) -> None:
    kept = {
        name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    }
    code = "from cot_compressor.scorers.onnx import load_runtime; load_runtime()"
    subprocess.run([sys.executable, "-c", code], env={**kept, "HOME": str(tmp_path)}, check=True)
    assert not list(tmp_path.rglob("*"))
