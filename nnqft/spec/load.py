"""Read a scan file: safe YAML, no silent duplicates, and one clear message for every mistake."""

import difflib
import reprlib
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from nnqft.core.errors import InputError
from nnqft.spec.model import ArchitectureFamily, Scan, Selection

_REMEDIES = {
    "missing": "add it",
    "extra_forbidden": "remove it or correct its spelling",
    "literal_error": "use one of these",
    "dict_type": "give a mapping (key: value)",
    "model_type": "give a mapping (key: value)",
    "list_type": "give a list, e.g. [1, 2]",
    "too_short": "give at least one",
}


LARGEST_FILE = 2**24
"""Bytes of a scan file."""
MOST_VALUES = 10**6
"""Values in it, with every alias written out: few lines of aliases of aliases can mean more than memory holds."""
DEEPEST = 64
"""Levels of lists and mappings within each other."""

_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxlist, _REPR.maxdict, _REPR.maxstring, _REPR.maxlong, _REPR.maxother = 4, 20, 20, 90, 90, 90


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice (plain YAML keeps the last one silently)."""


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)  # pyright: ignore[reportUnknownMemberType]
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is not text", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_scan(path: str | Path) -> Scan:
    """The validated scan of a YAML file.

    Raises:
        InputError: naming the file, the key path and the remedy.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(
                str(path), f"is larger than {LARGEST_FILE >> 20} MiB", "give the path of a scan file (YAML)"
            )
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(str(path), f"cannot be read ({reason})", "give the path of a scan file (YAML)") from None
    try:
        _check_size(yaml.compose(text, Loader=_Loader))
        data = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(str(path), f"is not valid YAML ({_yaml_problem(error)})", "correct it there") from None
    return parse_scan(data, str(path))


def parse_scan(data: Any, source: str = "configuration") -> Scan:
    """The validated scan of a mapping (what Snakemake or a notebook hands over); raises InputError as read_scan."""
    if not isinstance(data, dict):
        raise InputError(source, "holds no mapping", "start from config/hms.yaml")
    if place := _unordered(data):
        raise InputError(f"{source}: {place}", "is a set, which has no order", "give a list, e.g. [1, 2]")
    try:
        return Scan.model_validate(data)
    except ValidationError as error:
        raise _first_problem(source, error) from None


def _unordered(data: Any) -> str:
    """The key path of the first set (pydantic would take it for a list, in any order); empty where there is none."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list | tuple) else ()
    for key, value in inner:
        if isinstance(value, set | frozenset):
            return str(key)
        if below := _unordered(value):
            return f"{key}.{below}"
    return ""


def _check_size(root: yaml.Node | None) -> None:
    """Stop a document that means more than it should; YAMLError says why."""
    sizes: dict[int, int] = {}
    above: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in above:
            raise yaml.constructor.ConstructorError(None, None, "an alias of what it stands in", node.start_mark)
        if len(above) > DEEPEST:
            raise yaml.constructor.ConstructorError(None, None, f"more than {DEEPEST} levels", node.start_mark)
        if id(node) not in sizes:
            above.add(id(node))
            pairs = node.value if isinstance(node, yaml.MappingNode) else ()
            inner = [part for pair in pairs for part in pair]
            inner += node.value if isinstance(node, yaml.SequenceNode) else []
            sizes[id(node)] = 1 + sum(map(size, inner))
            above.remove(id(node))
        return sizes[id(node)]

    if root is not None and size(root) > MOST_VALUES:
        raise yaml.constructor.ConstructorError(
            None, None, f"more than {MOST_VALUES:,} values with its aliases written out"
        )


def _yaml_problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"more than {DEEPEST} levels"
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def _first_problem(source: str, error: ValidationError) -> InputError:
    problems = error.errors(include_url=False)
    problem = problems[0]
    if isinstance(problem["input"], list):  # of the alternatives "value" and "list of values", a list was meant
        deeper = [p for p in problems if p["loc"][:-2] == problem["loc"][:-1] or len(p["loc"]) > len(problem["loc"])]
        problem = next(iter(deeper), problem)
    location = [str(part) for part in problem["loc"]]
    location = [part for part in location if not part.startswith(("list[", "constrained", "function-", "[key]"))]
    location = [p for p in location if p not in {"float", "int", "str", "name", "literal"} or p == location[0]]
    key = ".".join(location)
    what = problem["msg"].removeprefix("Value error, ")
    kind = problem["type"]
    if kind == "value_error" and ";" in what:
        place, _, rest = (
            what.partition(": ")
            if what.split(":")[0].startswith(("points.", "architectures.", "cumulants.", "trainability."))
            else ("", "", what)
        )
        what, remedy = rest.rsplit("; ", 1)
        key = place or key
    elif kind == "value_error" and ": " in what:
        what, remedy = what.split(": ", 1)
    else:
        remedy = _REMEDIES.get(kind, "give a valid value")
    if kind == "extra_forbidden":
        what, remedy = "is not a key", _suggestion(location)
    elif kind == "missing":
        what = "is missing"
    elif not isinstance(problem["input"], dict) and kind != "value_error":
        what = f"{what[0].lower()}{what[1:].split(' or instance of')[0]} (got {_short(problem['input'])})"
    more = len({tuple(p["loc"][:3]) for p in problems}) - 1
    if more:
        remedy += f" ({more} more to correct after that)"
    return InputError(f"{source}: {key}" if key else source, what, remedy)


def _suggestion(location: list[str]) -> str:
    model: type[BaseModel] = Scan
    for part in location[:-1]:
        if part in model.model_fields:
            annotation = model.model_fields[part].annotation
            model = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else model
        if location[0] == "architectures":
            model = ArchitectureFamily
        if location[:2] == ["cumulants", "components"]:
            model = Selection
    known = [name for name in model.model_fields if name != "swept"]
    close = difflib.get_close_matches(location[-1], known, 1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"


def _short(value: Any) -> str:
    """A value in a message: at most 60 characters, whatever it is."""
    try:
        text = _REPR.repr(value)
    except ValueError:  # an integer of thousands of digits
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
