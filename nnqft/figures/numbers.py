"""How numbers are printed: value(error), p-values, and the same in mathtext for figures."""

import math

MISSING = "–"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def with_error(value: float, stderr: float, math_text: bool = False, resolution: float = 0.0) -> str:
    """A value with two digits of its standard error in brackets: -12.504(31), 2.442(35)×10⁶; a dash where missing.

    An error below `resolution` or 1e-9 of the value is rounding: the value gets six digits and (0). A missing error is
    left out.
    """
    if not math.isfinite(value):
        return MISSING
    if not math.isfinite(stderr):
        return plain(value, 4, math_text)
    negligible = stderr <= max(resolution, 1e-9 * abs(value))
    if negligible and abs(value) <= resolution:
        value, stderr = 0.0, 0.0
    size = math.floor(math.log10(max(abs(value), stderr))) if value or stderr else 0
    power = 0 if -3 <= size <= 4 else size
    decimals = 5 - size if negligible else 1 - math.floor(math.log10(stderr))
    decimals = max(0, decimals + power)
    scaled, error = value / 10.0**power, 0.0 if negligible else stderr / 10.0**power
    digits = f"{error:.{decimals}f}" if error >= 1 and decimals else f"{error * 10**decimals:.0f}"
    return _finish(f"{scaled:.{decimals}f}({digits})", power, math_text)


def plain(value: float, digits: int = 3, math_text: bool = False) -> str:
    """A number with that many significant digits; large and small ones as a power of ten; a dash where missing."""
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        infinite = r"\infty" if math_text else "∞"
        return _finish(f"-{infinite}" if value < 0 else infinite, 0, math_text)
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    if -4 <= int(power) <= 5:
        return _finish(f"{value:.{max(0, digits - 1 - int(power))}f}", 0, math_text)
    return _finish(mantissa, int(power), math_text)


def p_text(p: float, math_text: bool = False) -> str:
    """A p-value with two digits, or as a power of ten below 1e-4."""
    if p == 0:
        return r"$<10^{-300}$" if math_text else "< 10⁻³⁰⁰"
    return plain(p, 2, math_text)


def _finish(text: str, power: int, math_text: bool) -> str:
    if math_text:
        return f"${text}\\times10^{{{power}}}$" if power else f"${text}$"
    text = text.replace("-", "−")
    return f"{text}×10{str(power).translate(_SUPERSCRIPT)}" if power else text
