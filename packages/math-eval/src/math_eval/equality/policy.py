"""What reasonable people judge differently, as named rules, and the three policies that switch them.

>>> POLICIES["strict"].one_unit, POLICIES["default"].one_unit
(False, True)
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Policy:
    """The rules; each is True if it makes two answers equal.

    Args:
        one_unit: `5 cm` equals `5`: a unit on one side only is left out, as are a percent sign and a currency.
        converted_units: `3.25 h` equals `3 h 15 min`, and `45°` equals `π/4`: known units are converted exactly.
        percent_either: `50%` equals both 0.5 and 50.
        positive_letters: `√(1/m)` equals `1/√m`: identities count where both sides are real.
        any_order: `2, 1` equals `1, 2`: a list without brackets has no order.
        irrational_decimals: a decimal with six places or more equals the irrational number that it rounds.
        equivalent_forms: an equation equals its multiples, an interval with an infinite or mixed end the inequality,
            a column the tuple, `x = 1, y = 2` the tuple `(1, 2)`.
        same_words: phrases with the same meaning are equal, such as `undefined` and `does not exist`.
        rounded: a decimal with three digits or more equals any number that it rounds.
        any_constant: `f(x) = kx` equals `f(x) = cx`: the name of one free constant does not matter.
        other_base: a number with its base equals its value in base ten.
        either_interval: `1 < x < 2` equals `(1, 2)`.
        any_case: `K` equals `k`.
    """

    one_unit: bool = True
    converted_units: bool = True
    percent_either: bool = True
    positive_letters: bool = True
    any_order: bool = True
    irrational_decimals: bool = True
    equivalent_forms: bool = True
    same_words: bool = True
    rounded: bool = False
    any_constant: bool = False
    other_base: bool = False
    either_interval: bool = False
    any_case: bool = False


POLICIES = {
    "strict": Policy(**dict.fromkeys((rule.name for rule in fields(Policy)), False)),
    "default": Policy(),
    "lenient": Policy(**dict.fromkeys((rule.name for rule in fields(Policy)), True)),
}
