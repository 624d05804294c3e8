"""Types of the values in a scan file, and the base of its sections."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def no_bool(value: Any) -> Any:
    """YAML's yes and true are not numbers."""
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not true or false")
    return value


def whole(value: Any) -> Any:
    """Accept 1e6 and 1.0e+6 where a whole number is wanted (YAML reads the first as text)."""
    value = no_bool(value)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("a name has 1 to 64 letters, digits, '.', '_' or '-', and starts with a letter or digit")
    return value


Name = Annotated[str, AfterValidator(_name)]
Real = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(no_bool)]
Depth = Annotated[int, Field(ge=1, le=10_000), BeforeValidator(whole)]
Count = Annotated[int, Field(ge=1, le=2**31), BeforeValidator(whole)]
Sigma = Annotated[float, Field(allow_inf_nan=False, ge=0), BeforeValidator(no_bool)]
PositiveSigma = Annotated[float, Field(allow_inf_nan=False, gt=0), BeforeValidator(no_bool)]


def distinct(values: list[Any]) -> list[Any]:
    """A list without repetitions."""
    if len({repr(v) for v in values}) < len(values):
        raise ValueError("the same value stands twice")
    return values


class Section(BaseModel):
    """Unknown keys are refused; the text below a key is its description in the schema."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
