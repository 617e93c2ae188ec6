"""Rewards, advantages, accuracies and metrics of one step.

Pure: every process computes the same result from the same batch. Generating rollouts and the loss are left to the
adapters; the price of each group (the Lagrange multiplier lambda of its accuracy) is moved by `step`.

    result = score_step(batch, prompts, choose("chrpo"), group_size=10, prices=prices)
    result.control, result.response                      # advantages, [rollouts] each
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .batch import RolloutBatch
from .core.advantages import (
    MIN_RATIO_PROB,
    ON_POLICY_WEIGHT,
    control_advantages,
    leave_one_out,
    response_weights,
)
from .core.constraint import Paired
from .core.outcome import Bools, Floats, Ints, Outcomes
from .core.rewards import Rewards
from .credit import response_advantages, rollout_advantages
from .objective import Objective
from .prompts import PromptTable
from .rollout import EMPTY_THINKING


@dataclass(frozen=True)
class StepResult:
    """Rewards and advantages of one step.

    Args:
        reward: Reward of each rollout, [rollouts].
        control: Advantage of each control token, before the factors of `CHRPOController.token_advantages`, [rollouts].
        response: Advantage of each rollout's response tokens, before these factors, [rollouts].
        hold: Weight of each control token in the part of the loss that makes first tokens which are no ratio less
            likely, [rollouts].
        no_signal: True if all rollouts that a response is compared with have its reward, [rollouts].
        measured: Sum of accuracies and number of prompts of each constraint group.
        attainable: The same at the best ratio of each prompt that was rolled out at every ratio.
        paired: Sums that compare the accuracies with the reference accuracies of the same prompts.
        metrics: Metrics of the step, by name.
    """

    reward: Floats
    control: Floats
    response: Floats
    hold: Floats
    no_signal: Bools
    measured: dict[str, tuple[float, float]]
    attainable: dict[str, tuple[float, float]]
    paired: dict[str, Paired]
    metrics: dict[str, float]


def score_step(
    batch: RolloutBatch,
    prompts: PromptTable,
    objective: Objective,
    *,
    group_size: int,
    prices: Mapping[str, float],
    on_policy_weight: float = ON_POLICY_WEIGHT,
    min_ratio_prob: float = MIN_RATIO_PROB,
) -> StepResult:
    """Score a step.

    Args:
        batch: Rollouts of all processes; the `group_size` rollouts of a prompt are adjacent.
        prompts: Facts about each prompt.
        objective: Objective with its reward and credit.
        group_size: Number of rollouts per prompt.
        prices: Lambda of each constraint group.
        on_policy_weight: See `core.advantages.response_weights`.
        min_ratio_prob: See `core.advantages.control_advantages`.

    Raises:
        DataError: the batch does not fit the prompts or the objective.
    """
    rollouts, ratios = batch.policy.shape
    group = np.arange(rollouts) // group_size
    cell = group * ratios + batch.ratio_index
    chosen = prompts.policy[batch.row]
    outcomes = _outcomes(batch, prompts, chosen, group)
    rewards = objective.rewards(outcomes, np.array([prices[prompts.group[row]] for row in batch.row]))

    stratified = prompts.at_every_ratio(batch.row, objective.ladder_share)
    counts = np.bincount(cell, minlength=rollouts // group_size * ratios).reshape(-1, ratios)
    reference = prompts.reference_accuracy[batch.row]
    compared = rollout_advantages(objective, rewards.main, outcomes, group=group, cell=cell, reference=reference)
    control = _control(
        batch, rewards, objective, compared.advantages, chosen, stratified, group=group, min_ratio_prob=min_ratio_prob
    )
    policy = batch.policy[::group_size]
    weights = response_weights(policy, on_policy_weight, counts)[group, batch.ratio_index]

    expected = _expectations(batch, prompts, stratified, group, counts)
    first, at_every_ratio = batch.row[::group_size], stratified[::group_size]
    known = _known_policies(policy, chosen[::group_size], at_every_ratio)
    best = _best_accuracy(batch, group, counts)
    return StepResult(
        reward=rewards.main,
        control=control,
        response=response_advantages(objective, compared.advantages, outcomes) * np.where(stratified, weights, 1.0),
        hold=_hold(batch, chosen, stratified, counts[group]),
        no_signal=compared.no_signal,
        measured=_sums(first, expected["accuracy"], prompts),
        attainable=_sums(first[at_every_ratio], best[at_every_ratio], prompts),
        paired=_paired(first, expected["accuracy"], at_every_ratio, prompts),
        metrics={
            **_rollout_metrics(batch, outcomes, rewards.main, compared.no_signal),
            **_expected_metrics(chosen[::group_size], expected),
            **(_ladder_metrics(batch, prompts, outcomes, known) if prompts.control else {}),
        },
    )


def _control(
    batch: RolloutBatch,
    rewards: Rewards,
    objective: Objective,
    rollout_advantages: Floats,
    chosen: Bools,
    stratified: Bools,
    *,
    group: Ints,
    min_ratio_prob: float,
) -> Floats:
    """Advantage of each control token; 0 where the user requested the ratio."""
    if objective.credit != "split":
        return np.where(chosen, rollout_advantages, 0.0)
    earned = rewards.main + rewards.control
    control = np.where(chosen, leave_one_out(earned, group).advantages, 0.0)
    if stratified.any():
        _, start, prompt = np.unique(group[stratified], return_index=True, return_inverse=True)
        control[stratified] = control_advantages(
            earned[stratified],
            prompt=prompt,
            ratio=batch.ratio_index[stratified],
            policy=batch.policy[stratified][start],
            min_ratio_prob=min_ratio_prob,
        ).advantages
    return control


def _hold(batch: RolloutBatch, chosen: Bools, stratified: Bools, counts: Ints) -> Floats:
    """Weight h of each control token, such that the sum of h x grad log pi(token) is n x grad log M.

    M is the probability of the ladder among all first tokens, or, where the user requested a ratio, that of its token;
    n is the number of the prompt's rollouts. Where the policy is not known, h is 0: see docs/objective.md.
    """
    place = (np.arange(len(counts)), batch.ratio_index)
    shared = batch.policy[place] * counts.sum(axis=1) / counts[place]
    return np.where(stratified, shared, np.where(chosen, 0.0, 1.0))


def _sums(rows: Ints, values: Floats, prompts: PromptTable) -> dict[str, tuple[float, float]]:
    """Constraint group -> (sum of values, count)."""
    sums: dict[str, tuple[float, float]] = {}
    for row, value in zip(rows.tolist(), values.tolist(), strict=True):
        total, count = sums.get(prompts.group[row], (0.0, 0.0))
        sums[prompts.group[row]] = total + value, count + 1
    return sums


def _paired(rows: Ints, accuracy: Floats, at_every_ratio: Bools, prompts: PromptTable) -> dict[str, Paired]:
    """Constraint group -> sums that compare the accuracies with the reference accuracies."""
    deviation, found = prompts.deviation[rows], {}
    names = np.array([prompts.group[row] for row in rows.tolist()])
    for name in dict.fromkeys(names.tolist()):
        own = names == name
        d = deviation[own]
        sums = d.sum(), d @ accuracy[own], d @ d, deviation[own & at_every_ratio].sum()
        found[name] = Paired(*map(float, sums))
    return found


def _best_accuracy(batch: RolloutBatch, group: Ints, counts: Ints) -> Floats:
    """Share of correct rollouts at the best ratio of each prompt, [prompts]."""
    cell = group * counts.shape[1] + batch.ratio_index
    correct = np.bincount(cell, batch.correct, counts.size).reshape(counts.shape)
    return (correct / np.maximum(counts, 1)).max(axis=1, initial=0.0)


def _outcomes(batch: RolloutBatch, prompts: PromptTable, chosen: Bools, group: Ints) -> Outcomes:
    reference = prompts.reference_tokens[batch.row]
    whole = prompts.reference_completion[batch.row]
    # Text outside the thinking block counts as thinking if the frozen model writes less there: it may have been moved.
    moved = batch.completion_tokens - np.maximum(whole - reference, 0)
    ratio = prompts.ladder[batch.ratio_index]
    asked_empty = (ratio == 0) & (batch.thinking_tokens == 0)
    return Outcomes.of(
        format_ok=batch.format_ok,
        correct=batch.correct,
        requested_ratio=ratio,
        realised_ratio=np.maximum(batch.thinking_tokens, moved) / reference,
        cost=batch.completion_tokens / whole,
        teacher_ratio=prompts.teacher_ratio[batch.row],
        policy=chosen,
        integrity=batch.integrity - EMPTY_THINKING * asked_empty,
        prompt=group,
        tokens=batch.completion_tokens,
    )


def _expectations(
    batch: RolloutBatch, prompts: PromptTable, stratified: Bools, group: Ints, counts: Ints
) -> dict[str, Floats]:
    """Expectations under the policy of each prompt, [prompts].

    sum over c of pi(c|q) x mean(q, c) if the prompt was rolled out at every ratio, else the mean over its rollouts.
    """
    own = batch.policy[np.arange(len(group)), batch.ratio_index] / counts[group, batch.ratio_index]
    weight = np.where(stratified, own, 1 / (len(group) // len(counts)))
    cost = batch.completion_tokens / prompts.reference_completion[batch.row]
    values = {"accuracy": batch.correct.astype(float), "cost": cost, "thinking_tokens": batch.thinking_tokens}
    if prompts.control:
        values["ratio"] = prompts.ladder[batch.ratio_index]
    return {name: (weight * value).reshape(len(counts), -1).sum(axis=1) for name, value in values.items()}


def _rollout_metrics(batch: RolloutBatch, outcomes: Outcomes, reward: Floats, no_signal: Bools) -> dict[str, float]:
    correct = batch.correct & batch.format_ok
    tiers = {"right": correct, "wrong": batch.format_ok & ~batch.correct, "format_failure": ~batch.format_ok}
    return {
        "accuracy": float(batch.correct.mean()),
        "format_failures": float((~batch.format_ok).mean()),
        "truncated": float(batch.truncated.mean()),
        "generated_tokens": float(batch.completion_tokens.sum()),
        "dead_groups": float(no_signal.mean()),
        "reward": float(reward.mean()),
        **{f"reward/{name}": float(reward[members].mean()) for name, members in tiers.items() if members.any()},
    }


def _known_policies(policy: Floats, chosen: Bools, at_every_ratio: Bools) -> Bools:
    """Prompts whose policies are described by metrics, [prompts]: all in which the model chooses, if all are known.

    Otherwise those rolled out at every ratio: where ratios are drawn, the policies that become known are the flat ones.
    """
    return chosen if np.isfinite(policy[chosen]).all() else at_every_ratio


def _expected_metrics(chosen: Bools, expected: Mapping[str, Floats]) -> dict[str, float]:
    """Expectations of the prompts in which the model chooses the ratio, or its length without control tokens."""
    return {f"policy/{name}": float(values[chosen].mean()) for name, values in expected.items() if chosen.any()}


def _ladder_metrics(batch: RolloutBatch, prompts: PromptTable, outcomes: Outcomes, known: Bools) -> dict[str, float]:
    """Metrics of known policies, and of each ratio: its rollouts, and its mean probability in known policies."""
    metrics = {"calibration_error": float(np.abs(outcomes.realised_ratio - outcomes.requested_ratio).mean())}
    group_size = len(batch.row) // len(known)
    policy = batch.policy[::group_size][known]
    if known.any():
        metrics["policy/entropy"] = float(-(policy * np.log(np.maximum(policy, 1e-30))).sum(axis=1).mean())
        metrics["policy/ladder_mass"] = float(batch.ladder_mass[::group_size][known].mean())
    for index, ratio in enumerate(prompts.ladder.tolist()):
        here = batch.ratio_index == index
        if here.any():
            metrics[f"ratio/{ratio:g}/accuracy"] = float(batch.correct[here].mean())
            metrics[f"ratio/{ratio:g}/thinking_tokens"] = float(batch.thinking_tokens[here].mean())
            metrics[f"ratio/{ratio:g}/realised"] = float(outcomes.realised_ratio[here].mean())
        if known.any():
            metrics[f"policy/share/{ratio:g}"] = float(policy[:, index].mean())
    return metrics
