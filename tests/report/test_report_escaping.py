"""No text reaches the page as markup, wherever it stands."""

from dataclasses import fields, is_dataclass

from test_report_page import Page

from nnqft.report.render import Citation, Picture, Report, Section, Sheet, render

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}</title></style></pre>"
KEPT = {"verdict": "bad", "url": "https://arxiv.org/abs/1", "png": "aGVsbG8=", "width": 100}


def hostile(kind):
    """A report, section, ... with hostile words in all its text."""
    sheet = Sheet(HOSTILE, HOSTILE, (HOSTILE,), ((HOSTILE,),), ("bad",), HOSTILE)
    section = Section(HOSTILE, HOSTILE, (Picture(HOSTILE, HOSTILE, KEPT["png"], KEPT["width"]),))
    special = {
        "facts": (HOSTILE,), "combined": sheet, "warnings": sheet, "sheets": (sheet,), "sections": (section,),
        "provenance": ((HOSTILE, HOSTILE),), "citations": (Citation(HOSTILE, KEPT["url"]),),
    }  # fmt: skip
    return kind(**{f.name: special.get(f.name, KEPT.get(f.name, HOSTILE)) for f in fields(kind)})


def test_hostile_words_stay_words():
    assert is_dataclass(Report)
    text = render(hostile(Report))
    page = Page(text)
    assert page.broken == page.open == []
    assert "script" not in {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert {source[:5] for source in page.attribute("img", "src")} == {"data:"}
    assert any(HOSTILE in words for words in page.words)
    assert "49" not in page.words
