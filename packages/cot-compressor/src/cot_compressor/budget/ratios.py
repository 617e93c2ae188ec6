"""Ratios that a user asks for, and the token budgets they allow.

>>> check_ratios([0.4, 0.2, 0.4])
[0.2, 0.4]
>>> token_budget(0.7, 90)
63
"""

from collections.abc import Iterable

from cot_compressor.errors import DataError


def check_ratios(ratios: Iterable[float]) -> list[float]:
    """The different ratios in rising order.

    Raises:
        DataError: there is no ratio, or one is not in (0, 1].
    """
    found = sorted({float(ratio) for ratio in ratios})
    for ratio in found:
        if not 0 < ratio <= 1:
            hint = f" Did you mean {ratio / 100:g}?" if 1 < ratio <= 100 else ""
            raise DataError(f"ratio must be in (0, 1]; got {ratio:g}.{hint}")
    if not found:
        raise DataError("no ratio given; pass at least one in (0, 1]")
    return found


def token_budget(ratio: float, original_tokens: int) -> int:
    """The whole number of tokens that a ratio allows.

    Only the error of floating-point numbers is rounded away: 0.7 * 90 is 62.99….
    """
    return int(round(ratio * original_tokens, 6))
