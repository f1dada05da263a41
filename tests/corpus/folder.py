"""Copies the corpus's DAG files, unchanged, out of the installed Airflow packages."""

import shutil
from importlib.metadata import distribution
from pathlib import Path

SOURCES = {
    "core_examples": ("apache-airflow-core", "airflow/example_dags"),
    "std_examples": (
        "apache-airflow-providers-standard",
        "airflow/providers/standard/example_dags",
    ),
}

PLUGINS = '''\
"""The plugins of Airflow's examples but their listeners, as load_examples registers them."""

import importlib
import pkgutil

import airflow.example_dags.plugins as package
from airflow.plugins_manager import AirflowPlugin

seen = set()
for module in pkgutil.iter_modules(package.__path__):
    if module.name in ("listener_plugin", "event_listener"):
        continue
    found = importlib.import_module(f"{package.__name__}.{module.name}")
    for name, value in list(vars(found).items()):
        if isinstance(value, type) and issubclass(value, AirflowPlugin):
            if value is not AirflowPlugin and value.name not in seen:
                seen.add(value.name)
                globals()["Example" + name] = value
name = value = None
'''


def collect(folder: Path) -> None:
    """Make one DAG folder a bundle, and ``plugins``, in ``folder``."""
    unwanted = shutil.ignore_patterns("__pycache__", "__init__.py", "plugins")
    for bundle, (package, path) in SOURCES.items():
        source = str(distribution(package).locate_file(path))
        shutil.copytree(source, folder / bundle, ignore=unwanted)
    (folder / "plugins").mkdir()
    (folder / "plugins" / "example_plugins.py").write_text(PLUGINS)
