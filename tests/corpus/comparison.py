"""What the appliance did against what Airflow did, case by case: the first difference in words.

Both sides are rows: ``run_state``, ``tis`` (task instances) and ``xcoms``, values as
``airflow.sdk.serde.serialize`` gives them. The reference may say of a value that it differs
from run to run (``__nondeterministic__``), or give only the digest of a long one. It was read
with a decoder that takes text that is JSON for the value it spells: text stands for both.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

Row = dict[str, Any]
Key = tuple[Any, ...]

_OPTIONAL_XCOM = re.compile(r"^(_.*|skipmixin_key|.*_link)$")
_SEQUENCES = ("builtins.tuple", "builtins.set", "builtins.frozenset")
_SHOWN_CHARACTERS = 90


def difference(expected: Row, got: Row) -> str | None:
    """Return the first difference between two rows of one case."""
    ignored = set(expected.get("ignore_tasks") or ())
    wanted = expected["run_state"]
    if not expected.get("ignore_run_state") and wanted != got["run_state"]:
        return f"run: expected {wanted}, got {got['run_state']} {got.get('detail', '')}"
    return _instances(expected, got, ignored) or _xcoms(expected, got, ignored)


def _instances(expected: Row, got: Row, ignored: set[str]) -> str | None:
    wanted = _by(_instance_key, expected["tis"], ignored)
    found = _by(_instance_key, got["tis"], ignored)
    if wanted.keys() != found.keys():
        return _keys("task instances", wanted, found)
    for key, row in wanted.items():
        for name in ("state", "try_number", "rendered_map_index"):
            value = row.get(name)
            is_open = value is None and name != "state"
            if not is_open and value != found[key].get(name):
                return f"{key}: expected {name} {value}, got {found[key].get(name)}"
    return None


def _xcoms(expected: Row, got: Row, ignored: set[str]) -> str | None:
    wanted = _by(_xcom_key, expected["xcoms"], ignored)
    found = _by(_xcom_key, got["xcoms"], ignored)
    for rows in (wanted, found):
        for key in [key for key in rows if _OPTIONAL_XCOM.match(key[-1])]:
            del rows[key]
    if wanted.keys() != found.keys():
        return _keys("xcoms", wanted, found)
    for key, row in wanted.items():
        if unlike := _values(_plain(row["value"]), _plain(found[key]["value"])):
            return f"xcom {key}{unlike}"
    return None


def _instance_key(row: Row) -> Key:
    return row["task_id"], row.get("map_index", -1)


def _xcom_key(row: Row) -> Key:
    return (*_instance_key(row), row.get("key", "return_value"))


def _by(
    key: Callable[[Row], Key], rows: Iterable[Row], ignored: set[str]
) -> dict[Key, Row]:
    return {key(row): row for row in rows if row["task_id"] not in ignored}


def _keys(what: str, wanted: dict[Key, Row], found: dict[Key, Row]) -> str:
    missing = sorted(wanted.keys() - found.keys())
    extra = sorted(found.keys() - wanted.keys())
    return f"{what}: missing {missing}, unexpected {extra}"


def _plain(value: Any) -> Any:
    """Take tuples and sets for lists, sets in order."""
    if isinstance(value, dict):
        kind = value.get("__classname__")
        items = value.get("__data__")
        if kind in _SEQUENCES and isinstance(items, list):
            plain = [_plain(item) for item in items]
            return plain if kind == "builtins.tuple" else sorted(plain, key=_text)
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _values(expected: Any, got: Any, path: str = "") -> str | None:
    """Return the first difference between two JSON values, with its path."""
    if isinstance(got, str) and not isinstance(expected, str):
        got = _spelt(got)
    if isinstance(expected, dict):
        if expected.get("__nondeterministic__"):
            return None
        found = _digest(got) if "__digest__" in expected else got
        if isinstance(found, dict):
            return _items(expected, found, path)
    if isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got):
            return f"{path}: expected {len(expected)} items, got {len(got)}"
        rows = dict(enumerate(expected))
        return _items(rows, dict(enumerate(got)), path)
    return None if _equal(expected, got) else _unlike(expected, got, path)


def _items(expected: dict[Any, Any], got: dict[Any, Any], path: str) -> str | None:
    if expected.keys() != got.keys():
        return _unlike(sorted(expected, key=str), sorted(got, key=str), f"{path} keys")
    found = (_values(item, got[key], f"{path}.{key}") for key, item in expected.items())
    return next((unlike for unlike in found if unlike), None)


def _spelt(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _equal(expected: Any, got: Any) -> bool:
    if isinstance(expected, float) and isinstance(got, int | float):
        both_nan = math.isnan(expected) and math.isnan(got)
        return both_nan or math.isclose(expected, got, rel_tol=1e-12)
    is_same_kind = isinstance(expected, bool) == isinstance(got, bool)
    return is_same_kind and bool(expected == got)


def _digest(value: Any) -> Row:
    text = _text(value)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"__digest__": digest, "__len__": len(text)}


def _unlike(expected: Any, got: Any, path: str) -> str:
    return f"{path}: expected {_short(expected)}, got {_short(got)}"


def _short(value: Any) -> str:
    text = _text(value)
    limit = _SHOWN_CHARACTERS
    return text if len(text) <= limit else f"{text[:limit]}..."


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
