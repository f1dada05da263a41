"""Writes the map of modules into docs/ARCHITECTURE.md: ``python -m tests.architecture_map [--check]``.

The map has one line per package and module: the first line of its docstring. ``make format``
writes it; ``make check`` fails when it differs from the docstrings.
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "ARCHITECTURE.md"
PACKAGE = ROOT / "appliance"
BEGIN = "<!-- The map: made by `make format` from the first line of each module. -->"
END = "<!-- End of the map. -->"


def main() -> None:
    """Write the map; with ``--check`` only compare, and exit with 1 when it differs."""
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    made = f"{before}{BEGIN}\n\n{architecture_map()}\n{END}{after}"
    if "--check" in sys.argv:
        if made != page:
            sys.exit("docs/ARCHITECTURE.md: the map is out of date: run `make format`")
        return
    PAGE.write_text(made)


def architecture_map() -> str:
    """Return the map as Markdown: a heading per package, a line per module."""
    folders = sorted({path.parent for path in PACKAGE.rglob("*.py")})
    return "\n".join(_package(folder) for folder in folders)


def _package(folder: Path) -> str:
    title = f"### `{folder.relative_to(ROOT)}/`"
    lines = [title, "", _first_line(folder / "__init__.py"), ""]
    lines += [
        f"- `{path.stem}`: {_first_line(path)}"
        for path in sorted(folder.glob("*.py"))
        if path.stem != "__init__"
    ]
    return "\n".join(lines) + "\n"


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.split("\n", maxsplit=1)[0].replace("``", "`")


if __name__ == "__main__":
    main()
