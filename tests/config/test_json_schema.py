"""The schema for editors says what the loader says."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from appliance.config.json_schema import json_schema
from appliance.config.schema import KEYS, SECTIONS
from tests.conftest import ROOT

SCHEMA = json_schema()
SPECIMEN = ROOT / "conf" / "appliance.yaml"

GOOD: list[Any] = [
    {},
    {"connections": {"a": "http://x", "b": {"host": "x", "port": 1, "extra": {}}}},
    {"connections": {"b": {"port": "${PORT}"}}, "variables": {"a": [1], "b": None}},
    {"worker": None, "dags": {"max_age": "1.5s"}},
    {"worker": {"parallelism": "${N}", "grace": "${GRACE}", "on_lost": "${A:-fail}"}},
    {"retention": "30d", "role": "server", "temporal": {"address": "a:1"}},
]
BAD: list[Any] = [
    {"conectons": {}},
    {"connections": {"a": {"user": "x"}}},
    {"worker": {"parallelism": 0}},
    {"worker": {"parallelism": "many"}},
    {"worker": {"grace": 5}},
    {"retention": "30"},
    {"role": "al"},
    {"temporal": {"port": 70000}},
    {"temporal": {"address": "localhost"}},
    [],
]


@pytest.mark.parametrize("document", GOOD)
def test_good_document(document: Any) -> None:
    jsonschema.validate(document, SCHEMA)


@pytest.mark.parametrize("document", BAD)
def test_bad_document(document: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


def test_specimen_is_valid() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(yaml.safe_load(Path(SPECIMEN).read_text()), SCHEMA)


def test_every_key_is_in_the_schema_and_says_what_it_is_for() -> None:
    for name in KEYS:
        section, _, key = name.rpartition(".")
        place = SCHEMA["properties"]
        if section:
            assert place[section]["description"] == SECTIONS[section]
            place = place[section]["properties"]
        assert place[key or name]["description"]
