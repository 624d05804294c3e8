import csv
import hashlib
import math
import os
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

from nnqft.figures import deviations
from nnqft.figures.numbers import p_text, plain, with_error
from nnqft.figures.style import image, log_axis, panels
from nnqft.figures.table import Table, table
from nnqft.stages.figures import draw
from nnqft.stages.gallery import figures
from nnqft.stages.layout import FORMATS

ELSEWHERE = """
import sys
from pathlib import Path
from nnqft.stages.figures import draw
from nnqft.storage.place import Folder
from nnqft.storage.product import read_tree
root, out = Path(sys.argv[1]), Path(sys.argv[2])
for figure, *stages in (text.split(",") for text in sys.argv[3:]):
    data = {stage: read_tree(Folder(str(root)) / f"{stage}.zarr")["near"].to_dataset() for stage in stages}
    draw(out, figure, "near", data)
"""


@pytest.fixture(scope="module")
def drawn(finished):
    return finished[1]


@pytest.fixture(scope="module")
def kinds(finished):
    return figures(finished[0])


def test_every_figure_of_every_point_set_in_every_format(drawn, kinds):
    wanted = {f"{figure}-{points}.{f}" for figure, kind in kinds.items() for points in kind.points for f in FORMATS}
    assert {path.name for path in drawn.figures.iterdir()} == wanted
    for path in drawn.figures.glob("*.pdf"):
        content = path.read_bytes()
        assert content.startswith(b"%PDF")
        assert b"CreationDate" not in content
    for path in drawn.figures.glob("*.png"):
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG")
        assert b"matplotlib" not in content
        assert int.from_bytes(content[16:20], "big") in (680, 1400)  # a column or a page at 200 dots an inch


def test_another_process_draws_the_same_bytes(drawn, kinds, tmp_path):
    environment = os.environ | {"PYTHONHASHSEED": "12345", "LC_ALL": "C", "TZ": "Pacific/Auckland"}
    wanted = [",".join([figure, *kind.stores]) for figure, kind in kinds.items() if "near" in kind.points]
    command = [sys.executable, "-c", ELSEWHERE, str(drawn.root), str(tmp_path), *wanted]
    subprocess.run(command, check=True, env=environment)

    def digests(folder):
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if "-near" in p.name}

    assert digests(tmp_path) == digests(drawn.figures)


def test_plotting_leaves_the_users_settings_alone(groups):
    mpl.rcParams["font.size"] = 17.5
    try:
        deviations.plot(groups["near"]["cumulants"], groups["near"]["theory"])
        assert mpl.rcParams["font.size"] == 17.5
    finally:
        mpl.rcdefaults()


def test_no_text_is_smaller_than_seven_points(groups):
    for points in groups.values():
        figure, _ = deviations.plot(points["cumulants"], points["theory"])
        image(figure, "png")
        sizes = [t.get_fontsize() for t in figure.findobj(lambda a: hasattr(a, "get_fontsize")) if t.get_text()]
        assert min(sizes) >= 7


def test_a_sweep_shows_its_first_architectures_and_says_so(groups, texts, kinds, tmp_path):
    group = {}
    for stage, data in groups["ray"].items():
        two = xr.concat([data, data], "architecture", data_vars="minimal", coords="minimal")
        names = [f"a$b_{i}[sigma_w=1.{i}]" for i in range(6)]
        group[stage] = two.assign_coords(architecture=np.array(names, dtype=object))
    figure, numbers = deviations.plot(group["cumulants"], group["theory"], "ray")
    assert "the first 4 of 6 architectures" in texts(figure)
    assert len(set(numbers.column("architecture"))) == 4
    for kind in kinds:
        draw(tmp_path, kind, "swept", group)  # names with a dollar are text, not mathematics
    assert len(list(tmp_path.glob("*.png"))) == len(kinds)


def test_csv_reads_back_exactly():
    numbers = table(("a", "b", "c"), [(np.float64(1 / 3), np.int64(4), np.bool_(True)), (math.nan, 5, 'x,"y"')])
    header, first, second = csv.reader(numbers.csv().splitlines())
    assert header == ["a", "b", "c"]
    assert float(first[0]) == 1 / 3
    assert first[1:] == ["4", "true"]
    assert second == ["nan", "5", 'x,"y"']
    with pytest.raises(ValueError, match="2 columns, but a row has 1"):
        Table(("a", "b"), ((1,),))


@pytest.mark.parametrize(
    ("value", "stderr", "text"),
    [
        (-12.5037, 0.0311, "−12.504(31)"),
        (2.4418e6, 3.5e4, "2.442(35)×10⁶"),
        (-1.25e-14, 1.1e-16, "−1.250(11)×10⁻¹⁴"),
        (12.3, 4.56, "12.3(4.6)"),
        (0.01, 12.0, "0(12)"),
        (-5.0, 1e-14, "−5.00000(0)"),
        (3.0, math.nan, "3.000"),
        (math.nan, 1.0, "–"),
    ],
)
def test_a_value_with_its_error(value, stderr, text):
    assert with_error(value, stderr) == text


def test_numbers_for_figures_are_mathematics():
    assert with_error(-1.25e-14, 1.1e-16, math_text=True) == r"$-1.250(11)\times10^{-14}$"
    assert with_error(3e-17, 2e-16, resolution=1e-9) == "0.00000(0)"
    assert plain(math.inf) == "∞"
    assert plain(-math.inf, math_text=True) == r"$-\infty$"
    assert (p_text(0.2), p_text(3.2e-9), p_text(0.0), p_text(math.nan)) == ("0.20", "3.2×10⁻⁹", "< 10⁻³⁰⁰", "–")


@pytest.mark.parametrize("values", [[5.0], [5.0, 8.0], [1.0, 1e3], [1e-17, 1e-3], [], [0.0, math.nan]])
def test_logarithmic_axes_always_have_two_labelled_ticks(values):
    figure, axes = panels(1, 1, 3.4, 2.6)
    log_axis(axes[0, 0], "y", values)
    figure.draw_without_rendering()
    low, high = axes[0, 0].get_ylim()
    labels = [t.get_text() for t in axes[0, 0].get_yticklabels() if low <= t.get_position()[1] <= high]
    assert len([label for label in labels if label]) >= 2
