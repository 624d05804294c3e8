"""Scan files that are wrong in one way or another, and values that no key takes."""

import copy

import yaml
from hypothesis import strategies as st

VALID = {
    "name": "a",
    "seed": 1,
    "points": {"ray": [[0.2], [0.4]], "other": [[0.3], [0.5]]},
    "architectures": {
        "relu": {"activation": "relu", "points": "ray", "heldout": "other", "options": {"norm": "none"}},
        "erf": {"activation": "erf", "depth": [1, 2], "sigma_w": [1.0, 1.5], "sigma_b": 0.3, "points": "ray"},
        "chain": {"activation": "tanh", "depth": 3, "points": "ray", "measure": ["criticality"]},
    },
    "widths": [2, 3],
    "ensemble": {"networks": 64, "block": 64, "replicates": 16, "target": {"G4c": 0.1}, "precision": "auto"},
    "cumulants": {"orders": [2, 4], "components": {"other": {"patterns": ["aabb"], "subsets": [[0, 1]]}}},
    "couplings": {"cutoffs": [7.0], "models": [["lambda_0"]], "truncation": {"operators": ["lambda_2"]}},
    "criticality": {"networks": 64, "block": 32, "recurrent": {"burn": 10}, "map": {"points": [4, 3]}},
    "trainability": {"map": {"sigma_w": [1.0], "depth": [2], "steps": 3, "rates": [0.1]}},
}

HOSTILE_NAMES = [
    "../x", "a/b", "a\\b", "..", ".", "", " a", "a b", "a\nb", "a\x00b", "<script>alert(1)</script>", "-rf", "~",
    "$HOME", "a" * 65, "é", "{{7*7}}", "a;b", "a'b", 'a"b', "%2e%2e", "a\u202eb", "C:", "a[b]", "a,b", "a=b", "a@b",
    ".hidden", "*",
]  # fmt: skip
WRONG = [
    None, True, False, -1, 0.5, 1e400, -1e400, float("nan"), 10**30, 10**400, 2**63, "", "nan", "inf", "1e999",
    "x\ny", "<b>", "\x00", [], {}, [[]], [None], [True], {"a": {}}, [[[[[1]]]]], b"bytes", {1, 2}, [float("inf")],
    ["../x"], {"<script>": 1}, {"swept": []}, [1, 1], "ray" * 100,
]  # fmt: skip


def places(data, path=()):
    """Paths to every value of nested mappings and lists."""
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in children:
        yield (*path, key)
        yield from places(value, (*path, key))


PLACES = sorted(places(VALID), key=str)
MAPPINGS = [(), *PLACES]


def at(data, path):
    for key in path:
        data = data[key]
    return data


MAPPINGS = [path for path in MAPPINGS if isinstance(at(VALID, path), dict)]


def replaced(path, value):
    data = copy.deepcopy(VALID)
    at(data, path[:-1])[path[-1]] = value
    return data


def removed(path):
    data = copy.deepcopy(VALID)
    del at(data, path[:-1])[path[-1]]
    return data


def renamed(path, name):
    """A key, whether of a section or a name that the user chose, spelled otherwise."""
    data = copy.deepcopy(VALID)
    place = at(data, path[:-1])
    place[name] = place.pop(path[-1])
    return data


def added(path, key, value):
    data = copy.deepcopy(VALID)
    at(data, path)[key] = value
    return data


JSON = st.recursive(
    st.sampled_from(WRONG) | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
KEYED = [path for path in PLACES if isinstance(path[-1], str)]
MUTATIONS = st.one_of(
    st.builds(replaced, st.sampled_from(PLACES), st.sampled_from(WRONG) | JSON),
    st.builds(removed, st.sampled_from(KEYED)),
    st.builds(renamed, st.sampled_from(KEYED), st.sampled_from(HOSTILE_NAMES)),
    st.builds(added, st.sampled_from(MAPPINGS), st.sampled_from(HOSTILE_NAMES) | st.integers() | st.none(), JSON),
)
"""Scans with one value replaced, taken away, renamed or added at any level; a few of them stay valid."""


def nested(depth, opening="[", closing="]"):
    return f"name: {opening * depth}{closing * depth}\n"


def laughs(levels):
    """Nine aliases of nine aliases of ...: small text, 9^levels nodes."""
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines) + f"\nname: *a{levels - 1}\n"


def dumped(data):
    """As a file, whatever YAML can say of it."""
    return yaml.dump(data, Dumper=yaml.Dumper, sort_keys=False)


TEXTS = {
    "empty": b"",
    "blank": b"\n \n",
    "comment": b"# nothing\n",
    "list": b"- 1\n",
    "text": b"name\n",
    "number": b"1\n",
    "nul": b"name: \x00\n",
    "not UTF-8": b"name: \xff\xfe\n",
    "UTF-16": "name: a\n".encode("utf-16"),
    "tab": b"name:\n\ta: 1\n",
    "two documents": b"name: a\n---\nname: b\n",
    "open bracket": b"a: [1\n",
    "open quote": b'a: "1\n',
    "twice": b"seed: 1\nseed: 2\n",
    "number as key": b"1: 2\n",
    "list as key": b"? [1, 2]\n: 3\n",
    "mapping as key": b"? {a: 1}\n: 3\n",
    "null as key": b"~: 1\n",
    "python object": b"!!python/object:os.system {}\n",
    "python apply": b"name: !!python/object/apply:os.system ['touch pwned']\n",
    "python name": b"name: !!python/name:os.system\n",
    "own tag": b"name: !mine 1\n",
    "binary": b"name: !!binary aGVsbG8=\n",
    "set": b"points: !!set {a, b}\n",
    "timestamp": b"name: 2020-01-01\n",
    "bad timestamp": b"name: 2020-99-99\n",
    "sexagesimal": b"seed: 190:20:30:99999999999999\n",
    "huge integer": b"seed: " + b"9" * 5000 + b"\n",
    "huge hexadecimal": b"seed: 0x" + b"f" * 5000 + b"\n",
    "huge seed": dumped(VALID).encode().replace(b"seed: 1", b"seed: 0x" + b"f" * 5000),
    "long key": dumped(VALID).encode() + b"k" * 20_000 + b": 1\n",
    "merge": b"a: &a {seed: 1}\n<<: *a\nname: x\n",
    "merge of a list": b"<<: [1]\nname: x\n",
    "unknown alias": b"name: *a\n",
    "recursive list": b"name: &a [*a]\n",
    "recursive mapping": b"points: &a {b: *a}\n",
    "deep lists": nested(1500).encode(),
    "deep mappings": nested(3000, "{a: ", "}").encode(),
    "deep blocks": b"".join(b" " * i + b"a:\n" for i in range(1500)),
    "laughs": laughs(9).encode(),
    "laughs among points": (
        "points:\n  x: &x [" + "1.0, " * 64 + "]\n  y: [" + "*x, " * 64 + "]\n" + laughs(12)
    ).encode(),
    "many keys": "".join(f"k{i}: {i}\n" for i in range(3000)).encode(),
    "large": b"# " + b"x" * 2**24 + b"\n",
    "directive": b"%YAML 9.9\n---\nname: a\n",
    "escape": b'name: "\\x1b[31m"\n',
    "value tag": b"name: !!float abc\n",
    "int tag": b"seed: !!int abc\n",
    "omap": b"points: !!omap [a: 1]\n",
    "pairs": b"points: !!pairs [a: 1]\n",
    "JSON with NaN": b'{"name": NaN, "seed": Infinity}',
    "HTML": b"<html><body></body></html>\n",
    "byte order mark": b"\xef\xbb\xbfname: a\n",
}
