"""How far the generation of a job is: counted here, shown by logging handlers as one line or as JSON."""

import json
import logging
import sys
import time
from dataclasses import dataclass
from threading import RLock
from typing import Any

log = logging.getLogger("nnqft")

STEP = 0.05
"""Share of the work between two lines where the terminal is no terminal, and between two lines of a leaf in the log."""
REDRAW = 0.2
"""Seconds between two drawings of the line on a terminal."""


@dataclass
class _Leaf:
    done: int = 0
    total: int = 0
    work: float = 0.0
    """Neurons still to compute."""
    shown: int = 0


class Progress:
    """Blocks done and wanted over all leaves of a job, networks a second, and when it ends. Threads may share it.

    Every finished task makes one log record with an attribute `progress`: a mapping with leaf, done and total (its
    blocks), all_done and all_total (of the job), networks_per_s, remaining_s (None before it is known), dashboard.
    Rates are of what this process saw computed; the remaining time weighs blocks by their neurons.
    """

    def __init__(self) -> None:
        self._leaves: dict[str, _Leaf] = {}
        self._lock = RLock()
        self._start: float | None = None
        self._networks = 0
        self._neurons = 0.0

    def leaf(self, name: str, done: int, total: int, neurons: float) -> None:
        """What is there of a leaf, what is wanted, and the neurons that the missing blocks take."""
        with self._lock:
            known = self._leaves.setdefault(name, _Leaf())
            known.done, known.total, known.work = done, total, neurons

    def begin(self) -> None:
        """The clock of the rates starts, at the first call."""
        with self._lock:
            self._start = self._start or time.monotonic()

    def add(self, name: str, blocks: int, networks: int, neurons: float, dashboard: str = "") -> None:
        """Some blocks of a leaf are computed."""
        with self._lock:
            leaf = self._leaves[name]
            leaf.done, leaf.work = leaf.done + blocks, max(leaf.work - neurons, 0.0)
            self._networks, self._neurons = self._networks + networks, self._neurons + neurons
            state = self.state(name) | {"dashboard": dashboard}
            step = leaf.done == leaf.total or leaf.done >= leaf.shown + STEP * leaf.total
            leaf.shown = leaf.done if step else leaf.shown
            log.info("%s", line(state), extra={"progress": state, "step": step})

    def state(self, name: str) -> dict[str, Any]:
        """What :func:`line` shows; no dashboard."""
        leaf, elapsed = self._leaves[name], time.monotonic() - (self._start or time.monotonic())
        known = elapsed > 0 and self._neurons > 0
        left = sum(each.work for each in self._leaves.values())
        return {
            "leaf": name,
            "done": leaf.done,
            "total": leaf.total,
            "all_done": sum(each.done for each in self._leaves.values()),
            "all_total": sum(each.total for each in self._leaves.values()),
            "networks_per_s": round(self._networks / elapsed, 1) if known else None,
            "remaining_s": round(left / self._neurons * elapsed, 1) if known else None,
        }


def line(state: dict[str, Any]) -> str:
    """`480 of 960 blocks (50%), 1.2e+06 networks/s, 35 s left`."""
    parts = [f"{state['all_done']} of {state['all_total']} blocks ({100 * state['all_done'] // state['all_total']}%)"]
    if state["networks_per_s"] is not None:
        seconds = round(state["remaining_s"])
        left = (
            f"{seconds} s"
            if seconds < 120
            else f"{seconds / 60:.0f} min"
            if seconds < 7200
            else f"{seconds / 3600:.1f} h"
        )
        parts += [f"{state['networks_per_s']:.2g} networks/s", f"{left} left"]
    if state.get("dashboard"):
        parts.append(state["dashboard"])
    return ", ".join(parts)


class TerminalHandler(logging.StreamHandler):
    """Messages as lines. Progress as one line written over and over on a terminal, else as a line every STEP."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._last, self._drawn, self._share = "", 0.0, 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        state = getattr(record, "progress", None)
        terminal = self.stream.isatty()
        if state is None:
            self._erase(terminal)
            super().emit(record)
            self._draw(self._last if terminal else "")
            return
        share = state["all_done"] / state["all_total"]
        if terminal:
            if share == 1 or time.monotonic() > self._drawn + REDRAW:
                self._erase(True)
                self._draw(line(state) + ("\n" if share == 1 else ""))
                self._last = line(state) if share < 1 else ""
                self._drawn = time.monotonic()
        elif share == 1 or share >= self._share + STEP or share < self._share:
            self._share = share
            super().emit(record)

    def close(self) -> None:
        """End the line."""
        if self._last:
            self._draw("\n")
            self._last = ""
        super().close()

    def _erase(self, terminal: bool) -> None:
        if terminal and self._last:
            self.stream.write("\r\x1b[K")

    def _draw(self, text: str) -> None:
        if text:
            self.stream.write(text)
            self.flush()


class LogFormatter(logging.Formatter):
    """Progress as one JSON object a line (time in UTC, and the state without the dashboard); anything else as text."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        state = getattr(record, "progress", None)
        if state is None:
            return super().format(record)
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return json.dumps({"time": f"{when}.{int(record.msecs):03d}Z"} | {k: v for k, v in state.items() if v != ""})


def steps_only(record: logging.LogRecord) -> bool:
    """A filter: of progress, only what is a step of its leaf."""
    return getattr(record, "step", True)
