"""What was tried and what became of it."""

from dataclasses import dataclass, field


@dataclass
class Row:
    """One fault. changed: files that differ from an undisturbed run; recomputed: intact committed blocks redone."""

    fault: str
    tried: int = 0
    survived: int = 0
    changed: int = 0
    recomputed: int = 0
    skipped: str = ""
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether all went as it should."""
        return self.survived == self.tried and not self.changed and not self.recomputed

    def add(self, other: "Row") -> None:
        """Count what another one counted."""
        for key in ("tried", "survived", "changed", "recomputed", "seconds"):
            setattr(self, key, getattr(self, key) + getattr(other, key))
        self.notes += other.notes

    def line(self) -> str:
        """As printed."""
        if self.skipped:
            return f"{self.fault:46} skipped: {self.skipped}"
        numbers = f"{self.tried:6d} {self.survived:9d} {self.changed:13d} {self.recomputed:11d} {self.seconds:6.0f}"
        return f"{self.fault:46} {numbers}{'' if self.clean else '   <- ' + '; '.join(self.notes[:3])}"


HEADER = f"{'fault':46} {'tried':>6} {'survived':>9} {'files changed':>13} {'recomputed':>11} {'s':>6}"


def total(rows: list[Row]) -> Row:
    """The sums of all rows."""
    found = Row("all")
    for row in rows:
        found.add(row)
    return found
