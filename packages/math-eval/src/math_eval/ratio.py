"""The ratio that a sample was generated at: a number of the ladder, `policy`, or none.

Which ratios a checkpoint knows is left to its control tokens.

>>> parse_ratio("0.2"), parse_ratio("none")
(0.2, None)
>>> ratio_name(0.2), ratio_name(None)
('0.2', 'none')
"""

import math

from .errors import DataError

Ratio = float | str | None


def ratio_name(ratio: Ratio) -> str:
    """`0.2`, `policy` or `none`."""
    return "none" if ratio is None else ratio if isinstance(ratio, str) else str(float(ratio))


def parse_ratio(text: str) -> Ratio:
    """The inverse of `ratio_name`.

    Raises:
        DataError: The text is neither `policy`, `none` nor a number in [0, 1].
    """
    if text in ("none", "policy"):
        return None if text == "none" else text
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise DataError(f"ratio must be policy, none or a number in [0, 1]; got {text!r}. Write 20 % as 0.2.")
    return value
