r"""Units: their spellings, their dimensions and their exact sizes.

Whether two quantities are equal is left to `equality`. Symbols of one letter count only where they are set as text.

>>> find_unit("kilometres").size, find_unit("ft") == find_unit("feet"), find_unit("widget")
(Fraction(1000, 1), True, None)
"""

from fractions import Fraction
from typing import NamedTuple


class Unit(NamedTuple):
    """A known unit: its name, what it measures, and its size in the first unit of that dimension."""

    name: str
    dimension: str
    size: Fraction


_F = Fraction
_TABLE: dict[str, tuple[tuple[str, Fraction | int], ...]] = {
    "length": (
        ("m meter metre 米 м", 1), ("mm millimeter millimetre 毫米 мм", _F(1, 1000)),
        ("cm centimeter centimetre 厘米 公分 см", _F(1, 100)), ("dm decimeter decimetre 分米", _F(1, 10)),
        ("km kilometer kilometre 公里 千米 км", 1000), ("in inch inche inches", _F(254, 10000)),
        ("ft foot feet", _F(3048, 10000)),
        ("yd yard", _F(9144, 10000)), ("mi mile", _F(1609344, 1000)), ("nm nanometer nanometre", _F(1, 10**9)),
        ("μm micrometer micrometre", _F(1, 10**6)), ("furlong", _F(201168, 1000)),
    ),
    "time": (
        ("s sec second 秒 с", 1), ("min minute minuten minuto 分钟", 60),
        ("h hr hour 小时 时间 stunde heure hora ч", 3600),
        ("day 天 日 jour día tag", 86400), ("week wk 周", 604800), ("ms millisecond", _F(1, 1000)),
        ("μs microsecond", _F(1, 10**6)), ("ns nanosecond", _F(1, 10**9)), ("decade", 315569520),
        ("fortnight", 1209600),
    ),
    "months": (("month mo 个月 月", 1), ("year yr 年 jahr", 12), ("century", 1200)),
    "mass": (
        ("g gram gramme 克 г", 1), ("mg milligram", _F(1, 1000)), ("kg kilogram kilo 千克 公斤 кг", 1000),
        ("oz ounce", _F(45359237, 1600000)),
        ("lb pound lbs", _F(45359237, 100000)), ("ton tonne 吨", 10**6), ("μg microgram", _F(1, 10**6)),
    ),
    "volume": (
        ("l L liter litre 升", 1), ("ml milliliter millilitre 毫升", _F(1, 1000)),
        ("cl centiliter centilitre", _F(1, 100)),
        ("gal gallon", _F(473176473 * 8, 10**9)), ("cc", _F(1, 1000)), ("qt quart", _F(473176473 * 2, 10**9)),
        ("pint pt", _F(473176473, 10**9)),
        ("cup", _F(473176473, 2 * 10**9)), ("tablespoon tbsp", _F(473176473, 32 * 10**9)),
        ("teaspoon tsp", _F(473176473, 96 * 10**9)),
    ),
    "area": (("acre", 1), ("ha hectare", _F(10**9, 404685642 * 10) * 10)),
    "angle": (("degree deg 度 °", 1), ("arcminute", _F(1, 60)), ("arcsecond", _F(1, 3600))),
    "turn": (("rad radian", 1),), "revolutions": (("revolution rev turn", 1),),
    "celsius": (("°C degC celsius 摄氏度 centigrade", 1),), "fahrenheit": (("°F degF fahrenheit", 1),),
    "kelvin": (("K kelvin", 1),),
    "money": (("dollar usd $ 美元 buck US$", 1), ("cent ¢ 美分", _F(1, 100))), "euro": (("euro € eur 欧元", 1),),
    "sterling": (("£ gbp quid sterling", 1), ("penny pence", _F(1, 100))), "yen": (("¥ yen jpy 日元 円", 1),),
    "yuan": (("yuan rmb cny 元", 1),),
    "rupee": (("₹ rs rupee inr re", 1), ("paisa paise", _F(1, 100))), "rouble": (("₽ ruble rouble rub руб", 1),),
    "won": (("₩ krw", 1),),
    "current": (("A amp ampere", 1), ("mA milliampere", _F(1, 1000))),
    "voltage": (("V volt", 1), ("kV kilovolt", 1000), ("mV millivolt", _F(1, 1000))),
    "power": (("W watt", 1), ("kW kilowatt", 1000), ("MW megawatt", 10**6), ("hp horsepower", _F(7457, 10))),
    "energy": (
        ("J joule", 1), ("kJ kilojoule", 1000), ("MJ megajoule", 10**6), ("cal calorie", _F(4184, 1000)),
        ("kcal kilocalorie", 4184),
    ),
    "electronvolt": (("eV electronvolt", 1), ("keV", 1000), ("MeV", 10**6)),
    "force": (("N newton", 1), ("kN kilonewton", 1000)),
    "pressure": (("Pa pascal", 1), ("kPa kilopascal", 1000), ("MPa", 10**6)), "atmosphere": (("atm atmosphere", 1),),
    "frequency": (("Hz hertz", 1), ("kHz kilohertz", 1000), ("MHz megahertz", 10**6), ("GHz gigahertz", 10**9)),
    "resistance": (("Ω Omega ohm", 1), ("kΩ kilohm", 1000)), "amount": (("mol mole", 1),),
    "charge": (("C coulomb", 1),),
    "field": (("T tesla", 1),), "capacitance": (("F farad", 1),),
    "speed": (("mph", 1),), "kilometres per hour": (("kph kmh kmph", 1),),
    "data": (("byte", 8), ("bit", 1), ("kb kilobyte", 8000), ("mb megabyte", 8 * 10**6), ("gb gigabyte", 8 * 10**9)),
    "half of the day": (("am", 1),), "second half of the day": (("pm", 1),),
}  # fmt: skip
_COUNTED = frozenset(["unit"])
_PLACES = frozenset(["unit", "step", "block", "place", "space", "square", "position", "column", "cell", "grid"])
_BASIC = frozenset(["m", "s", "g", "l", "L", "A", "V", "W", "J", "N", "C", "F"])
"""Symbols before which `μ` is a millionth."""


