"""The record of a training run: `TrainReport` in the settings of a scorer's folder, and the model card `README.md`.

The card describes what the model is for, what it was trained on, its metrics on held-out questions, and the licence of
its base model. It is also the page of the model on a hub; uploading it is left to `hub.py`.

    Path("models/compressor/README.md").write_text(model_card(report, annotators, Path("models/encoder")))
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cot_compressor._shared.terminal import printable
from cot_compressor._version import __version__

_HEADER_CHARS = 4000
_LICENCE = re.compile(r"\A---\n(?:.*\n)*?license:[ ]*([A-Za-z0-9][A-Za-z0-9.+_-]{0,63})\n(?:.*\n)*?---\n")
_TEMPLATE = """\
---
{header}
---

# A scorer for cot-compressor

Ranks the parts of a chain of thought by how much a reader needs them, given the question. `cot-compressor` keeps the
best ones under an exact token budget, formulas whole.

```python
from cot_compressor import Compressor

compressor = Compressor.from_pretrained("this folder, or owner/name@revision", tokenizer="models/base")
print(compressor.compress(cot, question=question, ratio=0.3).text)
```

## Training

- Base: {base}.
- Data: {report.train_rows} annotated chains of thought.
- Held out: {report.held_out_questions} questions, {report.held_out_rows} chains of thought.
- Labels by {labels}.
- {report.keep_share:.0%} of the tokens are labelled keep; loss weights drop {drop:.2f}, keep {keep:.2f}.
- {report.epochs} epochs at learning rate {report.learning_rate:g}, windows of {report.max_length} tokens.
- The weights are those after epoch {report.best_epoch}. `manifest.json` and `compressor.json` record everything else.
- Trained with cot-compressor {version}.

## On the held-out questions

| measure | value |
|---|---|
| macro-F1 of keep and drop | {best:.3f} |
{ranking}

These numbers measure how well the model imitates the annotator, not the quality of what it keeps; `cot-compressor
evaluate` measures that.

## Limits

The model ranks and never rewords. It is reliable on texts like its training data only. A threshold on its scores does
not carry over to another model.

## Licence

{terms}
"""


@dataclass(frozen=True)
class TrainReport:
    """The result of a training run."""

    train_rows: int
    """Number of rows trained on."""
    held_out_rows: int
    """Number of rows held out."""
    held_out_questions: int
    """Number of different questions held out."""
    keep_share: float
    """Share of the labelled training tokens with label keep."""
    class_weights: tuple[float, float]
    """Loss weights of drop and keep: inverse to their shares, with mean 1 over the tokens, at most 10."""
    from_scratch: bool
    """True if the encoder folder had no weights."""
    learning_rate: float
    """Peak learning rate."""
    max_length: int
    """Number of tokens in a window."""
    epochs: int
    """Number of epochs run."""
    best_epoch: int
    """Number of the epoch, from 1, whose weights were kept."""
    macro_f1: tuple[float, ...]
    """Macro-F1 on held-out tokens after each epoch."""
    ranking: dict[str, float]
    """`hits_at` of the kept weights at each ratio, mean over held-out windows that keep something."""

    def summary(self) -> str:
        """One line for the terminal."""
        start = "random weights (the encoder folder has none)" if self.from_scratch else "pretrained weights"
        ranking = ", ".join(f"{value:.3f} at {ratio}" for ratio, value in self.ranking.items()) or "nothing to rank"
        return (
            f"{self.train_rows} rows trained on, {self.held_out_rows} held out ({self.held_out_questions} questions); "
            f"from {start} at learning rate {self.learning_rate:g}, windows of {self.max_length} tokens; "
            f"{self.keep_share:.0%} of tokens to keep, loss weights drop {self.class_weights[0]:.2f} "
            f"keep {self.class_weights[1]:.2f}; held-out macro-F1 {max(self.macro_f1):.3f} "
            f"after epoch {self.best_epoch} of {self.epochs}; hits among the first tokens {ranking}"
        )


def model_card(report: TrainReport, annotators: Sequence[str], encoder: Path) -> str:
    """The model card as Markdown, with the header that hubs read.

    Args:
        report: Result of the training run.
        annotators: Name, version and settings of each annotator that marked the rows, as JSON.
        encoder: Folder of the model that training started from; its own card names the licence.
    """
    drop, keep = report.class_weights
    licence = _licence(encoder)
    header = ["library_name: cot-compressor", "pipeline_tag: token-classification"]
    if licence:
        header.insert(0, f"license: {licence}")
    marked = [json.loads(annotator) for annotator in annotators]
    ranking = (f"| tokens to keep among the first {ratio} | {value:.3f} |" for ratio, value in report.ranking.items())
    return _TEMPLATE.format(
        header="\n".join(header),
        base=f"the configuration of {_code(encoder.absolute().name)}, from random weights"
        if report.from_scratch
        else _code(encoder.absolute().name),
        report=report,
        labels="; ".join(f"{_code(by['name'], by['version'])}, {_code(json.dumps(by['settings']))}" for by in marked),
        drop=drop,
        keep=keep,
        version=__version__,
        best=max(report.macro_f1),
        ranking="\n".join(ranking),
        terms=_terms(report, licence),
    )


def _code(*words: object) -> str:
    """Words of strangers as code in Markdown: in one line, without a backtick or a control character."""
    return f"`{printable(' '.join(' '.join(map(str, words)).split())).replace('`', chr(39))}`"


def _terms(report: TrainReport, licence: str | None) -> str:
    if report.from_scratch:
        return "Yours to choose: the weights have no base."
    if licence:
        return f"The card of the base names `{licence}`; a model trained from it is under the same terms."
    return (
        "The folder of the base names no licence. Look it up, and add `license:` to the header above before publishing."
    )


def _licence(encoder: Path) -> str | None:
    """The licence that the card in a model folder names, if there is one."""
    card = encoder / "README.md"
    found = _LICENCE.match(card.read_text("utf-8", "replace")[:_HEADER_CHARS]) if card.is_file() else None
    return found[1] if found else None
