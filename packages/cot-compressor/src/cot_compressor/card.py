"""The model card of a trained scorer: `README.md` in its folder, and the page of the model on a hub.

It says what the model is for, what it was trained on, how well it did on held-out questions, and under which licence
its base is. Uploading it is left to `hub.py`.

    (folder / "README.md").write_text(model_card(report, annotators, Path("models/encoder")))
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__

if TYPE_CHECKING:
    from .train import TrainReport

_HEADER_CHARS = 4000
_LICENCE = re.compile(r"\A---\n(?:.*\n)*?license:\s*(\S+)\n(?:.*\n)*?---\n")


def model_card(report: "TrainReport", annotators: Sequence[str], encoder: Path) -> str:
    """Markdown with the header that hubs read.

    Args:
        report: How training went.
        annotators: Who marked the rows, as JSON.
        encoder: The folder training started from; the licence is read from its own card.
    """
    base = encoder.absolute().name
    licence = _licence(encoder)
    drop, keep = report.class_weights
    header = ["library_name: cot-compressor", "pipeline_tag: token-classification"]
    if licence:
        header.insert(0, f"license: {licence}")
    terms = (
        f"The base's own card says `{licence}`; a model trained from it is under the same terms."
        if licence
        else "The folder of the base names none. Look it up, and add `license:` to the header above before publishing."
    )
    if report.from_scratch:
        base, terms = f"the configuration of {base}, from random weights", "Yours to choose: the weights have no base."
    stamps = map(json.loads, annotators)
    marked = "; ".join(f"`{one['name']} {one['version']}`, `{json.dumps(one['settings'])}`" for one in stamps)
    ranking = "\n".join(
        f"| tokens to keep among the first {ratio} | {value:.3f} |" for ratio, value in report.ranking.items()
    )
    return f"""\
---
{chr(10).join(header)}
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
- Labels by {marked}.
- Of the tokens, {report.keep_share:.0%} are to be kept; loss weights drop {drop:.2f}, keep {keep:.2f}.
- {report.epochs} epochs at learning rate {report.learning_rate:g}, windows of {report.max_length} tokens.
- The weights are those after epoch {report.best_epoch}. All else is in `manifest.json` and `compressor.json`.
- Made with cot-compressor {__version__}.

## On the held-out questions

| measure | value |
|---|---|
| macro-F1 of keep and drop | {max(report.macro_f1):.3f} |
{ranking}

These numbers say how well the annotator is imitated, not how good what it keeps is; `cot-compressor evaluate` measures
that.

## Limits

It ranks and never rewords. It knows texts like those it was trained on; a threshold on its scores does not carry over
to another model.

## Licence

{terms}
"""


def _licence(encoder: Path) -> str | None:
    """What the card in a model folder says, if there is one."""
    card = encoder / "README.md"
    found = _LICENCE.match(card.read_text("utf-8", "replace")[:_HEADER_CHARS]) if card.is_file() else None
    return found[1] if found else None
