"""The `cot-compressor` command: each sub-command calls the function of the same name."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from . import distributed
from ._shared.addresses import AddressType, is_remote
from ._shared.cli_group import CommandGroup
from ._shared.ray_shards import check_engine, engine_options
from ._shared.row_files import unread_columns
from ._shared.row_layout import layout_of, layout_options
from ._shared.settings_flags import from_flags, output_argument, settings_flags
from ._shared.terminal import echo, notify
from ._shared.thinking_formats import FLAG_HELP
from ._version import __version__
from .errors import DataError, InfeasibleBudget, needs_extra
from .scorers.base import DTYPES
from .training.settings import TrainSettings

_PATH = click.Path(path_type=Path)
_Command = Callable[..., Any]


def _compression_options(command: _Command) -> _Command:
    """The options of the commands that compress."""
    for option in (
        click.option(
            "--dtype",
            type=click.Choice(DTYPES),
            help="Number format of a trained scorer. Default: float32. bfloat16 is faster on a GPU and on processors "
            "with instructions for it; its scores depend slightly on the texts in the same batch.",
        ),
        click.option("--tokenizer", type=_PATH, help="Folder of the target model, whose tokens are counted."),
        click.option(
            "--scorer",
            default="rules",
            show_default=True,
            help="Scorer: `rules`; a folder written by `cot-compressor train`, or a hub's owner/name@revision; or "
            "hybrid:FOLDER, the rules with its judgement of the sentences.",
        ),
        click.option(
            "--ratio",
            "ratios",
            type=float,
            multiple=True,
            required=True,
            help="Share of the tokens to keep, in (0, 1]; repeatable.",
        ),
    ):
        command = option(command)
    return command


def _corpus_options(command: _Command) -> _Command:
    """The options of the commands that read a corpus."""
    thinking = click.option("--thinking-format", metavar="NAME|FILE", help=f"{FLAG_HELP} It is read with --messages.")
    return layout_options(thinking(command))


def _layout(source: str | Path, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a command with the layout in place of the options of a corpus; prints what is not read of it."""
    given = {name: options.pop(name) for name in ("columns", "messages", "thinking_format")}
    if given["thinking_format"] and not given["messages"]:
        raise DataError("--thinking-format is for --messages; drop it, or name the column of messages")
    for line in unread_columns(source):
        notify(line)
    return {**options, "layout": layout_of(**given)}


_overwrite = click.option(
    "--overwrite", is_flag=True, help="Replace an output made with other settings, and make a finished one again."
)


def _report(out: str | Path, result: Any) -> None:
    if distributed.rank() > 0:
        return
    if result is None:
        echo(f"{out}: already made with these settings; nothing to do", err=True)
    else:
        echo(result.summary(), err=True)


@click.group(cls=CommandGroup)
@click.version_option(__version__, prog_name="cot-compressor")
def cli() -> None:
    """Shorten chains of thought to a token budget, formulas whole."""


