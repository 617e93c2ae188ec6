"""Makes docs/models.md: what becomes of each chat template, of TRL's and of published models, with and without a ratio.

Every line is measured: the template is wrapped as `ratio-sft train` wraps it and rendered in each mode, and the same
three completions are read by SFT, RL and evaluation. `test_models_page` compares the page with this.

    python -m tests.models_page > docs/models.md
"""

from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from chrpo import RolloutReader
from math_eval._shared.thinking import split_thinking
from math_eval.grading.final_text import final_text
from ratio_sft import ControlTokens, MixSettings, mix
from ratio_sft._shared.thinking import ThinkingFormat
from ratio_sft._shared.thinking_formats import FORMATS, format_of, template_format
from ratio_sft.errors import DataError
from ratio_sft.model import template
from ratio_sft.model.tokens import add_to_tokenizer
from ratio_sft.training.encoding import response_text

from .published_templates import PUBLISHED

TOKENS = ControlTokens.ladder((0, 0.4, 1))
QUESTION = "Add 1 and 2."
USER = [{"role": "user", "content": QUESTION}]
SWITCHED = {
    "qwen3": (0, "/no_think"),
    "gptoss": (0.4, "reasoning_effort=low"),
    "qwen3_8": (0.4, "reasoning_effort=low"),
}
"""Templates of models that have learned a switch of their own: the ratio that it asks for here, and the switch."""
MODES = {"no ratio": {"ratio": None}, "ratio 0.4": {"ratio": 0.4}, "no thinking": {"enable_thinking": False}}


@dataclass(frozen=True)
class Found:
    """What becomes of one template.

    Args:
        names: Names of the templates for which it is the same.
        format: Name of the thinking format; empty if the template shows none.
        thinking: The format as a checkpoint of ratio-sft has it; None if the template is refused.
        prompts: Mode -> rendered prompt from the question on.
        first: First token of the response that asks for ratio .4, and the text before it.
        refused: Why the template is refused.
    """

    names: tuple[str, ...]
    format: str
    thinking: ThinkingFormat | None
    prompts: tuple[tuple[str, str], ...]
    first: str
    refused: str


def templates() -> dict[str, str]:
    """Name -> chat template: those of the installed TRL, then the published ones."""
    folder = files("trl").joinpath("chat_templates")
    own = {
        file.name.removesuffix(".jinja"): file.read_text("utf-8") for file in folder.iterdir() if ".jinja" in file.name
    }
    return {**dict(sorted(own.items())), **{name: found[0] for name, found in PUBLISHED.items()}}


