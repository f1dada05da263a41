"""Airflow's own list of DAG files, over folders that the appliance has found.

* ``dag_processing.importers.base`` and ``python_importer`` have ``find_path_from_directory`` and ``might_contain_dag`` in
  their own modules. The first gives up on all files for one folder it cannot take, the second's errors are only logged.
* ``_shared.module_loading.file_discovery``: the two kinds of rules an ``.airflowignore`` has.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow._shared.module_loading import file_discovery
from airflow.configuration import conf
from airflow.dag_processing.importers import (
    base,
    get_importer_registry,
    python_importer,
)

from appliance.forkserver.airflow_internals.pinned_names import require

IGNORE_FILE = ".airflowignore"

_MODULES = (base, python_importer)
_NAMES = ("find_path_from_directory", "might_contain_dag")
_COMMENT = re.compile(r"\s*#.*")

for _module in _MODULES:
    require(_module, *_NAMES)
require(file_discovery, "_GlobIgnoreRule", "_RegexpIgnoreRule")

Rules = tuple[Any, ...]


def dag_files(
    root: Path, paths: Iterable[str], failed: Callable[[str, Exception], None]
) -> list[str]:
    """Return those of some paths that Airflow takes for DAG files.

    Args:
        root: The DAG folder.
        paths: What is below it and not ignored.
        failed: Told of a path Airflow cannot examine, and why.
    """
    safe_mode = conf.getboolean("core", "dag_discovery_safe_mode")
    known = list(paths)
    with _instead(known, failed):
        return list(get_importer_registry().list_dag_files(root, safe_mode=safe_mode))


@contextmanager
def _instead(
    paths: list[str], failed: Callable[[str, Exception], None]
) -> Iterator[None]:
    kept = {
        (module, name): getattr(module, name) for module in _MODULES for name in _NAMES
    }
    examine = python_importer.might_contain_dag

    def examined(file_path: str, *rest: Any) -> bool:
        try:
            return bool(examine(file_path, *rest))
        except Exception as error:  # noqa: BLE001 - might_contain_dag_callable may be the user's
            failed(file_path, error)
            return False

    for module in _MODULES:
        module.find_path_from_directory = lambda *_: iter(paths)
        module.might_contain_dag = examined
    try:
        yield
    finally:
        for (module, name), value in kept.items():
            setattr(module, name, value)


def rules(
    text: str, root: Path, file: Path, failed: Callable[[str, Exception], None]
) -> Rules:
    """Return the rules an ``.airflowignore`` has.

    Args:
        text: What is in it.
        root: The DAG folder.
        file: Where it is.
        failed: Told of the file when one of its lines is no pattern.
    """
    made = []
    for line in filter(None, (_COMMENT.sub("", one) for one in text.split("\n"))):
        try:
            made.append(_kind().compile(line, root, file))
        except ValueError as error:
            failed(str(file), ValueError(f"{line!r} is no pattern: {error}"))
    return tuple(rule for rule in made if rule is not None)


def is_ignored(path: str, among: Rules) -> bool:
    """Whether rules leave a path out."""
    try:
        return bool(among) and bool(_kind().match(Path(path), list(among)))
    except OSError:
        return False  # It cannot be looked at, which is told.


def _kind() -> Any:
    syntax = conf.get_mandatory_value("core", "DAG_IGNORE_FILE_SYNTAX", fallback="glob")
    if syntax == "regexp":
        return file_discovery._RegexpIgnoreRule  # noqa: SLF001 - pinned, listed above
    if syntax in ("glob", ""):
        return file_discovery._GlobIgnoreRule  # noqa: SLF001 - pinned, listed above
    raise ValueError(f"Unsupported ignore_file_syntax: {syntax}")
