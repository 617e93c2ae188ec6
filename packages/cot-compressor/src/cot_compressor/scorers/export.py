"""Writes a trained scorer as an int8 ONNX file, which is faster on a CPU.

The weights are rounded to 8 bits, so scores differ from those of the original folder, and so does part of the
selection; docs/results/cot-compressor.md reports by how much. The result is a model folder like any other, and every
command that takes a scorer takes it. The exporter is torch's own, because optimum's does not support current
transformers.

    export_folder("models/compressor", "models/compressor-int8")
    Compressor.from_pretrained("models/compressor-int8")
"""

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from cot_compressor._shared import runs
from cot_compressor._shared.system_errors import naming
from cot_compressor.budget.counting import load_tokenizer
from cot_compressor.errors import DataError, needs_extra

from .classifier import load_model, model_inputs, read_settings
from .hub import find_folder
from .onnx import ONNX_FILE, OnnxModel, load_runtime
from .windows import Window

_EXAMPLE = [Window([0] * 40, 10, 0, 29), Window([0] * 30, 10, 0, 19)]


def export_folder(source: str | Path, out: str | Path) -> Path:
    """Write the int8 model folder.

    Args:
        source: Folder of a trained scorer, or its name on a hub.
        out: New folder.

    Returns:
        The new folder.

    Raises:
        DataError: `source` contains no trained scorer, the encoder cannot be exported, `out` exists already, or the
            ONNX packages are not installed.
    """
    with needs_extra("onnx", "an ONNX model needs its packages"):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401

        load_runtime()
    folder, out = find_folder(source), Path(out)
    if out.exists():
        raise DataError(f"{out}: exists already; remove it or give another name")
    read_settings(folder)
    model = load_model(folder)
    if isinstance(model, OnnxModel):
        raise DataError(f"{folder}: is an ONNX model already")
    # The exporter protects other kinds of attention against rows of padding only, which takes a third of the time.
    model.set_attn_implementation("eager")
    inputs = model_inputs(_EXAMPLE, load_tokenizer(folder), model.config)
    out.parent.mkdir(parents=True, exist_ok=True)
    with naming(out), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        made = Path(temporary, "model")
        made.mkdir()
        for path in folder.iterdir():
            if path.is_file() and path.suffix != ".safetensors" and path.name != runs.MANIFEST:
                shutil.copy(path, made)
        try:
            _write_int8(model, inputs, Path(temporary, "fp32.onnx"), made / ONNX_FILE)
        except OSError:
            raise
        except Exception as error:  # Its errors share no base class.
            raise DataError(f"{folder}: this encoder cannot be exported ({type(error).__name__})") from error
        runs.write_manifest(
            made / runs.MANIFEST,
            "cot-compressor export",
            {"scorer": runs.digest(folder)},
            ("cot-compressor", "onnxruntime", "torch", "transformers"),
        )
        os.rename(made, out)
    return out


def _write_int8(model: Any, inputs: dict[str, torch.Tensor], whole: Path, file: Path) -> None:
    """Write the model in full precision to `whole`, then rounded to `file`."""
    from onnxruntime.quantization import quantize_dynamic

    with _quiet():
        _write_onnx(model, inputs, whole)
        # One scale for each channel, and 7 bits: on processors without VNNI, sums of 8-bit products overflow.
        quantize_dynamic(whole, file, op_types_to_quantize=["MatMul"], per_channel=True, reduce_range=True)


def _write_onnx(model: torch.nn.Module, inputs: dict[str, torch.Tensor], file: Path) -> None:
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("seq")}
    torch.onnx.export(
        _Logits(model, list(inputs)).eval(),
        tuple(inputs.values()),
        file,
        input_names=list(inputs),
        output_names=["logits"],
        dynamic_shapes=(tuple(sizes for _ in inputs),),
        external_data=False,
        dynamo=True,
        verbose=False,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's warnings about its own internals."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class _Logits(torch.nn.Module):
    """The model with tensors as positional arguments and the logits as its only result."""

    def __init__(self, model: Any, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.model(**dict(zip(self.names, inputs, strict=True))).logits
