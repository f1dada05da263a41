"""Command that makes a virtual environment with the packages of this interpreter.

``python -m appliance.forkserver.virtualenv FOLDER``.

The standard library's ``--system-site-packages`` gives it those of the interpreter ours was made from. A ``.pth`` file
adds ours, after its own, before anything is installed: what is here need not be installed there.
"""

import site
import sys
import venv
from pathlib import Path

_FILE = "appliance-packages.pth"


def command(folder: str, *, has_ours: bool) -> list[str]:
    """Return the command that makes an environment from this interpreter, with its packages or with none."""
    if has_ours:
        return [sys.executable, "-m", __name__, folder]
    return [sys.executable, "-m", "venv", folder]


def main() -> None:
    """Make it in the folder that is named."""
    folder = Path(sys.argv[1])
    venv.create(folder, system_site_packages=True, with_pip=True, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    lines = [
        f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()
    ]
    file = folder / "lib" / version / "site-packages" / _FILE
    file.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