def _entries() -> dict[str, Unit]:
    found: dict[str, Unit] = {}
    for dimension, entries in _TABLE.items():
        for names, size in entries:
            for alias in names.split():
                found[alias] = Unit(names.split()[0], dimension, Fraction(size))
                if alias in _BASIC:
                    found["micro" + alias] = Unit("micro" + alias, dimension, Fraction(size) / 10**6)
    return found


_UNITS = _entries()
_LOWER = {alias.lower(): unit for alias, unit in _UNITS.items() if len(alias) > 1}
CURRENCIES = frozenset("$€£¥₹₽₩¢")


def find_unit(word: str) -> Unit | None:
    """The unit with this spelling, singular or plural, or None."""
    word = word.rstrip(".")
    if (unit := _UNITS.get(word)) is not None:
        return unit
    if len(word) < 2:
        return None
    lower = word.lower()
    singular = lower.removesuffix("s") if len(lower) > 3 or lower in ("hrs", "yds", "lbs", "rs") else lower
    return _LOWER.get(lower) or _LOWER.get(singular)


def is_unit(word: str) -> bool:
    """Whether the word is a unit also where it is not set as text: not a single letter."""
    return len(word) > 1 and find_unit(word) is not None


def is_place(word: str) -> bool:
    """Whether the word counts what one can go to the left: a unit, step, block and so on."""
    return is_unit(word) or word.removesuffix("s") in _PLACES


def is_count(word: str) -> bool:
    """Whether the word means units of unknown size."""
    return word.removesuffix("s") in _COUNTED
