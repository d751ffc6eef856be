"""Numbers in digits: reading them exactly, as fractions, from answers and from longer texts.

Libraries for quantities (quantulum3, pint) look for units first and return floats; babel reads one locale at a time.
Answers need every usual way of writing a number, exactly, and None where a text could mean something else.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from . import moments
from .typesetting import LONGEST, plain, plain_text


class Quantity(NamedTuple):
    """A number, whether it is a percentage (`value` is then what stands before the sign), and the words after it."""

    value: Fraction
    percent: bool
    units: tuple[str, ...]


# 1,234,567 or 12,34,567 (as in India) or 1'234'567
_END = r"(?![0-9])(?!,[0-9])"
_WHOLE = (rf"(?:[0-9]{{1,3}}(?:,[0-9]{{3}})+{_END}|[0-9]{{1,2}}(?:,[0-9]{{2}})+,[0-9]{{3}}{_END}"
          rf"|[0-9]{{1,3}}(?:['_][0-9]{{3}})+{_END}|[0-9]+)")  # fmt: skip
# 1.234,56 or 1.234.567 or 1 234,56: their comma can only be a decimal point
_CONTINENTAL = (r"(?:[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]+|[0-9]{1,3}(?:\.[0-9]{3}){2,}|[0-9]{1,3}(?: [0-9]{3})+,[0-9]{1,2})"
                r"(?![0-9.,])")  # fmt: skip
_SPACED = r"[0-9]{1,3}(?: [0-9]{3})+(?:\.[0-9]+)?(?![0-9/])"  # 1 234 567, in whole answers only
_DECIMAL = rf"(?:{_WHOLE}(?:\.[0-9]*)?|\.[0-9]+)"
_MONEY = r"(?:(?:US|AU|CA|HK|NZ|A|C|R)?\$|[€£¥₹₩₽₪₫฿₱₺]|(?:USD|EUR|GBP|INR|JPY|CNY|CHF|CAD|AUD|Rs\.?)(?![A-Za-z]))"
_PERCENT = r"(?:%|percent(?:age)?\b(?:\s+points?\b)?|per\s?cent\b|pct\b)"
_LEADS = re.compile(
    r"(?:(?:≈|=|(?:approximately|approx\.?|about|around|roughly|circa|ca\.|exactly|precisely|just|only|a total of"
    r"|equal to|equals)\s)\s*)+", re.IGNORECASE)  # fmt: skip
_RAISED = re.compile(r"\s*(?:\^|\*\*)\s*(?:\{\s*([-+]?[0-9]+)\s*\}|\(\s*([-+]?[0-9]+)\s*\)|([-+]?[0-9]+))")  # -> ^n
_POWER = r"\^(?P<{}>[-+]?[0-9]{{1,3}})(?![\w^.])"
_FIGURE = re.compile(
    rf"(?P<sign>[-+]|(?:minus|negative)\s)?\s*(?:{_MONEY}\s*)?(?P<late>-)?\s*(?:{_MONEY}\s*)?(?:"
    rf"(?P<whole>{_WHOLE}) (?P<num>[0-9]+)\s?/\s?(?P<den>[0-9]+)"
    rf"|(?P<base>[0-9]{{1,6}}){_POWER.format('exponent')}"
    rf"|(?P<top>{_WHOLE}(?:\.[0-9]+)?)\s*/\s*(?P<bottom>{_WHOLE}(?:\.[0-9]+)?)"
    rf"|(?P<mantissa>{_DECIMAL})\s*[×x*·]\s*10{_POWER.format('tens')}"
    rf"|(?P<plain>{_CONTINENTAL}|{_SPACED}|{_DECIMAL})(?:e(?P<power>[-+]?[0-9]{{1,3}})(?!\w))?"
    rf")\s*(?P<percent>{_PERCENT})?", re.IGNORECASE)  # fmt: skip
_LARGEST = 400  # the largest power of ten (or other base) that is computed

# Units.  A number that touches letters is one only if they are a known unit ("5cm") or not Latin or Greek ("5個").
_SYMBOLS = {
    "mm", "cm", "dm", "km", "in", "ft", "yd", "mi", "nm", "µm", "μm", "um", "mg", "kg", "lb", "lbs", "oz", "ms",
    "ns", "us", "sec", "secs", "min", "mins", "hr", "hrs", "yr", "yrs", "mo", "wk", "wks", "ml", "mL", "cl", "dl",
    "kl", "gal", "qt", "pt", "kW", "MW", "GW", "kJ", "MJ", "kV", "mV", "mA", "Pa", "kPa", "MPa", "Hz", "kHz", "MHz",
    "GHz", "KB", "MB", "GB", "TB", "kb", "Mb", "Gb", "bits", "px", "mph", "kph", "kmh", "rpm", "mol", "cal", "kcal",
    "rad", "deg", "dB", "ha", "sq", "cc", "st", "nd", "rd", "th", "USD", "EUR", "GBP", "INR", "kN", "Nm", "eV",
    "Ah", "Wh", "kWh",
}  # fmt: skip
_LETTERS = set("mgshLVWNJKCF")  # units of one letter; 2x, 3n and 4a are no numbers
_SPACED_LETTERS = _LETTERS | set("alt")  # also the article in "5 a day"
_SHORT = {
    "of", "in", "at", "on", "by", "he", "it", "we", "is", "us", "an", "do", "so", "my",
}  # fmt: skip
_OTHER_SCRIPT = re.compile("[\u0400-\u07ff\u0900-\u1cff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_NO_UNITS = {
    "or", "and", "to", "pi", "sqrt", "plus", "minus", "squared", "cubed", "mod", "sin", "cos", "tan", "log", "ln",
    "exp", "theta", "infinity", "factorial", "over", "power", "root", "if", "but", "not", "under", "above", "below",
    "between", "upward", "upwards", "onward", "onwards", "minimum", "maximum", "max", "least", "most", "than",
    "unless", "except", "wrong", "incorrect", "false", "never", "isn't", "wasn't", "cannot", "can't", "unknown",
    "impossible", "maybe", "either", "neither", "nor",
}  # fmt: skip
_SCALES: dict[str, int | Fraction] = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "lakh": 10**5, "crore": 10**7, "half": Fraction(1, 2), "halve": Fraction(1, 2), "third": Fraction(1, 3),
    "fifth": Fraction(1, 5), "sixth": Fraction(1, 6), "eighth": Fraction(1, 8), "tenth": Fraction(1, 10),
    "hundredth": Fraction(1, 100), "thousandth": Fraction(1, 1000),
}  # fmt: skip
_WORD = r"[^\W\d_](?:[^\W\d_]|['.](?=[^\W\d_]))*\.?(?:[23](?!\w)|\^\{?-?[0-9]\}?)?"
_UNIT = rf"(?:{_WORD}(?:[/·]{_WORD})*|\([A-Za-z /]+\)|°\s?[CFK]?|[$€£¥₹'\"])"
_UNITS = re.compile(rf"[-\s]*(?:{_UNIT}(?:[-\s]+{_UNIT})*)?[\s.,;:]*")


def quantity(text: str) -> Quantity | None:
    """The number that is the whole answer, exactly; None for other texts."""
    text = _RAISED.sub(r"^\1\2\3", plain(text)) if len(text) <= LONGEST else ""
    if text.startswith("(") and text.endswith(")") and text.count("(") == 1:
        text = text[1:-1].strip()
    if moments.days_of(text):  # July is no unit of the 4 in 4 July
        return None
    start = lead.end() if (lead := _LEADS.match(text)) else 0
    match = _FIGURE.match(text, start)
    if not match or (match["sign"] and match["late"]):
        return None
    value, units = _value(match), _units(text[match.end() :], touching=not text[match.end() - 1].isspace())
    if value is None or units is None:
        return None
    while units and (scale := _SCALES.get(units[0].lower().rstrip("s"))):
        value, units = value * scale, units[1:]
    negative = match["late"] or (match["sign"] or "+").strip().lower() in ("-", "minus", "negative")
    return Quantity(-value if negative else value, bool(match["percent"]), units)


def _value(match: re.Match) -> Fraction | None:
    power = int(match["exponent"] or match["tens"] or match["power"] or 0)
    if abs(power) > _LARGEST:
        return None
    if match["base"]:
        return Fraction(int(match["base"])) ** power if int(match["base"]) or power > 0 else None
    bottom = _decimal(match["bottom"] or match["den"] or "1")
    if not bottom:
        return None
    value = _decimal(match["plain"] or match["mantissa"] or match["top"] or match["num"]) / bottom
    return (value + _decimal(match["whole"] or "0")) * Fraction(10) ** power


def _decimal(digits: str) -> Fraction:
    if re.fullmatch(_CONTINENTAL, digits):
        digits = digits.replace(".", "").replace(",", ".")
    return Fraction(re.sub(r"[,'_ ]", "", digits).rstrip("."))


def _units(rest: str, touching: bool) -> tuple[str, ...] | None:
    """The words after a number; None if they are none of units, as in "5 or more", "2x" and "3 log"."""
    if not _UNITS.fullmatch(rest):
        return None
    touching = touching and rest[:1].isalpha() and not _OTHER_SCRIPT.match(rest)
    units = [unit.strip(".") for unit in re.findall(r"[^\W\d_][^\W\d_'.]*(?:['.][^\W\d_]+)*", rest)]
    for number, unit in enumerate(units):
        if touching and number == 0:
            known = unit in _SYMBOLS or unit in _LETTERS
        elif len(unit) == 1:
            known = unit in _SPACED_LETTERS or bool(_OTHER_SCRIPT.match(unit))
        else:
            known = len(unit) > 2 or unit in _SYMBOLS or unit.lower() in _SHORT or bool(_OTHER_SCRIPT.match(unit))
        if not known or unit.lower() in _NO_UNITS:
            return None
    return tuple(units)


def number(text: str) -> tuple[Fraction, bool] | None:
    """The number that is the whole answer (with a currency, units or a percent sign), and whether it is a percentage.

    For example "$1,234.50", "12 apples", "3/4", "1 1/2", "-5", "2e3", "3 × 10⁸", "2 million" and "50%".  None for other
    texts: "12 or 13", "3 apples and 4 pears", "x = 2", "2x", "5 or more", "5:45".
    """
    read = quantity(text)
    return read and read[:2]


# Numbers in longer texts

_DATES = re.compile(r"(?<![\w.])[0-9]+(?:([-/.:])[0-9]+)(?:\1[0-9]+)+(?![\w])|(?<![\w.])[0-9]{1,2}:[0-9]{2}(?![\w])")
_ANYWHERE = re.compile(
    rf"(?:(?<![\w.)\]}}%-])-)?(?:{_MONEY}\s?-?)?(?<![\w.^])(?<![A-Za-z]\{{)(?<![A-Za-z]-)"
    rf"(?:{_WHOLE} [0-9]+/[0-9]+(?![0-9.])|(?:[0-9]{{1,6}}|{_DECIMAL}\s?[×x*·]\s?10)\^[-+]?[0-9]{{1,3}}(?![\w^])"
    rf"|{_CONTINENTAL}|{_WHOLE}(?:\.[0-9]+)?(?:\s?/\s?{_WHOLE}(?![\w.]))?(?:[eE][-+]?[0-9]{{1,3}}(?!\w))?|\.[0-9]+)"
    rf"(?:\s?{_PERCENT})?(?:\s(?:hundred|thousand|[mb]illion|trillion|dozen|lakh|crore)s?\b)?"
    r"(?![0-9^_\\{(])(?P<touching>[A-Za-z]+)?")  # fmt: skip


def numbers(text: str) -> list[str]:
    """All numbers in a text, first to last: "$1,234.50", "3/4", "50%"; without dates, times and those in "2x"."""
    text = _DATES.sub(" … ", _RAISED.sub(r"^\1\2\3", plain_text(text)))
    found = []
    for match in _ANYWHERE.finditer(text):
        unit = match["touching"] or ""
        if not unit or unit in _SYMBOLS or unit in _LETTERS:
            found.append(match[0].removesuffix(unit).strip())
    return found


def figure(text: str) -> str | None:
    """The number that is the whole answer in its plain form: "1234.5", "2/3", "50%"; None if it is not a number."""
    parsed = number(text)
    return parsed and written(*parsed)


def written(value: Fraction, percent: bool = False) -> str:
    """A number in its plain form: "1234.5", "2/3", "50%"."""
    places = next((n for n in range(30) if 10**n % value.denominator == 0), None)
    if places is None:
        return str(value) + "%" * percent
    digits = f"{abs(value.numerator) * 10**places // value.denominator:0{places + 1}d}"
    shown = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return "-" * (value < 0) + shown + "%" * percent