def tokenizer_of(chat_template: str) -> Any:
    """A tokenizer of single bytes with this template; the tags of `FORMATS` that are one word are tokens, too."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({character: number for number, character in enumerate(alphabet)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="<eos>", pad_token="<pad>")
    made.add_tokens([tag for each in FORMATS.values() for tag in (each.open, each.close) if tag.count("<|") < 2])
    made.chat_template = chat_template
    return made


def measure(name: str, chat_template: str) -> Found:
    """What becomes of a template."""
    original, wrapped = tokenizer_of(chat_template), tokenizer_of(chat_template)
    try:
        shown = template_format(original)
        own = ["no ratio", *(["no thinking"] if "enable_thinking" in chat_template else [])]
        before = {mode: _rendered(original, MODES[mode]) for mode in own}
        add_to_tokenizer(wrapped, TOKENS)
        template.install(wrapped, TOKENS)
        thinking = format_of(wrapped)
        prompts = {mode: _rendered(wrapped, MODES[mode]) for mode in (*own, "ratio 0.4")}
    except DataError as error:
        return Found((name,), "", None, (), "", _reason(error))
    assert all(prompts[mode] == text for mode, text in before.items()), f"{name}: a prompt without a ratio has changed"
    format_name = next((known for known, each in FORMATS.items() if shown and each.open == shown.open), "")
    reader = RolloutReader(wrapped, TOKENS, [wrapped.eos_token_id], lambda completion, _: r"\boxed{3}" in completion)
    assert vars(reader.thinking_format) == vars(thinking)
    read = [_read_alike(wrapped, reader, prompts["ratio 0.4"], *parts) for parts in COMPLETIONS]
    tails = tuple((mode, text[text.index(QUESTION) :]) for mode, text in prompts.items())
    return Found((name,), format_name, thinking, tails, read[0], "")


COMPLETIONS = ((0.4, "1 + 2 = 3", r"It is \boxed{3}."), (0, "", r"It is \boxed{3}."), (0.4, "1 + 2", None))
"""Ratio, thinking and answer: a whole completion, one without thinking, and one that is cut inside its thinking."""


def _read_alike(tokenizer: Any, reader: RolloutReader, prompt: str, ratio: float, text: str, answer: str | None) -> str:
    """Read a completion as SFT, RL and evaluation do, and return its first token."""
    thinking = ThinkingFormat(**vars(reader.thinking_format))
    name = next(known for known, each in FORMATS.items() if each.open == thinking.open)
    rows = mix([_trace(text or "1")], MixSettings(ratios=(0, 0.4), heldout_share=0, thinking_format=name)).train
    built = next(each for each in rows if each["ratio"] == ratio and each["mode"] == "fixed")
    sft = response_text(built["completion"][0]["content"], thinking)
    if answer is None:
        sft = sft[: sft.index(text) + len(text)]
    expected = (text, answer or "", answer is not None)

    written = TOKENS.without_token(sft)
    read = thinking.split(written)
    assert (read.text, read.answer, read.closed) == expected, ("SFT", name, read)
    ids = tokenizer.encode(sft, add_special_tokens=False)
    assert tokenizer.convert_ids_to_tokens(ids[0]) == TOKENS.token(ratio)
    facts = reader.read([*ids[1:], *([tokenizer.eos_token_id] if answer else [])], "3")
    inside = len(tokenizer.encode(text, add_special_tokens=False)) if text else 0
    assert (facts.thinking_tokens, facts.format_ok, facts.correct) == (inside, bool(answer), bool(answer)), (
        "RL",
        facts,
    )
    seen = split_thinking(written, prompt, replace(thinking, opened=False))
    assert (seen.text, seen.answer, seen.closed) == expected, ("evaluation", seen)
    assert (final_text(written, prompt) or "").strip() == (answer or ""), ("grading", final_text(written, prompt))
    return tokenizer.convert_ids_to_tokens(ids[0])


def _trace(text: str) -> dict[str, Any]:
    entry = {"ratio": 0.4, "text": text, "spans": [], "tokens": 4, "original_tokens": 10, "achieved_ratio": 0.4}
    return {
        "id": "p", "question": QUESTION, "answer": "3", "cot": text, "response": r"It is \boxed{3}.", "model": "m",
        "correct": True, "sample": 0, "compressions": [{**entry, "tokenizer": "bytes"}],
    }  # fmt: skip


_PROMPT: dict[str, Any] = {"tokenize": False, "add_generation_prompt": True}


def _rendered(tokenizer: Any, asked: dict[str, Any]) -> str:
    return tokenizer.apply_chat_template(USER, **_PROMPT, **asked)


def _reason(error: DataError) -> str:
    return str(error).removeprefix("chat template: ").replace("\n", " ")


def switched(name: str) -> str:
    """What becomes of a ratio that a model's own switch asks for: the row of a table.

    The prompt must be the one that the original template renders of the switch.
    """
    ratio, switch = SWITCHED[name]
    tokens = ControlTokens.ladder((0, 0.4, 1), {ratio: switch})
    original, wrapped = (tokenizer_of(templates()[name]) for _ in range(2))
    add_to_tokenizer(wrapped, tokens)
    template.install(wrapped, tokens)
    variable, _, value = switch.partition("=")
    if value:
        own = _rendered(original, {variable: value})
    else:
        own = original.apply_chat_template([{"role": "user", "content": f"{QUESTION} {switch}"}], **_PROMPT)
    assert _rendered(wrapped, {"ratio": ratio}) == own, f"{name}: the prompt is not the model's own"
    if value:
        assert _rendered(wrapped, {variable: value}) == own, f"{name}: the variable does not ask for the ratio"
    settings = MixSettings(ratios=(0, 0.4), switches=((ratio, switch),), heldout_share=0)
    row = next(each for each in mix([_trace("1")], settings).train if each["ratio"] == ratio)
    assert row["prompt"][0]["content"].endswith(f" {switch}")
    first = row["completion"][0]["content"].partition("\n")[0]
    assert first == tokens.token(ratio)
    return f"| {name} | {ratio:g} | `{switch}` | `{first}` |"


def measured() -> list[Found]:
    """Every template, with those that behave alike together, in the order of their first names."""
    found: dict[Found, list[str]] = {}
    for name, text in templates().items():
        each = measure(name, text)
        found.setdefault(replace(each, names=()), []).append(name)
    return [replace(each, names=tuple(names)) for each, names in found.items()]


def page() -> str:
    """The content of docs/models.md."""
    found = measured()
    taught = [each for each in found if not each.refused]
    lines = [
        *_INTRODUCTION.format(version=trl.__version__, count=len(templates())).splitlines(),
        "",
        "| chat template | thinking | opened by | first response token |",
        "|---|---|---|---|",
        *[_line(each) for each in taught],
        "",
        *_OWN.splitlines(),
        "",
        "| chat template | ratio | switch | first response token |",
        "|---|---|---|---|",
        *map(switched, SWITCHED),
        "",
        "## Refused",
        "",
        "| chat template | why |",
        "|---|---|",
        *[f"| {_names(each)} | {_cell(each.refused)} |" for each in found if each.refused],
        "",
        "## Prompts",
        "",
        *_PROMPTS.splitlines(),
        "",
        *[line for each in taught for line in _prompts(each)],
    ]
    return "\n".join(lines).rstrip() + "\n"


_INTRODUCTION = """# Models

