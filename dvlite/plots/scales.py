"""From values to pixels: linear, logarithmic, time and category scales, with ticks people read.

Owns which values a scale can show, where its ticks are, and how they are written. Ticks are at 1,
2 or 5 times a power of ten (Heckbert, "Nice numbers for graph labels", Graphics Gems 1990).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Literal

ScaleKind = Literal["linear", "log", "time", "category"]
# The difference of two values beyond it may overflow; they are shown as infinite.
LARGEST = 1e300
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_TIME_STEPS_S = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800),
)
_DAY_S = 86400
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# datetime's own range, with a margin for what padding adds
_EARLIEST_S, _LATEST_S = -62_000_000_000.0, 253_000_000_000.0


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps `low`..`high` to the pixels `start`..`end`. Of categories the positions 0, 1, 2 … count,
    and `names` are what they are called."""

    kind: ScaleKind
    low: float
    high: float
    start: float
    end: float
    names: tuple[str, ...] = ()

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        low, high = self._line(self.low), self._line(self.high)
        return self.start + (self._line(value) - low) / (high - low) * (self.end - self.start)

    def ticks(self, about: int) -> list[tuple[float, str]]:
        """About so many values to mark, and how they are written."""
        if self.kind == "category":
            every = max(1, math.ceil(len(self.names) / max(1, about)))
            return [(at, self.names[at]) for at in range(0, len(self.names), every)]
        if self.kind == "time":
            return _time_ticks(self.low, self.high, about)
        if self.kind == "log":
            return _log_ticks(self.low, self.high, about)
        values = nice_ticks(self.low, self.high, about)
        step = values[1] - values[0] if len(values) > 1 else abs(values[0])
        return [(value, write(value, step)) for value in values]

    def _line(self, value: float) -> float:
        return math.log10(value) if self.kind == "log" else value


def fit(
    kind: ScaleKind, values: Iterable[float], pixels: tuple[float, float], zero: bool = False
) -> Scale:
    """A scale that shows all these (finite) values; `zero`: begins at zero."""
    low, high = _extent(values)
    if kind == "log":
        low, high = (low, high) if low < high else (low / 10, high * 10)
        return Scale(kind, max(low, 1e-307), high, *pixels)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high or (high - low) < abs(high) * 1e-13:
        pad = abs(low) * 0.1 or 1.0
        low, high = (0.0, high + pad) if zero and high > 0 else (low - pad, high + pad)
    return Scale(kind, low, high, *pixels)


def rounded(scale: Scale, about: int) -> Scale:
    """The same, made longer until it ends at ticks."""
    if scale.kind == "log":
        low, high = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
        if high - low > 1 and high < 300:
            return Scale("log", 10.0 ** max(low, -307), 10.0**high, scale.start, scale.end)
        return scale
    step = nice_step(scale.high - scale.low, about)
    first, last = math.floor(scale.low / step) * step, math.ceil(scale.high / step) * step
    return Scale(scale.kind, first, last, scale.start, scale.end)


def categories(names: Sequence[str], start: float, end: float) -> Scale:
    """A scale with one band a name."""
    return Scale("category", -0.5, max(len(names), 1) - 0.5, start, end, tuple(names))


def nice_step(span: float, about: int) -> float:
    """The step that divides a span into about so many parts."""
    rough = span / max(1, about)
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 1e-300 else 1e-300
    part = rough / power
    return power * (1 if part < 1.5 else 2 if part < 3.5 else 5 if part < 7.5 else 10)


def nice_ticks(low: float, high: float, about: int) -> list[float]:
    """Round values from `low` to `high`."""
    step = nice_step(high - low, about)
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    values = [(first + at) * step for at in range(min(count, 50))]
    return sorted({0.0 if abs(value) < step * 1e-9 else value for value in values}) or [low]


