"""Whatever stands in a scan file, it is read as written or refused in one line, at once, with nothing written."""

import sys
import time

import malformed as m
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnqft.core.errors import InputError
from nnqft.spec.load import parse_scan, read_scan
from nnqft.stages.check import check, load_config
from nnqft.stages.report import configuration

SECONDS = 10


def verdict(read, source):
    """The scan, or None and a clear refusal."""
    start = time.monotonic()
    try:
        found, message = check(read(), source), ""
    except InputError as error:
        found, message = None, str(error)
    assert time.monotonic() - start < SECONDS
    if found is None:
        assert message.startswith(f"{source}: ")
        assert message.count("; ") >= 1
        assert message.isprintable()
        assert len(message) < 600 or "k" * 100 in message
    return found


@settings(max_examples=500, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=m.MUTATIONS)
def test_a_changed_scan_is_refused_clearly_or_reads_back_as_it_is(data):
    found = verdict(lambda: parse_scan(data, "scan.yaml"), "scan.yaml")
    if found is not None:
        assert parse_scan(yaml.safe_load(configuration(found))) == found


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=m.MUTATIONS)
def test_the_same_from_files_with_whatever_tags_yaml_has_for_it(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "mutation.yaml"
    path.write_text(m.dumped(data), encoding="utf-8")
    verdict(lambda: read_scan(path), str(path))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(cut=st.integers(0, 1000), junk=st.binary(max_size=6), drop=st.integers(0, 8))
def test_bytes_changed_anywhere(tmp_path_factory, cut, junk, drop):
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    good = m.dumped(m.VALID).encode()
    path.write_bytes(good[:cut] + junk + good[cut + drop :])
    found = verdict(lambda: read_scan(path), str(path))
    assert found is None or parse_scan(yaml.safe_load(configuration(found))) == found


@pytest.mark.parametrize("name", m.TEXTS)
def test_files_that_are_no_scan(tmp_path, name):
    path = tmp_path / "scan.yaml"
    path.write_bytes(m.TEXTS[name])
    assert verdict(lambda: read_scan(path), str(path)) is None
    assert [p.name for p in tmp_path.iterdir()] == ["scan.yaml"]


@pytest.mark.parametrize("name", m.HOSTILE_NAMES)
@pytest.mark.parametrize("place", [("name",), ("points", "ray"), ("architectures", "relu"), ("trainability", "map")])
def test_no_name_leaves_the_results_folder_or_enters_a_page(name, place):
    data = m.replaced(place, name) if place == ("name",) else m.renamed(place, name)
    if place == ("points", "ray"):
        for family in data["architectures"].values():
            family["points"] = name
    with pytest.raises(InputError):
        parse_scan(data, "scan.yaml")


def test_few_aliases_are_welcome(tmp_path):
    path = tmp_path / "scan.yaml"
    text = m.dumped(m.VALID)
    for name in ("ray", "other"):
        text = text.replace(f"\n  {name}:\n", f"\n  {name}: &{name}\n", 1)
    path.write_text(text.replace("architectures:", "  third: *ray\narchitectures:", 1))
    assert read_scan(path).points["third"] == m.VALID["points"]["ray"]


@pytest.mark.parametrize(
    ("section", "values", "part"),
    [
        ("architectures", {"a": {"activation": "erf", "points": "ray", "depth": list(range(1, 1500)),
                                 "sigma_w": [i / 7 for i in range(1, 1500)]}}, "scan points"),
        ("ensemble", {"networks": 1e13, "block": 4}, "use blocks of 10,000,000 networks or more"),
    ],
)  # fmt: skip
def test_too_much_for_any_machine_is_refused_at_once(section, values, part):
    start = time.monotonic()
    with pytest.raises(InputError, match=part):
        check(parse_scan({**m.VALID, section: values}, "scan.yaml"), "scan.yaml")
    assert time.monotonic() - start < SECONDS


@pytest.mark.parametrize("command", [["plan"], ["plan", "--json"], ["status", "--json"], ["verify", "--json"], ["run"]])
@pytest.mark.parametrize("name", ["laughs", "python apply", "not UTF-8"])
def test_commands_leave_with_two_and_one_line(tmp_path, monkeypatch, capsys, command, name):
    from nnqft.cli.main import main

    (tmp_path / "scan.yaml").write_bytes(m.TEXTS[name])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["nnqft", *command, "scan.yaml"])
    if command == ["run"]:
        monkeypatch.setattr("nnqft.cli.run.find_snakefile", lambda: tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main()
    captured = capsys.readouterr()
    assert stopped.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("nnqft: scan.yaml: ")
    assert captured.err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["scan.yaml"]


def test_the_valid_scan_is_valid(tmp_path):
    path = tmp_path / "scan.yaml"
    path.write_text(m.dumped(m.VALID))
    assert load_config(path).name == "a"
