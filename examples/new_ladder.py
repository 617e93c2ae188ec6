r"""Train a model to follow another ladder of ratios than .2 … 1, from its own traces.

    pip install cot-compressor ratio-sft
    python examples/new_ladder.py traces.jsonl models/base ladder/ --ratio .1 --ratio .25 --ratio 1

TRACES has one `{"id": …, "question": …, "answer": …, "cot": …, "response": …}` per line (`math-eval export traces`
writes it). OUT contains compressed.jsonl, the mixture to train on and the checkpoint. Finished parts are kept.
"""

import sys
from pathlib import Path

import click
from transformers import AutoTokenizer

from cot_compressor import CompressorError, compress_file
from ratio_sft import ControlTokens, MixSettings, RatioSftError, TrainSettings, build, train


@click.command()
@click.argument("traces", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("base", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--ratio", "ratios", type=float, multiple=True, required=True, help="Ratio of the ladder; repeatable.")
@click.option("--epochs", type=float, default=3, show_default=True, help="Number of epochs.")
@click.option("--learning-rate", type=float, default=2e-5, show_default=True, help="Peak learning rate.")
@click.option(
    "--tolerance",
    type=float,
    default=0.05,
    show_default=True,
    help="Largest difference between the requested and the achieved ratio.",
)
def main(
    *,
    traces: Path,
    base: Path,
    out: Path,
    ratios: tuple[float, ...],
    epochs: float,
    learning_rate: float,
    tolerance: float,
) -> None:
    """Compress TRACES at every ratio and train BASE to follow them, in the folder OUT."""
    out.mkdir(parents=True, exist_ok=True)
    compress_file(traces, out / "compressed.jsonl", ratios=ratios, scorer="rules", tokenizer=base)
    build(out / "compressed.jsonl", out / "mix", MixSettings(ratios=ratios, tolerance=tolerance))
    settings = TrainSettings(model=str(base), epochs=epochs, learning_rate=learning_rate)
    train(out / "mix", out / "checkpoint", settings)
    tokens = ControlTokens.load(out / "checkpoint")
    tokenizer = AutoTokenizer.from_pretrained(out / "checkpoint")
    question = [{"role": "user", "content": "How many apples?"}]
    for name, ratio in tokens.ratios.items():
        prompt = tokenizer.apply_chat_template(question, tokenize=False, ratio=ratio)
        click.echo(f"ratio {ratio:g} is requested with {name}: {prompt!r}")


if __name__ == "__main__":
    try:
        main()
    except (CompressorError, RatioSftError) as error:
        sys.exit(f"error: {error}")
