"""The committed JSON Schema is the model's, and says the same as the model."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from nnqft.spec.schema import schema, text

ROOT = Path(__file__).parents[2]


def test_the_committed_schema_is_in_step():
    committed = (ROOT / "workflow" / "schemas" / "scan.schema.json").read_text()
    assert committed == text(), "run: python -m nnqft.spec.schema > workflow/schemas/scan.schema.json"


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.name)
def test_the_shipped_scans_satisfy_it(path):
    kind = jsonschema.validators.validator_for(schema())
    kind.check_schema(schema())
    problems = [error.message for error in kind(schema()).iter_errors(yaml.safe_load(path.read_text()))]
    assert problems == []


def test_it_refuses_unknown_keys():
    data = yaml.safe_load((ROOT / "config" / "hms.yaml").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data | {"wdths": [1]}, schema())
