"""An untrained encoder for `cot-compressor train`: two layers, and the words of another model's tokenizer.

On real text, a pretrained encoder takes its place.

    python examples/quickstart/encoder.py runs/quickstart/base runs/quickstart/encoder
"""

from pathlib import Path

import click
from transformers import AutoTokenizer, BertConfig


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def main(model: Path, out: Path) -> None:
    """Write config and tokenizer of an encoder into OUT, for the words that MODEL knows."""
    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    tokenizer.save_pretrained(out)
    BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
    ).save_pretrained(out)


if __name__ == "__main__":
    main()
