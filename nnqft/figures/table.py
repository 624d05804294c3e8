"""The numbers behind a figure or a table: named columns and rows of plain Python values."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Value = str | bool | int | float


@dataclass(frozen=True)
class Table:
    """columns: names, with units or normalisation in the documentation of whoever makes the table; rows: values.

    Raises:
        ValueError: when a row does not have one value for each column.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def __post_init__(self) -> None:
        if wrong := [row for row in self.rows if len(row) != len(self.columns)]:
            raise ValueError(f"{len(self.columns)} columns, but a row has {len(wrong[0])} values: {wrong[0]}")

    def csv(self) -> str:
        """Comma-separated text with a header; floats in their shortest exact form, missing ones as nan."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([[_text(value) for value in row] for row in self.rows])
        return stream.getvalue()

    def column(self, name: str) -> list[Value]:
        """All values of one column; ValueError for an unknown name."""
        position = self.columns.index(name)
        return [row[position] for row in self.rows]

    def records(self) -> Iterator[dict[str, Value]]:
        """Rows as mappings from column to value."""
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A table of NumPy or Python scalars."""
    return Table(tuple(columns), tuple(tuple(_plain(value) for value in row) for row in rows))


def _plain(value: Any) -> Value:
    return value.item() if hasattr(value, "item") else value


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value)
    return str(value)
