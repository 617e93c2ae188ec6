"""Differences between the supported releases of TRL, 0.29 to 1.16, and a check of the release.

TRL from 1.15 on computes log-probabilities in a fused output head, and before that makes the logits, or, in some
releases and by default, the loss alone. What they are used for is left to `trainer` and `heldout_loss`.

    check_version()                                      # raises RatioSftError if TRL is older or newer
"""

from typing import Any

import torch
import trl
from trl.trainer import utils

from ratio_sft._shared.trl_release import refusal
from ratio_sft.errors import RatioSftError

from .encoding import IGNORED

_FUSED = hasattr(utils, "add_fused_lm_head")


def check_version() -> None:
    """Refuse a release of TRL that this package was not tested with.

    Raises:
        RatioSftError: TRL is older or newer, or is 1.15 and lacks triton.
    """
    if complaint := refusal(trl.__version__, "ratio-sft does not train with"):
        raise RatioSftError(complaint)


def loss_options(*, weighted: bool) -> dict[str, Any]:
    """Options of SFTConfig with which the model gives `weigh` what it needs."""
    return {"loss_type": "nll"} if weighted and not _FUSED else {}


def token_log_probs(model: Any, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each label after the first, 0 where none is counted, and which are, [lines, width - 1].

    Args:
        model: The model that SFTTrainer has prepared.
        inputs: A batch of the collator, with labels.
    """
    if _FUSED:
        found = model(**inputs, fused_lm_head=True)
        return found.log_probs, found.label_mask
    logits = model(**{name: value for name, value in inputs.items() if name != "labels"}).logits
    return _of_labels(logits, inputs["labels"])


def weigh(found: Any, inputs: dict[str, Any], weights: torch.Tensor) -> Any:
    """The outputs from which SFTTrainer takes its loss, with the term of each token multiplied by its weight.

    Args:
        found: The outputs of the model.
        inputs: The inputs that SFTTrainer called the model with.
        weights: Weight of each token, [lines, width].
    """
    if _FUSED:
        found.log_probs = found.log_probs * weights[:, 1:]
        return found
    log_probs, counted = _of_labels(found.logits, inputs["labels"])
    found.loss = -(log_probs * weights[:, 1:]).sum() / inputs.get("num_items_in_batch", counted.sum())
    return found


def _of_labels(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    labels = labels[:, 1:]
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return -loss.view(labels.shape), labels != IGNORED
