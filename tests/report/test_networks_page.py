"""docs/networks.md is what the registry says."""

from pathlib import Path

from nnqft.report.networks import text

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"


def test_the_committed_page_is_in_step():
    assert PAGE.read_text(encoding="utf-8") == text(), "run: python -m nnqft.report.networks > docs/networks.md"
