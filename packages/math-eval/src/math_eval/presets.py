"""Named sampling settings, `math-eval run --preset NAME`, and a note where the defaults suit a model badly.

A preset only gives values to flags that are not given, so the manifest records what was used. Settings are checked in
`settings`.

>>> preset_values("reasoning", problems=30)
{'temperature': 0.6, 'top_p': 0.95, 'max_tokens': 32768, 'samples': 16}
>>> preset_values("reasoning", problems=1319)["samples"]
1
"""

from collections.abc import Callable
from typing import Any

from ._shared.thinking import ThinkingFormat
from .backends import Backend
from .settings import RunSettings

PRESETS: dict[str, dict[str, float]] = {"reasoning": {"temperature": 0.6, "top_p": 0.95, "max_tokens": 32_768}}
"""How papers on reasoning models sample: DeepSeek-R1 (arXiv 2501.12948), DLER (arXiv 2510.15110) and many others."""
_SAMPLES = ((100, 16), (1000, 4))
"""Samples for tasks of at most so many problems; larger ones get one. Our choice: small tasks need more samples."""
_GREEDY_LIMIT = 4096


def preset_values(name: str, problems: int) -> dict[str, Any]:
    """The values that a preset gives to flags.

    Args:
        name: Name of the preset, a key of `PRESETS`.
        problems: Number of problems of the largest task.
    """
    samples = next((samples for most, samples in _SAMPLES if problems <= most), 1)
    return {**PRESETS[name], "samples": samples}


def describe(name: str, values: dict[str, Any]) -> str:
    """A line about the values that a preset gave."""
    given = ", ".join(f"--{flag.replace('_', '-')} {value:g}" for flag, value in values.items())
    return f"preset {name}: {given or 'every flag is given, so it changes nothing'}"


def note_greedy(
    notify: Callable[[str], object] | None, settings: RunSettings, backend: Backend, thinking: ThinkingFormat
) -> None:
    """Give `notify` a line if a model that knows the tags of thinking runs greedily at the default limit."""
    default = (settings.temperature, settings.max_tokens) == (0, _GREEDY_LIMIT)
    readable = settings.server is None or settings.tokenizer is not None
    if notify is not None and default and readable and backend.has_token(thinking.open):
        notify(
            f"note: a thinking model at temperature 0 and {settings.max_tokens:,} tokens often loops or is cut; use "
            "--preset reasoning to sample as papers do"
        )
