"""Virtual environments of ``@task.virtualenv``, made from this interpreter with its packages as system's.

Airflow runs ``python -m venv``, or uv if there is one, with the ``python`` of PATH. An environment made from one of a
virtual environment, as ours is, has the packages of the interpreter below that as its system's: not Airflow.

Besides what the package lists: ``providers.standard.utils.python_virtualenv`` looks up ``_generate_venv_cmd`` and
``_generate_uv_cmd`` in the module; each returns the command that makes an environment in a folder. So do
``_generate_pip_install_cmd_from_file`` and ``_from_list`` for what is installed there: ``FOLDER/bin/pip`` and its words.
"""

import sys
from collections.abc import Callable
from typing import Any

from airflow.providers.standard.utils import python_virtualenv

from appliance.forkserver import virtualenv

_MAJOR, _MINOR = sys.version_info[:2]
_THIS = ("python", "python3", f"python{_MAJOR}", f"python{_MAJOR}.{_MINOR}")
"""What a task calls a Python of our version; any other one is looked for on PATH."""


def take_from_here() -> None:
    """Have environments with a Python of our version made from ours."""
    make_with_venv = python_virtualenv._generate_venv_cmd  # noqa: SLF001 - pinned, see above
    make_with_uv = python_virtualenv._generate_uv_cmd  # noqa: SLF001 - pinned, see above

    def with_venv(folder: str, python: str, system_site_packages: bool) -> list[str]:  # noqa: FBT001 - Airflow's signature
        if python not in _THIS:
            return list(make_with_venv(folder, python, system_site_packages))
        return virtualenv.command(folder, has_ours=system_site_packages)

    def with_uv(folder: str, python: str, system_site_packages: bool) -> list[str]:  # noqa: FBT001 - Airflow's signature
        if python not in _THIS:
            return list(make_with_uv(folder, python, system_site_packages))
        if system_site_packages:  # uv knows nothing of our packages
            return virtualenv.command(folder, has_ours=True)
        return list(make_with_uv(folder, sys.executable, system_site_packages))

    def with_pip(make: Callable[..., list[str]]) -> Callable[..., list[str]]:
        def made(folder: str, *args: Any) -> list[str]:
            # A /tmp whose files may not be executed holds links to an interpreter, but no script.
            return [f"{folder}/bin/python", "-m", "pip", *make(folder, *args)[1:]]

        return made

    python_virtualenv._generate_pip_install_cmd_from_file = with_pip(  # noqa: SLF001 - pinned, see above
        python_virtualenv._generate_pip_install_cmd_from_file  # noqa: SLF001 - pinned, see above
    )
    python_virtualenv._generate_pip_install_cmd_from_list = with_pip(  # noqa: SLF001 - pinned, see above
        python_virtualenv._generate_pip_install_cmd_from_list  # noqa: SLF001 - pinned, see above
    )
    python_virtualenv._generate_venv_cmd = with_venv  # noqa: SLF001 - pinned, see above
    python_virtualenv._generate_uv_cmd = with_uv  # noqa: SLF001 - pinned, see above