def write(value: float, step: float | None = None) -> str:
    """A number for people: with as many digits as `step` needs, or 4 that count."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    size = abs(value) or 1.0
    if size >= 1e6 or max(size, step or 0.0) < 1e-4:
        return _scientific(value, step)
    if step is None:
        return _plain(f"{value:.4g}" if size < 1000 else f"{value:,.0f}")
    digits = max(0, min(12, -math.floor(math.log10(step) + 1e-9))) if step else 0
    return _plain(f"{value:,.{digits}f}")


def _scientific(value: float, step: float | None) -> str:
    power = math.floor(math.log10(abs(value)))
    digits = 2 if step is None else max(0, min(12, power - math.floor(math.log10(step) + 1e-9)))
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    if "." in mantissa and step is None:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{_plain(mantissa)}×10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def _plain(text: str) -> str:
    return text.replace("-", "−")


def _extent(values: Iterable[float]) -> tuple[float, float]:
    low, high = math.inf, -math.inf
    for value in values:
        if value < low:
            low = value
        if value > high:
            high = value
    return (low, high) if low <= high else (0.0, 1.0)


def _log_ticks(low: float, high: float, about: int) -> list[tuple[float, str]]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    every = max(1, math.ceil((last - first + 1) / max(1, about)))
    powers = [10.0**power for power in range(first, last + 1, every)]
    if len(powers) < 3:
        inner = [part * 10.0**power for power in range(first - 1, last + 1) for part in (1, 2, 5)]
        powers = [value for value in inner if low * 0.999999 <= value <= high * 1.000001]
    if len(powers) < 2:
        powers = nice_ticks(low, high, about)
    plain = powers[0] > 9e-4 and powers[-1] < 1.1e5
    return [(value, write(value) if plain else _power(value)) for value in powers]


def _power(value: float) -> str:
    power = round(math.log10(value))
    if abs(value / 10.0**power - 1) > 1e-9:
        return write(value)
    return f"10{str(power).translate(_SUPERSCRIPT)}"


# -- time ------------------------------------------------------------------------------------------


def to_seconds(text: str) -> float | None:
    """An ISO 8601 date (with a time, perhaps) as seconds since 1970, in UTC; None: it is none."""
    if len(text) < 8 or len(text) > 40 or not text[:4].isdigit():
        return None
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
    aware = found if found.tzinfo else found.replace(tzinfo=timezone.utc)
    seconds = (aware - _EPOCH).total_seconds()
    return seconds if _EARLIEST_S <= seconds <= _LATEST_S else None


def write_time(seconds: float, step_s: float = 0.0) -> str:
    """A time as the ticks beside it need it: year, month, day, or the time of the day."""
    found = _EPOCH + timedelta(seconds=min(max(seconds, _EARLIEST_S), _LATEST_S))
    if step_s >= 360 * _DAY_S:
        return f"{found:%Y}"
    if step_s >= 28 * _DAY_S:
        return f"{found:%Y-%m}"
    if step_s >= _DAY_S:
        return f"{found:%Y-%m-%d}"
    if step_s >= 60:
        return f"{found:%m-%d %H:%M}"
    return f"{found:%H:%M:%S}" if step_s else f"{found:%Y-%m-%d %H:%M:%S}"


def _time_ticks(low: float, high: float, about: int) -> list[tuple[float, str]]:
    span = high - low
    for step in _TIME_STEPS_S:
        if span / step <= about:
            first = math.ceil(low / step)
            values = [at * float(step) for at in range(first, math.floor(high / step) + 1)]
            return [(value, write_time(value, step)) for value in values]
    months = max(1, math.ceil(span / (30.44 * _DAY_S) / about))
    months = next((one for one in (1, 2, 3, 6, 12) if one >= months), 12 * math.ceil(months / 12))
    return _month_ticks(low, high, months)


def _month_ticks(low: float, high: float, months: int) -> list[tuple[float, str]]:
    begin = _EPOCH + timedelta(seconds=max(low, _EARLIEST_S))
    at = -(-(begin.year * 12 + begin.month - 1) // months) * months
    found = []
    while at // 12 <= 9999:
        value = (datetime(at // 12, at % 12 + 1, 1, tzinfo=timezone.utc) - _EPOCH).total_seconds()
        if value > high:
            break
        if value >= low:
            found.append((value, write_time(value, months * 30 * _DAY_S)))
        at += months
    return found
