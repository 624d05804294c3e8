"""JSON Schema of the scan file, for editors and other tools: ``python -m nnqft.spec.schema`` prints it."""

import json
from typing import Any

from nnqft.spec.model import ArchitectureFamily, Scan


def schema() -> dict[str, Any]:
    """The schema of a scan file, generated from the model."""
    found = Scan.model_json_schema()
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["title"] = "nnqft scan"
    found["$defs"][ArchitectureFamily.__name__]["properties"].pop("swept")
    return found


def text() -> str:
    """The schema as it stands in ``workflow/schemas/scan.schema.json``."""
    return json.dumps(schema(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(text(), end="")
