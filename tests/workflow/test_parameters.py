"""What a stage depends on is in its rule's parameters: a change reruns it, and only what depends on it."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from nnqft.stages.layout import STAGES as BY_MEASUREMENT
from nnqft.stages.pipeline import PRODUCTS
from nnqft.stages.workflow import workflow

ROOT = Path(__file__).parents[2]
SCAN = yaml.safe_load((ROOT / "config" / "hms.yaml").read_text())
TARGET = SCAN["ensemble"].pop("target")
RULES = "\n".join(p.read_text() for p in sorted((ROOT / "workflow" / "rules").glob("*.smk")))

STAGES = {"assemble", "cumulants", "theory", "couplings", "flow", "action", "figures", "tables", "report"}


def parameters(scan, rule):
    text = RULES.split('f"figures_{gallery}"' if rule == "figures" else f"rule {rule}:")[1].split("\nrule ")[0]
    call = re.search(r"specification=SCAN\.parameters\((.*?)\)", text, re.DOTALL).group(1)
    flow = workflow(scan, "test")
    keys = flow.sections if "sections" in call else re.findall(r'"(\w+)"', call)
    return flow.parameters(*keys)


def changed(*path_and_value):
    *path, value = path_and_value
    scan = copy.deepcopy(SCAN)
    place = scan
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return scan


@pytest.mark.parametrize(
    ("change", "must"),
    [
        (("architectures", "erf-net", "sigma_w", 1.1), STAGES),
        (("points", "erf-line", [[-1.0], [0.5]]), {"theory", "assemble", "couplings", "report"}),
        (("widths", [2, 3]), {"theory", "assemble", "report"}),
        (("couplings", "cutoffs", [7, 8]), {"couplings", "flow", "action", "report"}),
        (("cumulants", "orders", [2, 4]), {"theory", "cumulants", "report"}),
        (("ensemble", "replicates", 64), {"assemble", "report"}),
        (
            (
                "architectures",
                {"erf-net": SCAN["architectures"]["relu-net"], "relu-net": SCAN["architectures"]["erf-net"]},
            ),
            STAGES,
        ),
    ],
    ids=lambda v: ".".join(map(str, v[:-1])) if isinstance(v, tuple) else "",
)
def test_a_change_reaches_the_stages_that_read_it(change, must):
    after = changed(*change)
    moved = {rule for rule in STAGES if parameters(after, rule) != parameters(SCAN, rule)}
    assert must <= moved
    if change[0] == "couplings":
        assert not moved & {"assemble", "cumulants", "theory"}


def test_leaves_do_not_move_with_names_cutoffs_or_replicates():
    before = workflow(SCAN, "test")
    renamed = changed("architectures", {f"my-{k}": v for k, v in SCAN["architectures"].items()})
    for scan in (renamed, changed("couplings", "cutoffs", [7, 8]), changed("ensemble", "replicates", 64)):
        after = workflow(scan, "test")
        assert {k: after.leaf_parameters(k) for k in after.work} == {k: before.leaf_parameters(k) for k in before.work}


def test_with_a_target_the_replicates_decide_how_many_blocks_there_are():
    """Errors are judged by them, so another number of them is another receipt."""
    one, two = ({"replicates": r, "target": TARGET} for r in (64, 256))
    found = [workflow(changed("ensemble", SCAN["ensemble"] | more), "test") for more in (one, two)]
    for name in found[0].work:
        assert found[0].leaf_parameters(name) != found[1].leaf_parameters(name)


def test_small_leaves_share_a_job_and_large_ones_have_their_own():
    small = workflow(changed("ensemble", "networks", 1e4), "test")
    assert small.batches == [tuple(small.work)]
    large = workflow(changed("ensemble", "networks", 1e9), "test")
    assert large.batches == [(name,) for name in large.work]


def test_every_stage_has_a_function_in_the_order_of_the_workflow():
    assert list(PRODUCTS) == [stage for stages in BY_MEASUREMENT.values() for stage in stages]
