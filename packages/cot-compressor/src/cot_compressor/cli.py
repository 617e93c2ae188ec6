"""The `cot-compressor` command: thin shells over the functions of the same names."""

import sys
from pathlib import Path
from typing import Any

import click

from . import __version__, processes
from ._shared.cli_group import CommandGroup
from .errors import DataError
from .scoring import DTYPES

_DATA = click.Path(path_type=Path)
_ratio = click.option(
    "--ratio",
    "ratios",
    type=float,
    multiple=True,
    required=True,
    help="Share of the tokens to keep, in (0, 1]; repeat it.",
)
_scorer = click.option(
    "--scorer",
    default="rules",
    show_default=True,
    help="`rules`, a folder written by `cot-compressor train`, or a hub's owner/name@revision.",
)
_tokenizer = click.option(
    "--tokenizer", type=_DATA, help="Folder of the target model's tokenizer; budgets count its tokens."
)
_dtype = click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    help="What a trained scorer computes in. Default: float32. bfloat16 is faster on a GPU and on processors with "
    "instructions for it; its scores move a little with what is scored together.",
)
_overwrite = click.option("--overwrite", is_flag=True, help="Replace an output made with other settings.")


def _report(out: Path, result: Any) -> None:
    if processes.rank() > 0:
        return
    if result is None:
        click.echo(f"{out}: already made with these settings; nothing to do", err=True)
    else:
        click.echo(result.summary(), err=True)


@click.group(cls=CommandGroup)
@click.version_option(__version__, prog_name="cot-compressor")
def cli() -> None:
    """Shorten chains of thought to exact token budgets, formulas whole."""


@cli.command(
    epilog="""\b
Example:
  cot-compressor annotate traces.jsonl annotated.jsonl --annotator rules --keep-share 0.3"""
)
@click.argument("source", metavar="IN", type=_DATA)
@click.argument("out", metavar="OUT", type=_DATA)
@click.option("--annotator", type=click.Choice(["rules", "openai"]), default="rules", show_default=True)
@click.option("--keep-share", type=float, default=0.3, show_default=True, help="Share of each trace to keep.")
@click.option("--model", help="Model name (openai).")
@click.option("--base-url", help="Server, such as http://127.0.0.1:8000/v1 (openai); key from OPENAI_API_KEY.")
@click.option(
    "--concurrency", type=click.IntRange(1), default=8, show_default=True, help="Requests at a time (openai)."
)
@click.option(
    "--prices", type=(float, float), help="Dollars per million prompt and completion tokens, to tell the cost (openai)."
)
@_overwrite
def annotate(
    source: Path,
    out: Path,
    annotator: str,
    keep_share: float,
    model: str | None,
    base_url: str | None,
    concurrency: int,
    prices: tuple[float, float] | None,
    overwrite: bool,
) -> None:
    """Mark what to keep in each trace of IN.

    Answers of a model are kept in OUT.answers.jsonl, and none is asked for twice.
    """
    from .annotate import Annotator, RulesAnnotator, annotate_file

    chosen: Annotator
    if annotator == "openai":
        from .annotate_openai import OpenAIAnnotator

        if not model:
            raise DataError("--annotator openai needs --model NAME")
        answers = out.with_name(out.name + ".answers.jsonl")
        chosen = OpenAIAnnotator(
            model,
            base_url=base_url,
            keep_share=keep_share,
            concurrency=concurrency,
            answers=answers,
            prices=prices,
        )
    else:
        if model or base_url or prices:
            raise DataError("--model, --base-url and --prices are for --annotator openai; drop them")
        chosen = RulesAnnotator(keep_share)
    try:
        _report(out, annotate_file(source, out, chosen, overwrite=overwrite))
    finally:
        if annotator == "openai":
            click.echo(chosen.usage(), err=True)  # type: ignore[attr-defined]


