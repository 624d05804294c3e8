import base64
import json
import re
import socket
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import yaml

from nnqft.core.versions import KERNEL_VERSION
from nnqft.report.render import Sheet, picture, render
from nnqft.spec.grid import architectures
from nnqft.spec.load import parse_scan
from nnqft.stages.layout import Layout
from nnqft.stages.report import configuration, report, write_report
from nnqft.stages.tables import compare_all, read_groups

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Tags in order, text by enclosing tag, and a check that everything is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words, self.broken = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.broken.append(tag)

    def handle_data(self, data):
        if data.strip():
            self.words.append(data.strip())

    def attribute(self, tag, name):
        return [attributes[name] for found, attributes in self.tags if found == tag and name in attributes]


@pytest.fixture(scope="module")
def text(finished):
    return finished[1].report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture(scope="module")
def content(finished):
    return report(*finished)


def test_the_page_is_well_formed(page):
    assert page.broken == page.open == []
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    anchors = {link[1:] for link in page.attribute("a", "href") if link.startswith("#")}
    assert anchors
    assert anchors <= ids


def test_the_page_loads_nothing_from_anywhere(text, page):
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert all(source.startswith("data:image/png;base64,") for source in page.attribute("img", "src"))
    assert not re.search(r"@import|url\(", text)
    outside = [link for link in page.attribute("a", "href") if not link.startswith("#")]
    assert outside
    assert all(re.match(r"https://(arxiv\.org|github\.com)/", link) for link in outside)  # what to cite


def test_every_figure_is_in_the_page_with_a_caption(finished, page, content):
    embedded = [base64.b64decode(source.split(",")[1]) for source in page.attribute("img", "src")]
    files = {path.read_bytes() for path in finished[1].figures.glob("*.png")}
    assert len(embedded) == len(files) == 14
    assert set(embedded) == files
    assert all(len(p.caption) > 100 for section in content.sections for p in section.pictures)
    assert all(page.attribute("img", "alt"))


def test_the_verdict_counts_what_is_in_the_stores(finished, content, page):
    cells = [cell for group in compare_all(read_groups(*finished)).values() for cell in group]
    tested = [cell for cell in cells if cell.trusted]  # one hidden layer: all predictions are exact
    components = sum(cell.result.components for cell in tested)
    assert content.verdict == "good"
    assert content.headline in page.words
    assert content.facts[0].startswith(f"{components} of {components} trusted components lie within 5")
    untrusted = [cell for cell in cells if not cell.trusted]
    assert content.facts[2].startswith(f"{len(untrusted)} of {len(cells)} cells are NOT converged")
    assert {row[:3] for row in content.warnings.rows} == {(c.architecture, str(c.width), c.name) for c in untrusted}
    assert len(content.warnings.rows) == len(untrusted) > 0
    assert {row[0]: int(row[1]) for row in content.combined.rows} == {
        name: sum(cell.name == name for cell in tested) for name in ("G2", "G4c", "G6c")
    }


def test_the_same_data_give_the_same_page(finished, text):
    assert render(report(*finished)) == text


def test_wall_times_are_in_the_manifest_only(finished):
    scan, layout = finished
    before = layout.report.read_bytes()
    (layout.root / "benchmarks").mkdir(exist_ok=True)
    for name, seconds in (("theory", "12.5"), ("figures", "3.25")):
        (layout.root / "benchmarks" / f"{name}.tsv").write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:12\t100\n")
    write_report(scan, layout)
    assert layout.report.read_bytes() == before
    assert json.loads(layout.manifest.read_text())["wall_times_s"] == {"theory": 12.5, "figures": 3.25}


def test_provenance_is_on_the_page(finished, content):
    scan, layout = finished
    found = dict(content.provenance)
    assert found["seed"] == str(scan.seed)
    assert found["version of the sampling kernel"] == str(KERNEL_VERSION)
    assert "threefry" in found["random numbers"]
    for package in ("nnqft", "numpy", "jax", "zarr", "xarray", "python", "snakemake"):
        assert re.search(rf"\b{package} \d", found["versions"])
    receipt = json.loads(layout.receipt("cumulants").read_text())
    assert found["SHA-256 of cumulants.zarr"] == receipt["sha256"]
    assert found["SHA-256 of the code"] == json.loads(layout.manifest.read_text())["code_sha256"]


def test_nothing_names_a_machine(finished, text):
    _, layout = finished
    for content in (re.sub(r"base64,[A-Za-z0-9+/=]+", "", text), layout.manifest.read_text()):
        assert str(layout.root) not in content
        assert not re.search(r"(?<![\w.:/])/(home|root|tmp|usr|work|var)/", content)
        assert len(socket.gethostname()) < 4 or socket.gethostname() not in content


def test_the_configuration_reads_back_as_the_same_scan(finished):
    scan, _ = finished
    again = parse_scan(yaml.safe_load(configuration(scan)))
    assert again == scan
    swept = {"a": {"activation": "erf", "sigma_b": [0.1, 0.2], "depth": [1, 2], "points": "ray"}}
    other = parse_scan(scan.model_dump(mode="json") | {"architectures": swept})
    names = [a.name for a in architectures(parse_scan(yaml.safe_load(configuration(other))))]
    assert names == [a.name for a in architectures(other)]
    assert names[1] == "a[sigma_b=0.1,depth=2]"


def test_everything_from_the_data_is_escaped(content):
    evil = '<script>alert("1")</script>&\'"><img src=x>'
    sheet = Sheet(evil, evil, (evil, "x"), ((evil, evil),), ("",), evil)
    pictures = tuple(replace(p, name=evil, caption=evil) for p in content.sections[0].pictures)
    hostile = replace(
        content, title=evil, headline=evil, facts=(evil,), warnings=sheet, combined=sheet, sheets=(sheet,),
        configuration=evil, provenance=((evil, evil),),
        sections=tuple(replace(s, title=evil, description=evil, pictures=pictures) for s in content.sections),
    )  # fmt: skip
    page = Page(render(hostile))
    assert "script" not in {tag for tag, _ in page.tags}
    assert all(source.startswith("data:") for source in page.attribute("img", "src"))
    assert page.broken == []
    assert page.words.count(evil) >= 10  # shown as it is written


def test_a_missing_figure_is_named_with_its_remedy(finished, tmp_path):
    scan, layout = finished

    class Elsewhere(Layout):
        @property
        def figures(self):
            return tmp_path

    with pytest.raises(FileNotFoundError, match=r"deviations-ray\.png: no such figure; draw it first"):
        report(scan, Elsewhere(layout.root))
    with pytest.raises(ValueError, match="not a PNG"):
        picture("x", "y", b"GIF89a")
