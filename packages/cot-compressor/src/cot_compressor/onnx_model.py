"""A trained scorer as an int8 ONNX file, for scoring on a CPU: made, and run by ONNX Runtime.

The weights are rounded to 8 bits, so scores differ from those of the folder it is made from, and with them some of what
is kept; how much is measured in the results. It is a model folder like any other: whatever takes a scorer takes it. The
exporter is torch's own, since optimum's does not go with current transformers.

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
from types import SimpleNamespace
from typing import Any

import torch

from .classifier import ONNX_FILE, load_model, model_inputs, read_settings
from .counting import load_tokenizer
from .errors import DataError
from .hub import find_folder
from .labels import Window
from .resume import folder_digest, write_manifest

_NEEDED = "ONNX needs its packages: pip install 'cot-compressor[onnx]'"
_EXAMPLE = [Window([0] * 40, 10, 0, 29), Window([0] * 30, 10, 0, 19)]


class OnnxModel:
    """Called as a transformers model is: tensors in, `.logits` out; on the CPU."""

    def __init__(self, file: Path, config: Any) -> None:
        """Load the file.

        Raises:
            DataError: ONNX Runtime is not installed, or cannot read the file.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise DataError(_NEEDED) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # Its errors share no base class.
            raise DataError(f"{file}: ONNX Runtime cannot read it ({error})") from error
        self.config = config

    def __call__(self, **inputs: torch.Tensor) -> SimpleNamespace:
        """Logits of the windows, one window at a time: int8 takes its scale from all tokens of a call."""
        rows: list[torch.Tensor] = []
        for at in range(len(inputs["input_ids"])):
            real = int(inputs["attention_mask"][at].sum())
            window = {name: tensor[at : at + 1, :real].numpy() for name, tensor in inputs.items()}
            logits: Any = self._session.run(None, window)[0]
            rows.append(torch.from_numpy(logits[0]))
        return SimpleNamespace(logits=torch.nn.utils.rnn.pad_sequence(rows, batch_first=True))


def export_folder(source: str | Path, out: str | Path) -> Path:
    """Write the int8 model folder; returns it.

    Raises:
        DataError: no trained scorer in `source`, the encoder cannot be exported, `out` is there already, or the ONNX
            packages are not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
        from onnxruntime.quantization import quantize_dynamic
    except ImportError as error:
        raise DataError(_NEEDED) from error
    folder, out = find_folder(source), Path(out)
    if out.exists():
        raise DataError(f"{out}: is there already; remove it or give another name")
    read_settings(folder)
    model = load_model(folder)
    if isinstance(model, OnnxModel):
        raise DataError(f"{folder}: is ONNX already")
    # The exporter guards other kinds of attention against rows of nothing but padding, at over a third of the time.
    model.set_attn_implementation("eager")
    inputs = model_inputs(_EXAMPLE, load_tokenizer(folder), model.config)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        whole, made = Path(temporary, "fp32.onnx"), Path(temporary, "model")
        made.mkdir()
        for path in folder.iterdir():
            if path.is_file() and path.suffix != ".safetensors" and path.name != "manifest.json":
                shutil.copy(path, made)
        try:
            with _quiet():
                _write_onnx(model, inputs, whole)
                # A scale for each channel, and 7 bits: on processors without VNNI, sums of 8-bit products overflow.
                quantize_dynamic(
                    whole, made / ONNX_FILE, op_types_to_quantize=["MatMul"], per_channel=True, reduce_range=True
                )
        except Exception as error:  # Its errors share no base class.
            raise DataError(f"{folder}: this encoder cannot be exported ({type(error).__name__})") from error
        write_manifest(made / "manifest.json", "export", {"scorer": folder_digest(folder)})
        os.rename(made, out)
    return out


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
    """Without the exporter's remarks on its own workings."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class _Logits(torch.nn.Module):
    """The model with tensors in, by position, and nothing but the logits out."""

    def __init__(self, model: Any, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.model(**dict(zip(self.names, inputs, strict=True))).logits
