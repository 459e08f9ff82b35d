"""Units as text, and conversion between them, by pint.

Nothing reaches pint but single unit names: the text is taken apart here, and what pint remembers
of each name is bounded by the number of names there are.
"""

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from services.tool_registry.domain.tool import ToolFailure

if TYPE_CHECKING:
    from pint import UnitRegistry

MAX_FACTORS: Final = 6
MAX_EXPONENT: Final = 4
MAX_RESULT: Final = 2**53
PLAIN: Final = "dimensionless"
SIGNIFICANT_DIGITS: Final = 12

Factors: TypeAlias = Mapping[str, int]
"""Unit names and their exponents."""

_FACTOR: Final = re.compile(
    r"""(?:(?P<power>square|cubic|sq|cu)\s+)?
    (?P<name>[A-Za-zµμΩÅ℃℉][A-Za-z0-9_]{0,39}|°\s?[A-Za-z]{1,20}|%)
    (?:\s*(?:\*\*|\^)\s*(?P<exponent>-?[0-9])|(?P<raised>[²³]))?""",
    re.VERBOSE,
)
_POWERS: Final = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "²": 2, "³": 3}
_SEPARATOR: Final = re.compile(r"\s*(\*|·|/|per[ ])\s*|\s+")
_SPELLINGS: Final = {
    "°c": "degC",
    "°f": "degF",
    "°k": "kelvin",
    "℃": "degC",
    "℉": "degF",
    "kgs": "kilogram",
    "kb": "kilobyte",
    "fl_oz": "fluid_ounce",
    "mins": "minute",
}
_COMMON: Final = (  # noqa: SIM905 - one to a line is no easier to read
    "meter kilometer centimeter millimeter micrometer mile yard foot inch nautical_mile light_year "
    "gram kilogram milligram tonne pound ounce stone second minute hour day week month year "
    "millisecond liter milliliter gallon quart pint cup tablespoon teaspoon fluid_ounce celsius "
    "fahrenheit kelvin joule kilojoule calorie kilocalorie kilowatt_hour watt kilowatt horsepower "
    "pascal bar psi atmosphere newton volt ampere ohm hertz byte kilobyte megabyte gigabyte bit "
    "radian degree knot mph kph acre hectare percent"
).split()
_TEMPERATURES: Final = {"coulomb": "degC", "farad": "degF"}


