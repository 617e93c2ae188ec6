"""Checks of the prompts of a run: a doubled begin token, a missing generation prompt, an opened or closed block.

The prompts are judged by their text, as the model got them. Everything else is left to `doctor`.

    prompt_findings(rows, manifest)[0].found      # '12 of 12 prompts begin with <s> twice'
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from math_eval._shared.records import Row
from math_eval._shared.thinking import ThinkingFormat
from math_eval.run_folders import run_format

from .finding import ERROR, OK, WARNING, Finding

_TWICE = re.compile(r"\s*((?:<[^<>\s]{1,60}>|\[[A-Z_]{1,20}\]))\s*\1")
_MARK = re.compile(r"<[^<>\s]{1,60}>|\[/?[A-Z_]{2,20}\]|^#{2,}|^(?:user|human)\s*:", re.IGNORECASE | re.MULTILINE)
_ANSWERER = re.compile(r"assistant|\bmodel\b|\bbot\b|\bgpt\b|response|answer|\[/INST\]|chatbot", re.IGNORECASE)


def prompt_findings(rows: Sequence[Row], manifest: dict[str, Any]) -> list[Finding]:
    """The findings about the prompts; one that nothing was found if there are none."""
    prompts = {row["prompt"]: row for row in rows}
    thinking = run_format(manifest)
    switched_off = manifest["settings"].get("thinking", {}).get("name") == "none"
    opened = [row for prompt, row in prompts.items() if prompt.rstrip().endswith(thinking.open)]
    again = [row for row in opened if row["completion"].lstrip().startswith(thinking.open)]
    checks: list[tuple[str, str, Callable[[str, Row], object], str]] = [
        (
            ERROR,
            "begin with the same special token twice",
            lambda prompt, row: _TWICE.match(prompt),
            "the chat template and the tokenizer both add the begin token; remove it from one and sample again",
        ),
        (
            WARNING,
            "have marks of a chat template before the question and none of an assistant's turn after it",
            _lacks_turn,
            "let the template end in the generation prompt (add_generation_prompt), or the model may go on with the "
            "question",
        ),
        (
            WARNING,
            "end in an empty thinking block, so the model did not think",
            lambda prompt, row: not switched_off and _ends_in_empty_block(prompt, thinking),
            "correct the template if the model was meant to think; otherwise name it with --thinking none",
        ),
    ]
    findings = [
        Finding("prompts", level, f"{len(hit):,} of {len(prompts):,} prompts {words}", remedy)
        for level, words, test, remedy in checks
        if (hit := [prompt for prompt, row in prompts.items() if test(prompt, row)])
    ]
    if again:
        findings.append(
            Finding(
                "prompts",
                WARNING,
                f"{len(again):,} of {len(opened):,} prompts open the thinking block, and the completion opens it again",
                "remove the tag from the template's generation prompt, or use a model that was tuned with it",
            )
        )
    if not findings:
        findings.append(Finding("prompts", OK, f"{len(prompts):,} prompts, {len(opened):,} of them open the thinking"))
    return findings


def _lacks_turn(prompt: str, row: Row) -> bool:
    """Whether marks of a template come before the question, and nothing after it names who answers."""
    question = row["question"].strip()
    if not question:
        return False
    # str.partition takes linear time; str.rpartition does not
    tail, found, head = (part[::-1] for part in prompt[::-1].partition(question[::-1]))
    return bool(found and _MARK.search(head) and not _ANSWERER.search(tail) and not tail.rstrip().endswith("think>"))


def _ends_in_empty_block(prompt: str, thinking: ThinkingFormat) -> bool:
    closing, text = (thinking.between + thinking.close).rstrip(), prompt.rstrip()
    return text.endswith(closing) and text.removesuffix(closing).rstrip().endswith(thinking.open.rstrip())
