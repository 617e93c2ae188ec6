"""One generation step, judged: rollouts of all processes in, rewards, advantages, accuracies and metrics out.

Pure: it sees the gathered table of facts and gives the same answer on every process. Generating, gathering and the
loss are left to the trainer adapters; prices move in `AccuracyConstraint`.

    judgement = judge(table, prompts, choose("chrpo"), group_size=10, prices=prices, mix=0.5, floor=1e-3)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ._shared.control_tokens import ControlTokens
from ._shared.records import Row
from .core.advantages import control_advantages, leave_one_out, response_weights
from .core.baselines import group_advantages
from .core.outcome import Bools, Floats, Ints, Outcomes
from .core.rewards import Rewards
from .errors import DataError
from .objective import Objective

_UNDERFLOW = -600.0


@dataclass(frozen=True)
class Prompts:
    """What is known of each prompt before any rollout; arrays over the rows of the prompts file, [prompts].

    Args:
        ladder: the ratios, rising, [ratios].
        policy: True if the model chooses.
        asked: the rung asked for; -1 where the model chooses.
        group: name of the constraint group.
        teacher_ratio: NaN where none.
        reference_tokens: thinking tokens of the frozen model at full length.
        reference_completion: all its completion tokens.
        floor_accuracy: what the frozen model gets here: at full length if the model chooses, else at the asked ratio.
    """

    ladder: Floats
    policy: Bools
    asked: Ints
    group: list[str]
    teacher_ratio: Floats
    reference_tokens: Floats
    reference_completion: Floats
    floor_accuracy: Floats

    @classmethod
    def of(cls, rows: Sequence[Row], tokens: ControlTokens, by_difficulty: bool = False) -> "Prompts":
        """Read rows of an RL prompts file.

        Raises:
            DataError: a prompt that ends in no control token or in another mode's, or a field that its mode needs is
                missing.
        """
        rungs = {name: rung for rung, name in enumerate(tokens.ratios)}
        asked, groups, floors = [], [], []
        for row in rows:
            token = row["prompt"][-1]["content"].split()[-1:]
            rung = rungs.get(token[0]) if token else None
            chooses = row["mode"] == "policy"
            wanted = tokens.policy if chooses else "a ratio token"
            if (token != [tokens.policy]) if chooses else (rung is None):
                raise DataError(f"id {row['id']!r}: prompt: a {row['mode']} prompt must end in {wanted}; got {token}")
            ratio = None if chooses or rung is None else f"{list(tokens.ratios.values())[rung]:g}"
            name = "policy" if ratio is None else f"fixed@{ratio}"
            asked.append(-1 if chooses else rung)
            groups.append(f"{name}/{_field(row, 'difficulty')}" if by_difficulty else name)
            floors.append(row["reference_accuracy"] if ratio is None else _reference_accuracy(row, ratio))
        return cls(
            np.array(list(tokens.ratios.values())),
            np.array([row["mode"] == "policy" for row in rows]),
            np.array(asked, dtype=np.int64),
            groups,
            np.array([row["teacher_ratio"] for row in rows], dtype=float),
            np.array([row["reference_tokens"] for row in rows], dtype=float),
            np.array([row.get("reference_completion_tokens", row["reference_tokens"]) for row in rows], dtype=float),
            np.array(floors, dtype=float),
        )

    def floors(self, eps: float) -> dict[str, float]:
        """Group -> mean accuracy of the frozen model minus `eps`, not below 0.

        Raises:
            DataError: `eps` is no share of the problems.
        """
        if not 0 <= eps < 1:
            raise DataError(f"eps must be in [0, 1), such as 0.02 for 2 points; got {eps:g}")
        names = np.array(self.group)
        return {
            name: max(0.0, float(self.floor_accuracy[names == name].mean()) - eps) for name in sorted(set(self.group))
        }


def _field(row: Row, name: str) -> object:
    if name not in row:
        raise DataError(f"id {row['id']!r}: {name}: field is missing; write the prompts with `chrpo prepare`")
    return row[name]


def _reference_accuracy(row: Row, ratio: str) -> float:
    accuracies = _field(row, "reference_accuracies")
    if not isinstance(accuracies, Mapping) or ratio not in accuracies:
        raise DataError(f"id {row['id']!r}: reference_accuracies: no accuracy at {ratio}, which the prompt asks for")
    return float(accuracies[ratio])


@dataclass(frozen=True)
class Table:
    """The facts of all rollouts of a step, groups adjacent.

    Args:
        row: index into `Prompts`, [rollouts].
        rung: of the forced control token, [rollouts].
        format_ok, correct, truncated: see `rollout.Facts`, [rollouts].
        thinking_tokens, completion_tokens, integrity: see `rollout.Facts`, [rollouts].
        policy: probability of each ratio after the prompt, renormalised over the ladder, [rollouts, ratios].
        ladder_mass: probability that the model puts on the ladder at all, [rollouts].
    """

    row: Ints
    rung: Ints
    format_ok: Bools
    correct: Bools
    truncated: Bools
    thinking_tokens: Floats
    completion_tokens: Floats
    integrity: Floats
    policy: Floats
    ladder_mass: Floats

    @classmethod
    def of(cls, columns: Floats) -> "Table":
        """From one row a rollout: row, rung, `rollout.Facts` in order, log-probability of each ratio token."""
        row, rung, format_ok, correct, truncated, thinking, completion, integrity = columns[:, :8].T
        log_probs = columns[:, 8:]
        # Where a cold model puts next to nothing on the ladder, exp would be 0 for all of it.
        most = log_probs.max(axis=1)
        shift = np.where(most < _UNDERFLOW, most, 0.0)
        probabilities = np.exp(log_probs - shift[:, None])
        mass = probabilities.sum(axis=1)
        return cls(
            row=row.astype(np.int64),
            rung=rung.astype(np.int64),
            format_ok=format_ok.astype(bool),
            correct=correct.astype(bool),
            truncated=truncated.astype(bool),
            thinking_tokens=thinking,
            completion_tokens=completion,
            integrity=integrity,
            policy=probabilities / mass[:, None],
            ladder_mass=mass * np.exp(shift),
        )


@dataclass(frozen=True)
class Judgement:
    """What a step teaches; arrays over rollouts.

    Args:
        reward: [rollouts].
        control: advantage of the control token, before `control_weight`.
        response: advantage of every response token.
        dead: True where the rollouts that a response is compared with have no signal.
        measured: constraint group -> (sum of accuracies, prompts).
        attainable: the same for the best ratio of each prompt, where each was rolled out at every ratio.
        metrics: name -> number, for people.
    """

    reward: Floats
    control: Floats
    response: Floats
    dead: Bools
    measured: dict[str, tuple[float, float]]
    attainable: dict[str, tuple[float, float]]
    metrics: dict[str, float]


def judge(
    table: Table,
    prompts: Prompts,
    objective: Objective,
    *,
    group_size: int,
    prices: Mapping[str, float],
    mix: float,
    floor: float,
) -> Judgement:
    """Judge a step.

    Args:
        table: facts of all processes; rows of one prompt are adjacent, `group_size` of them.
        prompts: what is known of each prompt.
        objective: what is rewarded, and how.
        group_size: rollouts per prompt.
        prices: constraint group -> lambda.
        mix: see `response_weights`.
        floor: see `control_advantages`.
    """
    rollouts, ratios = table.policy.shape
    group = np.arange(rollouts) // group_size
    chosen = prompts.policy[table.row]
    outcomes = _outcomes(table, prompts, chosen, group)
    price = np.array([prices[prompts.group[row]] for row in table.row])
    rewards = objective.reward(outcomes, price)

    split = objective.credit == "split"
    compared = leave_one_out(rewards.main, group * ratios + table.rung if split else group)
    advantages = compared.advantages if split else group_advantages(rewards.main, group, scale=objective.scaled)
    control = _control(table, rewards, objective, advantages, chosen, group, floor)
    spread = chosen & objective.stratified
    counts = np.bincount(group * ratios + table.rung, minlength=rollouts // group_size * ratios).reshape(-1, ratios)
    weights = response_weights(table.policy[::group_size], mix, counts)[group, table.rung]

    expected = _expectations(table, prompts, spread, group, counts)
    first = table.row[::group_size]
    measured = _sums(first, expected["accuracy"], prompts)
    everywhere = spread[::group_size]
    attainable = _sums(first[everywhere], _best_accuracy(table, group, counts)[everywhere], prompts)
    metrics = _metrics(table, prompts, outcomes, chosen, rewards.main, compared.dead, expected, group_size)
    return Judgement(
        rewards.main, control, advantages * np.where(spread, weights, 1.0), compared.dead, measured, attainable, metrics
    )


def _control(
    table: Table, rewards: Rewards, objective: Objective, whole: Floats, chosen: Bools, group: Ints, floor: float
) -> Floats:
    """Advantage of each control token; 0 where the user asked for the ratio."""
    if objective.credit != "split":
        return np.where(chosen, whole, 0.0)
    earned = rewards.main + rewards.control
    if not objective.stratified:
        return np.where(chosen, leave_one_out(earned, group).advantages, 0.0)
    control = np.zeros(len(chosen))
    if chosen.any():
        _, start, prompt = np.unique(group[chosen], return_index=True, return_inverse=True)
        control[chosen] = control_advantages(
            earned[chosen],
            prompt=prompt,
            ratio=table.rung[chosen],
            policy=table.policy[chosen][start],
            floor=floor,
        ).advantages
    return control


def _sums(rows: Ints, values: Floats, prompts: Prompts) -> dict[str, tuple[float, float]]:
    """Constraint group -> (sum of values, count)."""
    sums: dict[str, tuple[float, float]] = {}
    for row, value in zip(rows.tolist(), values.tolist(), strict=True):
        total, count = sums.get(prompts.group[row], (0.0, 0.0))
        sums[prompts.group[row]] = total + value, count + 1
    return sums


def _best_accuracy(table: Table, group: Ints, counts: Ints) -> Floats:
    """The share right at the best ratio of each prompt."""
    cell = group * counts.shape[1] + table.rung
    right = np.bincount(cell, table.correct, counts.size).reshape(counts.shape)
    return (right / np.maximum(counts, 1)).max(axis=1, initial=0.0)


def _outcomes(table: Table, prompts: Prompts, chosen: Bools, group: Ints) -> Outcomes:
    reference = prompts.reference_tokens[table.row]
    whole = prompts.reference_completion[table.row]
    # Text beyond what the frozen model writes outside its thinking block is thinking that was moved, so it counts.
    moved = table.completion_tokens - np.maximum(whole - reference, 0)
    return Outcomes.of(
        format_ok=table.format_ok,
        correct=table.correct,
        asked_ratio=prompts.ladder[table.rung],
        realised_ratio=np.maximum(table.thinking_tokens, moved) / reference,
        cost=table.completion_tokens / whole,
        teacher_ratio=prompts.teacher_ratio[table.row],
        policy=chosen,
        integrity=table.integrity,
        prompt=group,
    )


def _expectations(table: Table, prompts: Prompts, spread: Bools, group: Ints, counts: Ints) -> dict[str, Floats]:
    """Per prompt, what its own policy would get: sum over c of pi(c|q) x mean(q, c) if rolled out at every ratio."""
    own = table.policy[np.arange(len(group)), table.rung] / counts[group, table.rung]
    weight = np.where(spread, own, 1 / (len(group) // len(counts)))
    cost = table.completion_tokens / prompts.reference_completion[table.row]
    values = {
        "accuracy": table.correct.astype(float),
        "cost": cost,
        "thinking_tokens": table.thinking_tokens,
        "ratio": prompts.ladder[table.rung],
    }
    return {name: (weight * value).reshape(len(counts), -1).sum(axis=1) for name, value in values.items()}


def _metrics(
    table: Table,
    prompts: Prompts,
    outcomes: Outcomes,
    chosen: Bools,
    reward: Floats,
    dead: Bools,
    expected: Mapping[str, Floats],
    group_size: int,
) -> dict[str, float]:
    policy_prompts = chosen[::group_size]
    right = table.correct & table.format_ok
    tiers = {"right": right, "wrong": table.format_ok & ~table.correct, "format_failure": ~table.format_ok}
    metrics = {
        "accuracy": float(table.correct.mean()),
        "format_failures": float((~table.format_ok).mean()),
        "truncated": float(table.truncated.mean()),
        "dead_groups": float(dead.mean()),
        "reward": float(reward.mean()),
        "calibration_error": float(np.abs(outcomes.realised_ratio - outcomes.asked_ratio).mean()),
    }
    for name, members in tiers.items():
        if members.any():
            metrics[f"reward/{name}"] = float(reward[members].mean())
    for name, values in expected.items():
        if policy_prompts.any():
            metrics[f"policy/{name}"] = float(values[policy_prompts].mean())
    if policy_prompts.any():
        policy = table.policy[::group_size][policy_prompts]
        metrics["policy/entropy"] = float(-(policy * np.log(np.maximum(policy, 1e-30))).sum(axis=1).mean())
        metrics["policy/ladder_mass"] = float(table.ladder_mass[chosen].mean())
    for rung, ratio in enumerate(prompts.ladder.tolist()):
        here = table.rung == rung
        if here.any():
            metrics[f"ratio/{ratio:g}/accuracy"] = float(table.correct[here].mean())
            metrics[f"ratio/{ratio:g}/thinking_tokens"] = float(table.thinking_tokens[here].mean())
            metrics[f"ratio/{ratio:g}/realised"] = float(outcomes.realised_ratio[here].mean())
        if policy_prompts.any():
            share = table.policy[::group_size][policy_prompts][:, rung].mean()
            metrics[f"policy/share/{ratio:g}"] = float(share)
    return metrics
