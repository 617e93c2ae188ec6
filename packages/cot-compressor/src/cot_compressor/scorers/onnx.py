"""Runs a trained scorer that was exported as an ONNX file, on the CPU.

The file is written by `export.py`. Loading the folder around it is left to `classifier.py`.

    OnnxModel(Path("models/compressor-int8/model.onnx"), config)(input_ids=ids, attention_mask=mask).logits
"""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from cot_compressor.errors import DataError, needs_extra

ONNX_FILE = "model.onnx"


def load_runtime() -> Any:
    """ONNX Runtime as a module, without its telemetry, which writes to the home folder and reports to its makers."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


class OnnxModel:
    """An ONNX file with the interface of a transformers model: tensors in, `.logits` out."""

    def __init__(self, file: Path, config: Any) -> None:
        """Load the file.

        Args:
            file: Path of the ONNX file.
            config: Configuration of the transformers model that was exported.

        Raises:
            DataError: ONNX Runtime is not installed, or cannot read the file.
        """
        with needs_extra("onnx", f"{file}: an ONNX model needs its packages"):
            onnxruntime = load_runtime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
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
            logits: Any = self._session.run(None, window)[0]
            rows.append(torch.from_numpy(logits[0]))
        return SimpleNamespace(logits=torch.nn.utils.rnn.pad_sequence(rows, batch_first=True))