@cli.command(
    epilog="""\b
Examples:
  cot-compressor annotate traces.jsonl annotated.jsonl --keep-share 0.3
  cot-compressor annotate corpus annotated.parquet --messages messages --columns \\
      'answer=solution,model:="R1",correct:=true,sample:=0'
  cot-compressor annotate corpus annotated --annotator rules --messages messages --engine ray"""
)
@click.argument("source", metavar="IN", type=AddressType())
@output_argument("OUT", remote=True)
@click.option(
    "--annotator",
    type=click.Choice(["response", "rules", "reader", "openai"]),
    default="response",
    show_default=True,
    help="Annotator: the trace's own response, the rules, the likelihood of the response in a language model, or what "
    "a language model behind an OpenAI-compatible server chooses.",
)
@click.option("--keep-share", type=float, default=0.3, show_default=True, help="Share of each trace to keep.")
@click.option("--model", help="Name of the model on the server (openai), or folder of the language model (reader).")
@click.option(
    "--base-url",
    "base_urls",
    multiple=True,
    help="Address of a server, such as http://127.0.0.1:8000/v1; key from OPENAI_API_KEY (openai). Repeatable: a "
    "request goes to the server with the fewest in flight; one that fails is set aside and tried again later.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Maximum number of requests at a time (openai).",
)
@click.option(
    "--prices", type=(float, float), help="Dollars per million prompt and completion tokens, for the report (openai)."
)
@_corpus_options
@engine_options
@_overwrite
def annotate(
    source: str | Path,
    out: str | Path,
    *,
    annotator: str,
    keep_share: float,
    overwrite: bool,
    engine: str,
    workers: int | None,
    **server: Any,
) -> None:
    """Mark what to keep in each trace of IN: a file, a folder of shards, or an address such as s3://bucket/corpus.

    The answers of a language model are stored in OUT.answers.jsonl, and no request is sent twice.
    """
    from .training.annotate import RulesAnnotator, annotate_file, annotate_shards
    from .training.annotate_response import ResponseAnnotator

    check_engine(engine, workers)
    server = _layout(source, server)
    options = {"layout": server.pop("layout"), "overwrite": overwrite}
    if annotator != "openai":
        if (server["model"] and annotator != "reader") or server["base_urls"] or server["prices"]:
            raise DataError("--model, --base-url and --prices are for --annotator openai; drop them")
        if annotator == "reader":
            from .training.annotate_reader import ReaderAnnotator

            if not server["model"]:
                raise DataError("--annotator reader needs --model FOLDER")
            make = partial(ReaderAnnotator, server["model"], keep_share)
        else:
            make = partial(RulesAnnotator if annotator == "rules" else ResponseAnnotator, keep_share)
        if engine == "ray":
            spread = {"workers": workers, "gpu": annotator == "reader", "notify": notify}
            _report(out, annotate_shards(source, out, make, **options, **spread))
        else:
            _report(out, annotate_file(source, out, make(), **options))
        return
    if engine == "ray":
        raise DataError("--engine ray is for annotators that compute; for several servers, repeat --base-url")
    from .training.annotate_openai import OpenAIAnnotator

    if not server["model"]:
        raise DataError("--annotator openai needs --model NAME")
    if is_remote(out):
        raise DataError(f"{out}: answers of a server are stored beside OUT; name a path on this machine")
    answers = Path(f"{out}.answers.jsonl")
    asking = OpenAIAnnotator(keep_share=keep_share, answers=answers, notify=notify, **server)
    try:
        _report(out, annotate_file(source, out, asking, **options))
    finally:
        echo(asking.usage(), err=True)


@cli.command(
    epilog="""\b
Examples:
  cot-compressor train annotated.jsonl models/compressor --encoder models/encoder --epochs 5
  accelerate launch --num_processes 4 -m cot_compressor train annotated.jsonl models/compressor --encoder FOLDER
  torchrun --nproc_per_node 4 -m cot_compressor train annotated.jsonl models/compressor --encoder FOLDER  # on CPUs"""
)
@click.argument("source", metavar="ANNOTATED", type=_PATH)
@output_argument("OUT_DIR")
@settings_flags(TrainSettings)
@_overwrite
def train(source: Path, out: Path, overwrite: bool, **options: Any) -> None:
    """Fit a token classifier to an annotated file."""
    from .training.train import train_file

    _report(out, train_file(source, out, from_flags(TrainSettings, options), overwrite=overwrite))


@cli.command(
    epilog="""\b
Examples:
  cot-compressor export models/compressor models/compressor-int8"""
)
@click.argument("source", metavar="SCORER", type=_PATH)
@output_argument("OUT_DIR")
def export(source: Path, out: Path) -> None:
    """Write a trained scorer as an int8 ONNX model, which is faster on a CPU."""
    with needs_extra("onnx", "exporting a scorer needs torch and the ONNX packages"):
        from .scorers.export import export_folder
    echo(f"{export_folder(source, out)}: written; use it with --scorer", err=True)


@cli.command(
    epilog="""\b
Examples:
  cot-compressor push models/compressor owner/name --private"""
)
@click.argument("folder", metavar="SCORER", type=_PATH)
@click.argument("name", metavar="OWNER/NAME")
@click.option("--private", is_flag=True, help="Create a repository that only its owner can see.")
def push(folder: Path, name: str, private: bool) -> None:
    """Upload a trained scorer with its model card to a model hub; the token comes from HF_TOKEN."""
    from .scorers.hub import push_to_hub

    echo(push_to_hub(folder, name, private=private))


