"""Progress: true counts, one line on a terminal, few lines elsewhere, JSON in the log."""

import io
import json
import logging
import time

import pytest

from nnqft.sampling.budget import Budget
from nnqft.stages import progress as module
from nnqft.stages.progress import LogFormatter, Progress, TerminalHandler, line, steps_only
from nnqft.storage.leafstore import LeafStore


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def shown(monkeypatch, caplog):
    """Emit 40 blocks of two leaves; what a stream shows of it."""

    def show(stream, redraw=0.0):
        monkeypatch.setattr("sys.stderr", stream)
        monkeypatch.setattr(module, "REDRAW", redraw)
        handler, logger = TerminalHandler(), logging.getLogger("nnqft")
        logger.addHandler(handler)
        caplog.set_level(logging.INFO, "nnqft")
        try:
            p = Progress()
            p.leaf("a", 0, 100, 300.0)
            p.leaf("b", 40, 100, 60.0)
            p.begin()
            for _ in range(100):
                p.add("a", 1, 1000, 3.0)
            logger.info("a message")
            for _ in range(60):
                p.add("b", 1, 1000, 1.0)
        finally:
            logger.removeHandler(handler)
            handler.close()
        return stream.getvalue()

    return show


def test_a_terminal_has_one_line_rewritten(shown):
    text = shown(Terminal())
    assert text.count("\n") == 2  # the message, the end
    assert text.count("\r\x1b[K") > 150
    assert text.rstrip("\n").rpartition("\r\x1b[K")[2].startswith("200 of 200 blocks (100%), ")


def test_elsewhere_there_are_some_twenty_lines(shown):
    lines = shown(io.StringIO()).splitlines()
    assert 12 <= len(lines) <= 22
    assert lines[0].startswith("41 of 200 blocks (20%)")
    assert lines[-1].startswith("200 of 200 blocks (100%)")
    assert "a message" in lines


def test_the_remaining_time_weighs_blocks_by_their_neurons(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    p = Progress()
    p.leaf("a", 10, 20, 40.0)
    p.leaf("b", 0, 5, 50.0)
    p.begin()
    now[0] += 4
    p.add("a", 5, 600, 20.0)
    state = p.state("a")
    assert (state["done"], state["total"], state["all_done"], state["all_total"]) == (15, 20, 15, 25)
    assert state["networks_per_s"] == 150.0
    assert state["remaining_s"] == pytest.approx(70 / 20 * 4)
    assert line(state) == "15 of 25 blocks (60%), 1.5e+02 networks/s, 14 s left"
    assert line(state | {"dashboard": "http://127.0.0.1:8787/status"}).endswith("left, http://127.0.0.1:8787/status")


def test_the_log_holds_json_lines_that_end_at_the_total(tmp_path, caplog):
    from nnqft.sampling.cells import leaves
    from nnqft.spec.load import parse_scan
    from nnqft.stages.ensemble import generate

    scan = {
        "name": "p", "seed": 1, "points": {"line": [[0.1], [0.4]]}, "widths": [2],
        "architectures": {"relu": {"activation": "relu", "points": "line"}},
        "ensemble": {"networks": 1024, "block": 128},
    }  # fmt: skip
    handler, logger = logging.FileHandler(tmp_path / "log"), logging.getLogger("nnqft")
    handler.setFormatter(LogFormatter("%(message)s"))
    handler.addFilter(steps_only)
    logger.addHandler(handler)
    caplog.set_level(logging.INFO, "nnqft")
    (leaf,) = leaves(parse_scan(scan))
    try:
        generate(leaf, Budget(8, 8), LeafStore(tmp_path / "leaf"), "inline")
    finally:
        logger.removeHandler(handler)
        handler.close()
    entries = [json.loads(text) for text in (tmp_path / "log").read_text().splitlines() if text.startswith("{")]
    assert {"time", "leaf", "done", "total", "networks_per_s", "remaining_s"} <= entries[-1].keys()
    assert (entries[-1]["leaf"], entries[-1]["done"], entries[-1]["total"]) == (leaf.name, 8, 8)
    assert [e["done"] for e in entries] == sorted(e["done"] for e in entries)
    assert json.loads((tmp_path / "leaf" / "manifest.json").read_text())["devices"] == ["cpu"]