@cli.command(
    epilog="""\b
Examples:
  cot-compressor train annotated.jsonl models/compressor --encoder models/encoder --epochs 5
  accelerate launch --num_processes 4 -m cot_compressor train annotated.jsonl models/compressor --encoder FOLDER
  torchrun --nproc_per_node 4 -m cot_compressor train annotated.jsonl models/compressor --encoder FOLDER  # on CPUs"""
)
@click.argument("source", metavar="ANNOTATED", type=_DATA)
@click.argument("out", metavar="OUT_DIR", type=_DATA)
@click.option("--encoder", required=True, type=_DATA, help="Model folder: config and tokenizer; weights are optional.")
@click.option("--epochs", type=click.IntRange(1), default=5, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Windows per step.")
@click.option(
    "--learning-rate", type=float, help="Default: 3e-5 for pretrained weights, 1e-3 for an encoder without weights."
)
@click.option("--max-length", type=click.IntRange(16), help="Tokens per window. Default: what the encoder takes.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace a model trained with other settings: the whole folder.")
def train(source: Path, out: Path, encoder: Path, overwrite: bool, **settings: Any) -> None:
    """Fit a token classifier to an annotated file."""
    from .train import TrainSettings, train_file

    _report(out, train_file(source, out, TrainSettings(encoder=encoder, **settings), overwrite=overwrite))


@cli.command(
    epilog="""\b
Example:
  cot-compressor export models/compressor models/compressor-int8"""
)
@click.argument("source", metavar="SCORER", type=_DATA)
@click.argument("out", metavar="OUT_DIR", type=_DATA)
def export(source: Path, out: Path) -> None:
    """Write a trained scorer as an int8 ONNX model, which is faster on a CPU."""
    from .onnx_model import export_folder

    click.echo(f"{export_folder(source, out)}: written; give it as --scorer", err=True)


@cli.command(
    epilog="""\b
Example:
  cot-compressor push models/compressor owner/name --private"""
)
@click.argument("folder", metavar="SCORER", type=_DATA)
@click.argument("name", metavar="OWNER/NAME")
@click.option("--private", is_flag=True, help="Only the owner sees it.")
def push(folder: Path, name: str, private: bool) -> None:
    """Upload a trained scorer with its model card to a model hub; the token comes from HF_TOKEN."""
    from .hub import push_to_hub

    click.echo(push_to_hub(folder, name, private=private))


@cli.command(
    epilog="""\b
Examples:
  cot-compressor compress traces.jsonl compressed.jsonl --ratio 0.2 --ratio 0.4 --tokenizer models/base
  cot-compressor compress - --ratio 0.3 --diff < thoughts.txt"""
)
@click.argument("source", metavar="IN", type=_DATA)
@click.argument("out", metavar="[OUT]", type=_DATA, required=False)
@_ratio
@_scorer
@_tokenizer
@_dtype
@click.option("--question", default="", help="What a plain text answers.")
@click.option("--diff", is_flag=True, help="Show a whole plain text, with what was kept in colour.")
@_overwrite
def compress(
    source: Path, out: Path | None, tokenizer: Path | None, question: str, diff: bool, overwrite: bool, **options: Any
) -> None:
    """Shorten each trace of IN at every ratio; without OUT, shorten the plain text IN (- is standard input).

    A plain text needs no tokenizer: without one, `rules` counts words, numbers and signs.
    """
    from .compress import compress_file, read_text, show_kept

    if out is not None:
        if tokenizer is None:
            raise DataError("a file of traces needs --tokenizer FOLDER, so that budgets are the target model's tokens")
        if question or diff:
            raise DataError("--question and --diff are for a plain text; drop them, or drop OUT")
        _report(out, compress_file(source, out, tokenizer=tokenizer, overwrite=overwrite, **options))
        return
    from .compressor import Compressor

    if source.suffix in {".jsonl", ".gz"}:
        raise DataError(f"{source}: give OUT, the file to write; without it IN is a plain text")
    if len(options["ratios"]) != 1:
        raise DataError("a plain text takes one --ratio")
    compressor = Compressor.from_pretrained(options["scorer"], tokenizer=tokenizer, dtype=options["dtype"])
    cot = read_text(source)
    result = compressor.compress(cot, question=question, ratio=options["ratios"][0])
    click.echo(show_kept(cot, result, colour=sys.stdout.isatty()) if diff else result.text)


@cli.command(
    epilog="""\b
Example:
  cot-compressor evaluate traces.jsonl runs/fidelity --ratio 0.2 --ratio 0.4 --tokenizer models/base"""
)
@click.argument("source", metavar="IN", type=_DATA)
@click.argument("out", metavar="OUT_DIR", type=_DATA)
@_ratio
@_scorer
@_tokenizer
@_dtype
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the random baseline and intervals."
)
@_overwrite
def evaluate(source: Path, out: Path, **options: Any) -> None:
    """Measure what survives, beside simpler methods at the same length."""
    from .evaluate import evaluate_file

    if options["tokenizer"] is None:
        raise DataError("evaluate needs --tokenizer FOLDER, so that budgets are the target model's tokens")
    table = evaluate_file(source, out, **options)
    if table is None:
        _report(out, None)
    else:
        click.echo(table)