What `ratio-sft`, `chrpo` and `math-eval` make of a model's chat template. A test makes this page from {count}
templates: those that TRL {version} ships, with their names there (+ t: and its variant for training), and those of
published models, which we wrote as short as shows the protocol. Each was wrapped as `ratio-sft train` wraps it, with
the ladder 0, .4, 1:

- A prompt without a ratio is what the original template renders, byte for byte. So is a prompt that switches the
  thinking off.
- The first token of the response is the ratio token, also where the template opens the thinking block.
- Three completions (a whole one, one without thinking, one that is cut inside its thinking) are read alike by SFT, by
  RL and by evaluation: the same thinking, the same answer, closed or not.

A template that shows no thinking (–) belongs to a model that does not think yet; `ratio-sft train` teaches it to think
between `<think>` and `</think>`. Other tags are given with `--thinking-format`, or in `thinking_format.json` of the
folder. A ratio switches on the thinking of a template that has a switch (`enable_thinking`).
"""
_OWN = """## Switches of a model's own

A ratio of the ladder may be asked for with a switch that the model has learned before
([how](concepts/control-protocol.md#the-models-own-switch)). The prompt is then the one that the original template
renders of the switch, byte for byte; a client may also set the variable itself. The response opens with the ratio token
all the same."""
_PROMPTS = """The end of each prompt, from the question `Add 1 and 2.` on: without a ratio, with ratio .4, and with
`enable_thinking` off where the template has this switch."""


def _line(each: Found) -> str:
    thinking = each.thinking
    assert thinking is not None
    opened = "template" if thinking.opened else "model"
    return f"| {_names(each)} | {each.format or '–'} | {opened} | `{each.first}` |"


def _names(each: Found) -> str:
    """The names, each once with its variant for training."""
    variants = {name for name in each.names if name.removesuffix("_training") in set(each.names) - {name}}
    return ", ".join(
        f"{name}{' + t' * (f'{name}_training' in variants)}" for name in each.names if name not in variants
    )


def _prompts(each: Found) -> list[str]:
    width = max(len(mode) for mode, _ in each.prompts)
    shown = [f"{mode:{width}}  {text!r}" for mode, text in sorted(each.prompts)]
    return [f"{_names(each)}:", "", "```", *shown, "```", ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(page(), end="")
