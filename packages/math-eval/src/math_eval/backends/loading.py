"""Loading the model that a run's settings name: its control tokens first, then the backend.

Each backend's library is imported only when it is needed.

    settings = RunSettings("checkpoints/sft", ("gsm8k",), ratios=(0.2, "policy"))
    tokens = control_tokens(settings)          # the ladder of checkpoints/sft
    thinking, tokenizer = thinking_format(settings)   # ThinkingFormat('<think>', '</think>', '', opened=False), None
    backend = load_backend(settings, tokens, thinking, tokenizer)     # HFModel("checkpoints/sft")
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from math_eval._shared.checkpoint_files import check_checkpoint
from math_eval._shared.control_tokens import FILE_NAME, ControlTokens
from math_eval._shared.thinking import THINK, ThinkingFormat
from math_eval._shared.thinking_formats import format_of, given_format, load_format
from math_eval.errors import DataError, needs_extra
from math_eval.settings import RunSettings

from . import Backend

_RAW_SERVER = "openai,transformers"
"""Extras for a server whose prompts are rendered here."""


def control_tokens(settings: RunSettings) -> ControlTokens | None:
    """The checkpoint's control tokens, or None if it has none.

    Raises:
        DataError: The folder is missing, or a requested ratio is not one that the checkpoint was trained with.
    """
    requested = [ratio for ratio in settings.ratios if ratio is not None]
    if settings.server is not None and settings.tokenizer is None:
        if requested:
            raise DataError(f"ratio {requested[0]} of a server: name the checkpoint's folder with --tokenizer")
        return None
    folder = Path(settings.tokenizer or settings.model)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such model folder; check --{'tokenizer' if settings.tokenizer else 'model'}")
    if not requested and not (folder / FILE_NAME).is_file():
        return None
    tokens = ControlTokens.load(folder)
    try:
        for ratio in requested:
            tokens.token(ratio)
    except DataError as error:
        raise DataError(f"{folder / FILE_NAME}: {error}") from error
    return tokens


def thinking_format(settings: RunSettings) -> tuple[ThinkingFormat, Any]:
    """The tags around the model's thinking: the given ones, those of its folder, or those of its chat template.

    Each prompt shows whether it opens the block, so `opened` is False. A server thinks in `<think>`, unless its folder
    has another format in a file; its chat template is read if prompts are rendered here.

    Returns:
        The format, and the tokenizer if its template had to be read, else None.

    Raises:
        DataError: The given format or the file is bad, the template shows none of the known formats clearly, or a
            package is not installed.
    """
    folder = settings.tokenizer if settings.server is not None else settings.model
    found = given_format(settings.thinking_format) if settings.thinking_format else None
    if found is None and folder is not None:
        found = load_format(folder)
    tokenizer = None
    continues = settings.mode is not None and settings.mode.continues
    if found is None and folder is not None and (settings.server is None or continues):
        with needs_extra(settings.backend if settings.server is None else _RAW_SERVER):
            from math_eval._shared.checkpoint_loader import load_tokenizer

            tokenizer = load_tokenizer(check_checkpoint(folder) if settings.server is None else folder)
        found = format_of(tokenizer)
    return replace(found or THINK, opened=False), tokenizer


def check_tokens(settings: RunSettings, tokens: ControlTokens, backend: Backend) -> None:
    """Refuse a tokenizer that splits a control token: the model cannot have learned it.

    Raises:
        DataError: A control token is not a single token of the vocabulary.
    """
    for token in tokens.all_tokens:
        if not backend.has_token(token):
            raise DataError(
                f"{settings.tokenizer or settings.model}: its tokenizer has no single token {token}, which {FILE_NAME} "
                "names; use the folder that was trained with it, or leave out --ratio"
            )


def load_backend(
    settings: RunSettings,
    tokens: ControlTokens | None,
    thinking: ThinkingFormat,
    tokenizer: Any = None,
    notify: Callable[[str], object] | None = None,
) -> Backend:
    """The model, loaded, or the client of its servers.

    Args:
        settings: Settings of the run.
        tokens: The checkpoint's control tokens, or None.
        thinking: Tags around the model's thinking.
        tokenizer: The checkpoint's tokenizer, if `thinking_format` has loaded it.
        notify: Function that gets a line about a server that is set aside.

    Raises:
        DataError: A package is not installed, or the checkpoint or the address is bad.
    """
    if settings.server is None:
        return _engine(settings, tokenizer)
    options: dict[str, Any] = {
        "concurrency": settings.batch_size,
        "thinking_format": thinking,
        "leave_out": settings.leave_out,
        "requests_per_minute": settings.requests_per_minute,
        "timeout_s": settings.timeout_s,
        "notify": notify,
    }
    if settings.mode is not None and settings.mode.continues:
        with needs_extra(_RAW_SERVER):
            from .prompts import Prompts
            from .raw_server import RawServer

            prompts = Prompts(settings.tokenizer or "", tokenizer=tokenizer)
            return RawServer(settings.server, settings.base_urls, prompts=prompts, **options)
    with needs_extra("openai"):
        from .openai import Server
    # "none" and not null, which vLLM takes as not given. The requested token is in the message already.
    controls = {"chat_template_kwargs": {"ratio": "none"}, "skip_special_tokens": False} if tokens else {}
    return Server(settings.server, settings.base_urls, tokenizer=settings.tokenizer, extra=controls, **options)


def _engine(settings: RunSettings, tokenizer: Any) -> Backend:
    with needs_extra(settings.backend):
        if settings.backend == "transformers":
            from .hf import HFModel

            return HFModel(settings.model, tokenizer=tokenizer)
        from .vllm import VLLMModel

        return VLLMModel(
            settings.model,
            tokenizer=tokenizer,
            concurrency=settings.batch_size,
            tensor_parallel=settings.tensor_parallel,
            data_parallel=settings.data_parallel,
        )
