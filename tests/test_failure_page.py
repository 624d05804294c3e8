"""docs/when-something-goes-wrong.md knows every message that a run, a cluster or a store can end with."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = re.sub(r"\s+", " ", (ROOT / "docs" / "when-something-goes-wrong.md").read_text(encoding="utf-8"))
MODULES = [
    *(p for folder in ("cluster", "storage", "cli") for p in sorted((ROOT / "nnqft" / folder).glob("*.py"))),
    *(ROOT / "nnqft" / "stages" / f"{name}.py" for name in ("ensemble", "mend", "job", "source", "compare", "check")),
]
INTERNAL = {
    "TypeError",
    "ValueError",
    "KeyError",
    "AttributeError",
    "FormatError",
    "FileExistsError",
    "SystemExit",
    "Exit",
}
"""Met by programmers, or caught on the way."""
LEAST = 9
"""Characters that a message and the page must share in one piece."""


def pieces(node):
    """The fixed parts of a message."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return [p for value in node.values for p in pieces(value)]
    if isinstance(node, ast.BinOp):
        return pieces(node.left) + pieces(node.right)
    return []


def messages():
    """(module, line, fixed parts) of every exception that is raised, or says its text in `__init__`."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            call = node.exc if isinstance(node, ast.Raise) else node
            if not isinstance(call, ast.Call):
                continue
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            told = isinstance(node, ast.Raise) and name not in INTERNAL
            if not (told or (name == "__init__" and isinstance(call.func, ast.Attribute))):
                continue
            arguments = call.args[1:2] if name == "InputError" else call.args[:1]
            found = [part.strip() for argument in arguments for part in pieces(argument)]
            if any(len(part) >= LEAST for part in found):
                yield path.relative_to(ROOT).as_posix(), call.lineno, found


FOUND = list(messages())


def test_messages_are_found():
    assert len(FOUND) > 25


@pytest.mark.parametrize(("module", "line", "parts"), FOUND, ids=[f"{m}:{n}" for m, n, _ in FOUND])
def test_the_page_has_it(module, line, parts):
    shared = [part for part in parts if len(part) >= LEAST]
    clauses = [
        clause.strip() for part in shared for clause in re.split(r"[;:()]", part) if len(clause.strip()) >= LEAST
    ]
    assert any(clause in PAGE for clause in clauses), clauses