@cli.command(
    epilog="""\b
Examples:
  cot-compressor compress traces.jsonl compressed.jsonl --ratio 0.2 --ratio 0.4 --tokenizer models/base
  cot-compressor compress corpus short.parquet --ratio 0.3 --tokenizer models/base --messages messages
  cot-compressor compress s3://bucket/corpus s3://bucket/short.parquet --ratio 0.3 --tokenizer models/base \\
      --columns question=problem,cot=thinking,answer=solution
  cot-compressor compress corpus short --ratio 0.3 --tokenizer models/base --messages messages --engine ray
  cot-compressor compress - --ratio 0.3 --diff < thoughts.txt"""
)
@click.argument("source", metavar="IN", type=AddressType())
@output_argument("[OUT]", required=False, remote=True)
@_compression_options
@_corpus_options
@click.option("--question", default="", help="Question that a plain text answers.")
@click.option(
    "--diff",
    is_flag=True,
    help="Print the whole plain text: the kept part in colour on a terminal, elsewhere the rest as [-dropped-].",
)
@engine_options
@_overwrite
def compress(
    source: str | Path,
    out: str | Path | None,
    *,
    tokenizer: Path | None,
    question: str,
    diff: bool,
    overwrite: bool,
    engine: str,
    workers: int | None,
    **options: Any,
) -> None:
    """Shorten each trace of IN at every ratio; without OUT, shorten the plain text IN (- is standard input).

    IN is JSON Lines or Parquet: a file, a folder of shards, or an address such as s3://bucket/corpus. The name of OUT
    gives its format: .jsonl, .jsonl.gz, .jsonl.zst or .parquet.

    A plain text needs no tokenizer: without one, `rules` counts words, numbers and signs.
    """
    check_engine(engine, workers)
    if out is not None:
        from .compress import compress_file, compress_shards

        if str(source) == "-":
            raise DataError("-: standard input is for a plain text; leave out OUT, or give a file of traces")
        if tokenizer is None:
            raise DataError(
                "a file of traces needs --tokenizer FOLDER, because budgets count the target model's tokens; for a "
                "plain text, leave out OUT"
            )
        if question or diff:
            raise DataError("--question and --diff are for a plain text; drop them, or drop OUT")
        options = {**_layout(source, options), "tokenizer": tokenizer, "overwrite": overwrite}
        if engine == "ray":
            _report(out, compress_shards(source, out, workers=workers, notify=notify, **options))
        else:
            _report(out, compress_file(source, out, **options))
        return
    from .compressor import Compressor
    from .plain_text import read_text, shown

    if engine == "ray":
        raise DataError("--engine ray is for a corpus; give OUT, the folder to write")
    corpus = any(options.pop(name) is not None for name in ("columns", "messages", "thinking_format"))
    if corpus or is_remote(source) or Path(source).suffix in {".jsonl", ".gz", ".zst", ".parquet"}:
        raise DataError(f"{source}: give OUT, the file to write; without it IN is a plain text")
    if len(options["ratios"]) != 1:
        raise DataError("a plain text takes one --ratio")
    compressor = Compressor.from_pretrained(options["scorer"], tokenizer=tokenizer, dtype=options["dtype"])
    cot = read_text(Path(source))
    try:
        result = compressor.compress(cot, question=question, ratio=options["ratios"][0])
    except InfeasibleBudget as error:
        raise DataError(f"{'standard input' if str(source) == '-' else source}: {error}") from error
    click.echo(shown(cot, result, whole=diff, terminal=sys.stdout.isatty()))


@cli.command(
    epilog="""\b
Examples:
  cot-compressor evaluate traces.jsonl runs/fidelity --ratio 0.2 --ratio 0.4 --tokenizer models/base
  cot-compressor evaluate corpus runs/fidelity --ratio 0.2 --tokenizer models/base --messages messages --engine ray"""
)
@click.argument("source", metavar="IN", type=AddressType())
@output_argument("OUT_DIR")
@_compression_options
@_corpus_options
@click.option(
    "--reader",
    type=_PATH,
    help="Folder of a causal language model; measures how much likelier it finds the response after each short text.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Random seed of the baselines and of the intervals.",
)
@engine_options
@_overwrite
def evaluate(source: str | Path, out: Path, *, engine: str, workers: int | None, **options: Any) -> None:
    """Measure what a compression keeps, beside simpler methods at the same length.

    IN is JSON Lines or Parquet: a file, a folder of shards, or an address such as s3://bucket/corpus. On Ray, every
    worker must see OUT_DIR.
    """
    from .evaluation.evaluate import evaluate_file, evaluate_shards

    check_engine(engine, workers)
    if options["tokenizer"] is None:
        raise DataError("evaluate needs --tokenizer FOLDER, because budgets count the target model's tokens")
    options = _layout(source, options)
    if engine == "ray":
        table = evaluate_shards(source, out, workers=workers, notify=notify, **options)
    else:
        table = evaluate_file(source, out, **options)
    if table is None:
        _report(out, None)
    else:
        echo(table)
