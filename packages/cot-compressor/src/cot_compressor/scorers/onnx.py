"""Runs a trained scorer that was exported as an ONNX file, on the CPU.

The file is written by `export.py`. A stranger's may contain only what that writes: standard operators without loops or
branches, and all weights in the file. Loading the folder around it is left to `classifier.py`.

    OnnxModel(Path("models/compressor-int8/model.onnx"), config)(input_ids=ids, attention_mask=mask).logits
"""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from cot_compressor.errors import DataError, needs_extra

ONNX_FILE = "model.onnx"
_STANDARD = {"", "ai.onnx"}
_MOST_BYTES = 2**33
_SILENT = 4


def load_runtime() -> Any:
    """ONNX Runtime as a module, without its telemetry, which writes to the home folder and reports to its makers."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


@cache
def _limit_memory() -> None:
    """Give all sessions one allocator with a limit, because an operator may repeat a value any number of times."""
    onnxruntime = load_runtime()
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(place, onnxruntime.OrtArenaCfg({"max_mem": _MOST_BYTES}))


def _check_graph(file: Path) -> None:
    """Refuse what `export` never writes and what could run without end or read other files.

    Raises:
        DataError: the file has a loop or branch, a function, an operator that is not ONNX's own, or weights elsewhere.
    """
    import onnx

    try:
        model = onnx.load(file, load_external_data=False)
    except Exception as error:  # The parser's errors share no base class.
        raise DataError(f"{file}: ONNX Runtime cannot read it ({' '.join(str(error).split())[:300]})") from error
    bad = next(_refused(model), None)
    if bad is not None:
        raise DataError(f"{file}: contains {bad}, which no export writes; run cot-compressor export again")


def _refused(model: Any) -> Iterator[str]:
    from onnx import TensorProto

    graph = model.graph
    tensors = list(graph.initializer)
    if model.functions:
        yield "a function"
    if graph.sparse_initializer:
        yield "sparse weights"
    for node in graph.node:
        if node.domain not in _STANDARD:
            yield f"an operator of {node.domain[:100]!r}"
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                yield f"a loop or branch ({node.op_type[:100]})"
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                yield "sparse weights"
            tensors += [attribute.t, *attribute.tensors]
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in tensors):
        yield "weights of another file"


class OnnxModel:
    """An ONNX file with the interface of a transformers model: tensors in, `.logits` out."""

    def __init__(self, file: Path, config: Any) -> None:
        """Load the file.

        Args:
            file: Path of the ONNX file.
            config: Configuration of the transformers model that was exported.

        Raises:
            DataError: ONNX Runtime is not installed or cannot read the file, or the file has what no export writes.
        """
        with needs_extra("onnx", f"{file}: an ONNX model needs its packages"):
            onnxruntime = load_runtime()
            _check_graph(file)
        _limit_memory()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = _SILENT  # its messages quote names in the file as they are
        options.add_session_config_entry("session.use_env_allocators", "1")
        self._file = file
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # Its errors share no base class.
            raise DataError(f"{file}: ONNX Runtime cannot read it ({error})") from error
        self.config = config

    def __call__(self, **inputs: torch.Tensor) -> SimpleNamespace:
        """Logits `[batch, seq, 2]`, computed window by window: int8 takes its scale from all tokens of a call."""
        rows: list[torch.Tensor] = []
        for at in range(len(inputs["input_ids"])):
            real = int(inputs["attention_mask"][at].sum())
            window = {name: tensor[at : at + 1, :real].numpy() for name, tensor in inputs.items()}
            try:
                logits: Any = self._session.run(None, window)[0]
            except Exception as error:  # Its errors share no base class.
                raise DataError(f"{self._file}: cannot be run ({' '.join(str(error).split())[:300]})") from error
            rows.append(torch.from_numpy(logits[0]))
        return SimpleNamespace(logits=torch.nn.utils.rnn.pad_sequence(rows, batch_first=True))
