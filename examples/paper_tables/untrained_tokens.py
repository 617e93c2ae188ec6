"""A checkpoint with untrained control tokens: the start of RL without SFT.

python examples/paper_tables/untrained_tokens.py base untrained 0.2 0.4 1.0
"""

import shutil
from pathlib import Path

import click

from ratio_sft import ControlTokens, add_control_tokens, load_model


@click.command()
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("ratios", type=float, nargs=-1, required=True)
@click.option("--seed", default=0, show_default=True, help="Random seed of the new embedding rows.")
def main(base: Path, out: Path, ratios: tuple[float, ...], seed: int) -> None:
    """Write BASE, extended by a control token for each of RATIOS, to the folder OUT."""
    model, tokenizer = load_model(base)
    ladder = ControlTokens.ladder(ratios)
    add_control_tokens(model, tokenizer, ladder, seed=seed)
    shutil.rmtree(out, ignore_errors=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    ladder.save(out)


if __name__ == "__main__":
    main()
