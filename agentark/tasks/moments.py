"""Dates and times of day in answers.

A date is read where it is clear: dateutil and babel would also read "5" or "03/04/2021" as one.
"""

from __future__ import annotations

import re
from datetime import date

_NAMES = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
          "december")  # fmt: skip
_MONTHS = {short: n for n, name in enumerate(_NAMES, 1) for short in (name, name[:3])} | {"sept": 9}
_MONTH = rf"(?P<name>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\.?"
_WEEKDAY = r"(?:(?:on\s)?(?:mon|tues?|wed(?:nes)?|thurs?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+)?"
_DAY, _YEAR = r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?", r"(?P<year>[0-9]{4})"
_FORMS = [re.compile(_WEEKDAY + form, re.IGNORECASE) for form in (
    r"(?P<year>[0-9]{4})([-/.])(?P<month>[0-9]{1,2})\2(?P<day>[0-9]{1,2})",
    rf"{_MONTH}\s+(?:the\s+)?{_DAY}(?:\s?,?\s+{_YEAR})?",
    rf"(?:the\s+)?{_DAY}[\s-]+(?:of\s+)?{_MONTH}(?:[\s,-]+{_YEAR})?",
    rf"{_MONTH}(?:\s+of)?,?\s+{_YEAR}",
)]  # fmt: skip
_NUMERIC = re.compile(r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4})")
_TIME = re.compile(r"([0-9]{1,2})(?:[:.]([0-9]{2})(?:[:.]([0-9]{2}))?)?\s?([ap]m)", re.IGNORECASE)
_COLONS = re.compile(r"[0-9]+(?:\s?:\s?[0-9]+)+")


def day(text: str) -> tuple[int, int, int] | None:
    """Year, month and day of a date (0 for what it does not have); None for other texts and for ambiguous dates."""
    days = days_of(text)
    return days[0] if len(days) == 1 else None


def days_of(text: str) -> list[tuple[int, int, int]]:
    """What a date can mean: 03/04/2021 is a day in March or in April.  Empty for other texts."""
    for form in _FORMS:
        if match := form.fullmatch(text):
            parts = match.groupdict()
            month = _MONTHS[parts["name"].lower()] if parts.get("name") else int(parts["month"])
            return _existing((int(parts.get("year") or 0), month, int(parts.get("day") or 0)))
    if match := _NUMERIC.fullmatch(text):
        x, _, y, year = match.groups()
        return _existing((int(year), int(x), int(y)), (int(year), int(y), int(x)))
    return []


def _existing(*days: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    found = []
    for year, month, number in dict.fromkeys(days):
        try:
            date(year or 2000, month, number or 1)
        except ValueError:
            continue
        found.append((year, month, number))
    return found


def clock(text: str) -> tuple[int, ...] | None:
    """The parts of a time or ratio: "3:30 pm" is (15, 30), "1:2:3" is (1, 2, 3); None for other texts."""
    if match := _TIME.fullmatch(text):
        hour, minute, second = (int(part or 0) for part in match.groups()[:3])
        if not 1 <= hour <= 12:
            return None
        return (hour % 12 + 12 * (match[4].lower() == "pm"), minute, *([second] if match[3] else []))
    return tuple(map(int, text.split(":"))) if _COLONS.fullmatch(text) else None