class Units:
    """Converts between units. Making one takes half a second; it is for a thread."""

    def __init__(self) -> None:
        import pint  # noqa: PLC0415 - slow, and not needed to start

        self._registry: UnitRegistry[float] = pint.UnitRegistry()
        self._error: type[Exception] = pint.errors.PintError

    def convert(self, value: float, source: str, target: str) -> float:
        """The value in the target's unit, rounded to 12 digits.

        Raises:
            ToolFailure: `UNIT_INVALID`, `UNIT_UNKNOWN`, `UNITS_INCOMPATIBLE`,
                `RESULT_TOO_LARGE` or `RESULT_UNDEFINED`.
        """
        here, there = self._parsed(source, "from"), self._parsed(target, "to")
        if self._dimension(here) != self._dimension(there):
            raise self._incompatible((source, here), (target, there))
        try:
            result = self._converted(value, here, there)
        except self._error:
            raise self._incompatible((source, here), (target, there)) from None
        except (OverflowError, ZeroDivisionError):
            result = math.inf
        except ValueError:  # Such as the logarithm of a negative number.
            message = f"{value:g} {source[:32]} has no value in {target[:32]}"
            raise ToolFailure("RESULT_UNDEFINED", message, "check the value's sign") from None
        if not abs(result) <= MAX_RESULT:
            message = "the result is too large: results go up to 2**53"
            raise ToolFailure("RESULT_TOO_LARGE", message, "convert to a larger unit")
        return float(f"{result:.{SIGNIFICANT_DIGITS}g}")

    def _converted(self, value: float, here: Factors, there: Factors) -> float:
        if all(map(self._is_multiplicative, (*here, *there))):
            return value * self._factor(here) / self._factor(there)
        if _is_single(here) and _is_single(there):  # Temperatures have no common zero.
            return float(self._registry.convert(value, next(iter(here)), next(iter(there))))
        here, there = self._differences(here), self._differences(there)
        return value * self._factor(here) / self._factor(there)

    def _is_multiplicative(self, name: str) -> bool:
        """Whether nothing of it is nothing: not so for 0 degrees Celsius, or 0 decibel."""
        return bool(self._registry.Quantity(0, name).to_root_units().magnitude == 0)

    def _differences(self, factors: Factors) -> Factors:
        """As in J/degC: a part of a compound is a difference of temperatures."""
        return {
            name if self._is_multiplicative(name) else f"delta_{name}": exponent
            for name, exponent in factors.items()
        }

    def _factor(self, factors: Factors) -> float:
        product = 1.0
        for name, exponent in factors.items():
            product *= float(self._registry.Quantity(1, name).to_root_units().magnitude) ** exponent
        return product

    def _dimension(self, factors: Factors) -> dict[str, float]:
        total: dict[str, float] = {}
        for name, exponent in factors.items():
            for base, power in self._registry.get_dimensionality(name).items():
                total[base] = total.get(base, 0) + cast("float", power) * exponent
        return {base: power for base, power in sorted(total.items()) if power}

    def _parsed(self, text: str, field: str) -> Factors:
        factors: dict[str, int] = {}
        for name, exponent in _parts(text, field):
            if name == PLAIN:
                continue
            known = self._name(name, field)
            factors[known] = factors.get(known, 0) + exponent
        return factors

    def _name(self, name: str, field: str) -> str:
        for spelling in (name, _SPELLINGS.get(name.lower(), ""), name.lower()):
            try:
                if spelling and (known := str(self._registry.get_name(spelling))):
                    return known
            except self._error:
                continue
        close = get_close_matches(name.lower(), _COMMON, 1, 0.7)
        fix = f"use {close[0]}" if close else "use a name such as kilometer, pound or celsius"
        raise ToolFailure("UNIT_UNKNOWN", f"{field}: there is no unit {name!r}", fix)

    def _incompatible(
        self, source: tuple[str, Factors], target: tuple[str, Factors]
    ) -> ToolFailure:
        (from_text, here), (to_text, there) = source, target
        is_of, asked = _words(self._dimension(here)), _words(self._dimension(there))
        message = f"{from_text} measures {is_of} and {to_text} measures {asked}"
        meant = [_TEMPERATURES[name] for name in (*here, *there) if name in _TEMPERATURES]
        fix = f"for temperatures use {' and '.join(meant)}" if meant else f"use a unit of {is_of}"
        return ToolFailure("UNITS_INCOMPATIBLE", message, fix)


def _parts(text: str, field: str) -> list[tuple[str, int]]:
    """Names and exponents, as in kilometer/hour, m/s**2, ft lb or miles per hour."""
    parts: list[tuple[str, int]] = []
    text = text.strip()
    position, sign = 0, 1
    while (found := _FACTOR.match(text, position)) and len(parts) < MAX_FACTORS:
        exponent = sign * _exponent(found)
        if not 0 < abs(exponent) <= MAX_EXPONENT:
            break
        parts.append((found["name"].replace(" ", ""), exponent))
        if found.end() == len(text):
            return parts
        if (separator := _SEPARATOR.match(text, found.end())) is None:
            break
        position = separator.end()
        sign = -1 if separator[1] in {"/", "per "} else 1
    message = f"{field}: {text!r} is not a unit"
    fix = "write unit names with * / and ** and small exponents, such as kilometer/hour or m**2"
    raise ToolFailure("UNIT_INVALID", message, fix)


def _exponent(found: re.Match[str]) -> int:
    before = _POWERS.get(found["power"] or "", 1)
    after = int(found["exponent"] or _POWERS.get(found["raised"] or "", 1))
    return before * after


def _is_single(factors: Factors) -> bool:
    return list(factors.values()) == [1]


def _words(dimension: Mapping[str, float]) -> str:
    if not dimension:
        return "a plain number"
    shown = (
        name.strip("[]") + (f"**{power:g}" if power != 1 else "")
        for name, power in dimension.items()
    )
    return " * ".join(shown)
