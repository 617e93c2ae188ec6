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


def graph(nodes: list[onnx.NodeProto], *constants: onnx.TensorProto, **fields: object) -> onnx.ModelProto:
    """A model from `input_ids` to `logits`."""
    whole = onnx.helper.make_graph(
        nodes,
        "graph",
        [onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch", "seq"])],
        [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None)],
        list(constants),
    )
    return onnx.helper.make_model(whole, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9, **fields)


def endless() -> onnx.ModelProto:
    """Counts to 2 ** 62 inside a branch."""
    make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [make("Identity", ["go_in"], ["go_out"]), make("Neg", ["value_in"], ["value_out"])],
        "body",
        [info("at", 7, []), info("go_in", 9, []), info("value_in", 1, None)],
        [info("go_out", 9, []), info("value_out", 1, None)],
    )
    times = onnx.helper.make_tensor("times", 7, [], [2**62])
    go = onnx.helper.make_tensor("go", 9, [], [True])
    nodes = [make("Cast", ["input_ids"], ["ids"], to=1), make("Loop", ["times", "go", "ids"], ["logits"], body=body)]
    return graph(nodes, times, go)


def elsewhere(name: str) -> onnx.ModelProto:
    """Adds a constant that lies in another file."""
    constant = onnx.helper.make_tensor("c", 1, [1], b"\0" * 4, raw=True)
    constant.ClearField("raw_data")
    constant.data_location = onnx.TensorProto.EXTERNAL
    constant.external_data.add(key="location", value=name)
    node = onnx.helper.make_node("Constant", [], ["c"], value=constant)
    nodes = [onnx.helper.make_node("Cast", ["input_ids"], ["ids"], to=1)]
    return graph([node, *nodes, onnx.helper.make_node("Add", ["ids", "c"], ["logits"])])


def of_a_function() -> onnx.ModelProto:
    made = onnx.helper.make_function(
        "own", "Twice", ["x"], ["y"], [onnx.helper.make_node("Add", ["x", "x"], ["y"])], []
    )
    return graph([onnx.helper.make_node("Cast", ["input_ids"], ["logits"], to=1)], functions=[made])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (endless(), r"contains a loop or branch \(Loop\), which no export writes"),
        (elsewhere("../secret.bin"), "contains weights of another file"),
        (elsewhere("compressor.json"), "contains weights of another file"),
        (of_a_function(), "contains a function"),
        (graph([onnx.helper.make_node("Gelu\x1b[31m", ["input_ids"], ["logits"], domain="own")]), "operator of 'own'"),
    ],
)
def test_a_graph_that_no_export_writes_is_refused_before_it_runs(
    rounded: Path, tmp_path: Path, model: onnx.ModelProto, message: str
) -> None:
    strange = shutil.copytree(rounded, tmp_path / "strange")
    (strange / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match=message):
        TokenClassifier.from_folder(strange)


def test_a_graph_gets_no_more_memory_than_a_real_one_needs(
    rounded: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    size = onnx.helper.make_tensor("size", 7, [2], [2**40, 1])
    nodes = [
        onnx.helper.make_node("Cast", ["input_ids"], ["ids"], to=1),
        onnx.helper.make_node("Expand", ["ids", "size"], ["logits"], name="\x1b]0;title\x07"),
    ]
    strange = shutil.copytree(rounded, tmp_path / "strange")
    (strange / "model.onnx").write_bytes(graph(nodes, size).SerializeToString())
    scorer = TokenClassifier.from_folder(strange)
    cot = "So 1 + 1 = 2."
    with pytest.raises(DataError, match=r"model\.onnx: cannot be run"):
        scorer.score([ScoringInput("What is 1 + 1?", cot, segment(cot))])
    assert "\x1b" not in "".join(capfd.readouterr())
