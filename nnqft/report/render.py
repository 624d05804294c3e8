"""From what is to be said to one self-contained HTML file. Pure: the same content gives the same bytes."""

import base64
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATE = "report.html.j2"
_CSS_PIXELS_PER_INCH = 108
_PNG_PIXELS_PER_INCH = 200


@dataclass(frozen=True)
class Sheet:
    """A table of text: one mark ("good", "bad", "doubt" or "") a row; note: what was left out."""

    title: str
    explanation: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marks: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """One figure: the PNG as base64, its width in CSS pixels, and its words."""

    name: str
    caption: str
    png: str
    width: int


@dataclass(frozen=True)
class Section:
    """The figures of one point set."""

    title: str
    description: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Citation:
    """What to cite, and where it is."""

    text: str
    url: str


@dataclass(frozen=True)
class Report:
    """The whole report. verdict colours the box at the top; everything in it is plain text, escaped when rendered."""

    title: str
    verdict: Literal["good", "bad", "doubt"]
    headline: str
    facts: tuple[str, ...]
    combined: Sheet
    warnings: Sheet
    sections: tuple[Section, ...]
    sheets: tuple[Sheet, ...]
    configuration: str
    provenance: tuple[tuple[str, str], ...]
    citations: tuple[Citation, ...]


def render(report: Report) -> str:
    """The HTML of a report; everything that comes from the data is escaped, nothing is loaded from anywhere."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(TEMPLATE).render(asdict(report))


def picture(name: str, caption: str, png: bytes) -> Picture:
    """A picture for the page from the bytes of a PNG file; ValueError when they are none."""
    if png[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"{name}: not a PNG file")
    (pixels,) = struct.unpack(">I", png[16:20])
    width = round(pixels / _PNG_PIXELS_PER_INCH * _CSS_PIXELS_PER_INCH)
    return Picture(name, caption, base64.b64encode(png).decode("ascii"), width)
