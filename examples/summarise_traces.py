r"""Shorten every chain of thought in a folder of text files.

    pip install ./packages/cot-compressor
    python examples/summarise_traces.py traces/ short/ --ratio 0.3 --tokenizer models/Qwen3-1.7B

In a file with `<think>` … `</think>`, the text before is the question, and only the thinking is shortened. A file
without these tags is all thinking. The files in OUT have the same names; a file that cannot be that short is reported
and left out.
"""

import sys
from pathlib import Path

import click

from cot_compressor import Compressor, CompressorError, InfeasibleBudget


def shorten(compressor: Compressor, text: str, ratio: float) -> tuple[str, int, int]:
    """The text with its thinking shortened, and the tokens of the thinking before and after."""
    question, opened, rest = text.partition("<think>")
    if not opened:
        question, rest = "", text
    thinking, closed, answer = rest.partition("</think>")
    short = compressor.compress(thinking, question=question, ratio=ratio)
    return f"{question}{opened}{short.text}{closed}{answer}", short.original_tokens, short.tokens


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--ratio", type=float, default=0.3, show_default=True, help="Share of the tokens to keep.")
@click.option(
    "--scorer", default="rules", show_default=True, help="Scorer: 'rules', or a folder written by cot-compressor train."
)
@click.option(
    "--tokenizer", type=click.Path(exists=True, path_type=Path), help="Folder of the model whose tokens are counted."
)
def main(folder: Path, out: Path, ratio: float, scorer: str, tokenizer: Path | None) -> None:
    """Shorten the thinking in every .txt file of FOLDER into a file of OUT."""
    compressor = Compressor.from_pretrained(scorer, tokenizer=tokenizer)
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise click.UsageError(f"{folder}: no .txt files")
    out.mkdir(parents=True, exist_ok=True)
    before = after = 0
    for file in files:
        try:
            text, whole, kept = shorten(compressor, file.read_text("utf-8"), ratio)
        except InfeasibleBudget as error:
            click.echo(f"{file.name}: left out, {error}", err=True)
            continue
        (out / file.name).write_text(text, "utf-8")
        click.echo(f"{file.name}: {whole} -> {kept} tokens")
        before, after = before + whole, after + kept
    click.echo(f"{before} -> {after} tokens in {len(list(out.glob('*.txt')))} of {len(files)} files")


if __name__ == "__main__":
    try:
        main()
    except CompressorError as error:
        sys.exit(f"error: {error}")
