"""Error message for a start at which Airflow could not be prepared: setting, problem, remedy.

Looked for only once it has failed, by trying again what settings name: their modules are the user's own, and Airflow's
errors name neither the variable nor what the import of the module said.
"""

import importlib
import json
import os
import re
import sys
import sysconfig
import traceback
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType

_NAMES_SOMETHING = (
    "AIRFLOW__CORE__XCOM_BACKEND",
    "AIRFLOW__WORKERS__SECRETS_BACKEND",
    "AIRFLOW__SECRETS__BACKEND",
    "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS",
    "AIRFLOW__LOGGING__SECRET_MASK_ADAPTER",
    "AIRFLOW__CORE__HOSTNAME_CALLABLE",
    "AIRFLOW__WORKERS__STATE_STORE_BACKEND",
    "AIRFLOW__METRICS__STATSD_CUSTOM_CLIENT_PATH",
    "AIRFLOW__METRICS__STAT_NAME_HANDLER",
    "AIRFLOW__SENTRY__BEFORE_SEND",
    "AIRFLOW__SENTRY__TRANSPORT",
)
"""Settings whose value is the dotted path of a class, a function or another object."""
_MADE_IN = "_get_custom_secret_backend"
"""Where Airflow calls the secrets backend's class."""
_KWARGS = (
    "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS",
    "AIRFLOW__SECRETS__BACKEND_KWARGS",
)
_TOLD_BY_AIRFLOW = (
    re.compile(r"`\[(?P<section>[\w.]+)\] (?P<key>\w+)`"),
    re.compile(r'check "(?P<key>\w+)" key in "(?P<section>[\w.]+)" section'),
)
_OURS = "appliance."
_OFTEN = (
    "Most often a package is missing, or one of Airflow's own settings "
    "(AIRFLOW__..., airflow.cfg) is wrong"
)
_SHORTEST_SECRET = 4
_PLUGINS = "AIRFLOW__CORE__PLUGINS_FOLDER"
_DAGS = "AIRFLOW__CORE__DAGS_FOLDER"


def may_pass(error: BaseException) -> bool:
    """Whether another start a little later may succeed though nobody has changed anything."""
    lasting = (FileNotFoundError, NotADirectoryError, PermissionError)
    return isinstance(error, OSError | MemoryError) and not isinstance(error, lasting)


def fault(error: BaseException) -> tuple[str, bool]:
    """Say what made the preparation fail, and whether that names the setting to mend.

    No value of a secrets backend's arguments is repeated.
    """
    for name in _NAMES_SOMETHING:
        path = os.environ.get(name, "")
        if path and not path.startswith(_OURS) and (what := _import_fault(name, path)):
            return _without_secrets(f"{name}: {what}"), True
    what = _described(error)
    if _is_made_in(error.__traceback__, _MADE_IN):
        at, arguments = ("WORKERS__SECRETS_BACKEND", _KWARGS[0])
        if not os.environ.get(f"AIRFLOW__{at}"):
            at, arguments = ("SECRETS__BACKEND", _KWARGS[1])
        what = f"AIRFLOW__{at}: it cannot be made with {arguments}: {what}"
    elif option := _option(str(error)):
        what = f"{option}: {error}"
    else:
        return _without_secrets(f"Airflow cannot be imported: {what}. {_OFTEN}"), False
    return _without_secrets(what), True


def _option(text: str) -> str | None:
    """Return the variable of the option an error of Airflow's is about."""
    for pattern in _TOLD_BY_AIRFLOW:
        if told := pattern.search(text):
            section = told["section"].replace(".", "_")
            return f"AIRFLOW__{section}__{told['key']}".upper()
    return None


def _import_fault(setting: str, path: str) -> str | None:
    """Say why what the ``path`` of a setting names cannot be imported; None when it can."""
    module, _, name = path.rpartition(".")
    if not module:
        return f"{path!r} is no dotted path of a class, as in my_module.MyClass"
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as err:
        return _missing(setting, module, err)
    except BaseException as err:  # noqa: BLE001 - it is a user's module
        return f"the module {module} cannot be imported: {_described(err)}"
    if hasattr(found, name):
        return None
    near = get_close_matches(name, dir(found), n=1)
    hint = f"; did you mean {module}.{near[0]}?" if near else ""
    return f"the module {module} ({found.__file__}) has no {name}{hint}"


def _missing(setting: str, module: str, error: ModuleNotFoundError) -> str:
    missing = error.name or module
    if module != missing and not module.startswith(f"{missing}."):
        return (
            f"the module {module} needs {missing}, which is not installed: "
            f"{_described(error)}"
        )
    dags, plugins = os.environ.get(_DAGS, ""), os.environ.get(_PLUGINS, "")
    searched = "a folder of PYTHONPATH"
    # Airflow makes these before it knows of the plugins folder.
    if "SECRETS" not in setting:
        searched = f"the plugins folder ({plugins}) or {searched}"
    there = [folder for folder in (dags, plugins) if folder and _has(folder, missing)]
    where = f"; {there[0]}, where it is, is not searched for it" if there else ""
    what = f"there is no module {missing}: put it into {searched}"
    return f"{what}, or install its package{where}"


def _has(folder: str, module: str) -> bool:
    path = Path(folder, *module.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def _described(error: BaseException) -> str:
    """Return place, kind and text of an error, in one line."""
    kind, text = type(error).__name__, " ".join(str(error).split())
    if isinstance(error, SyntaxError):
        place, text = f"{error.filename}:{error.lineno}: ", str(error.msg)
    else:
        place = _place(error.__traceback__)
    return f"{place}{kind}: {text}" if text else f"{place}{kind}"


def _place(trace: TracebackType | None) -> str:
    """Return the last line of the user's own that was run, as in ``file:line: ``."""
    theirs = (sysconfig.get_paths()["stdlib"], sysconfig.get_paths()["purelib"])
    ours = str(Path(__file__).parents[1])
    own = [
        frame
        for frame in traceback.extract_tb(trace)
        if not frame.filename.startswith((*theirs, ours, sys.base_prefix, "<"))
    ]
    return f"{own[-1].filename}:{own[-1].lineno}: " if own else ""


def _is_made_in(trace: TracebackType | None, function: str) -> bool:
    return any(frame.name == function for frame in traceback.extract_tb(trace))


def _without_secrets(text: str) -> str:
    for name in _KWARGS:
        try:
            given = json.loads(os.environ.get(name) or "{}")
        except ValueError:
            continue
        for value in _texts(given):
            if len(value) >= _SHORTEST_SECRET:
                text = text.replace(value, "***")
    return text


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []
