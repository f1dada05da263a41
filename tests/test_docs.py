"""What the pages name exists, and what exists is named in them."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from appliance.cli.main import appliance
from appliance.cli.submission import submit
from appliance.config import load, schema
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if path.is_file()
)
OF_USERS = ("include/", "plugins/", "logs/", "xcom/", "backups/", "worker/", "run/")
"""Folders of a project, or of the data folder."""
EXAMPLES = sorted((ROOT / "dags").glob("*.py"))
COMPATIBILITY = (ROOT / "docs" / "COMPATIBILITY.md").read_text()
OPERATIONS = (ROOT / "docs" / "OPERATIONS.md").read_text()
SPECIMEN = (ROOT / "conf" / "appliance.yaml").read_text()


def _commands(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    for own, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{name} {own}")
        else:
            yield f"{name} {own}", command


COMMANDS = dict(_commands(appliance, "appliance"))
KEYS = [*schema.SECTIONS, *schema.KEYS]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in COMPATIBILITY.splitlines()
    if re.match(r"\|(?!---| feature )", line)
]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme_and_has_help(name: str) -> None:
    assert f"`{name}" in README
    assert COMMANDS[name].help


def test_every_option_of_submit_is_in_the_readme() -> None:
    options = {
        max(parameter.opts, key=len)
        for parameter in submit.params
        if isinstance(parameter, click.Option)
    }

    assert [option for option in sorted(options) if option not in README] == []


@pytest.mark.parametrize("name", sorted(load._KNOWN))
def test_every_variable_of_the_appliance_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_explained_in_the_specimen(key: str) -> None:
    section, _, inner = key.rpartition(".")
    text = SPECIMEN
    if section:
        text = re.split(rf"^{section}:", text, flags=re.MULTILINE)[1]
        text = re.split(r"^\w", text, flags=re.MULTILINE)[0]

    assert re.search(rf"^(?:  )?(?:# )?{inner or key}:", text, re.MULTILINE)


def test_the_specimen_of_the_image_is_the_one_of_the_repository() -> None:
    """The image has a copy, as conf/appliance.yaml may hold its user's passwords."""
    copy = (ROOT / "conf" / "specimen.yaml").read_text()

    assert copy == SPECIMEN, "cp conf/appliance.yaml conf/specimen.yaml"


@pytest.mark.parametrize("key", schema.KEYS)
def test_operations_names_the_keys_that_need_no_restart(key: str) -> None:
    paragraph = OPERATIONS.split("Saved while the appliance runs")[1].split("\n\n")[0]

    assert (f"`{key}`" in paragraph) == schema.KEYS[key].is_live


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_in_the_readme_and_has_a_docstring(example: Path) -> None:
    assert f"`{example.stem}`" in README
    assert example.read_text().startswith('"""')


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_of_compatibility_names_a_test_that_exists(row: list[str]) -> None:
    _feature, works, test, _note = row
    found = re.fullmatch(r"`(?P<file>[\w/.]+)::(?P<name>\w+)`", test)

    assert works in ("yes", "partly", "no")
    assert found or works == "no"
    if found:
        assert f"def {found['name']}(" in (ROOT / found["file"]).read_text()


def test_compatibility_has_rows() -> None:
    assert len(ROWS) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]*))?\)", text)

    broken = [
        f"{target}#{anchor}"
        for target, anchor in links
        if not _leads_somewhere(page.parent / target if target else page, anchor)
    ]

    assert broken == []


def _leads_somewhere(target: Path, anchor: str) -> bool:
    """Whether there is such a file, and in it such a heading."""
    if not target.exists():
        return False
    if not anchor:
        return True
    headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
    return anchor in {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


def test_architecture_has_the_layers_that_are_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    page = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    drawn = re.findall(r"^    (.*(?: > ).*)$", page, re.MULTILINE)

    assert " ".join(drawn).split() == " > ".join(layers).split()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_folders_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:\w[\w.]*/)+(?:[\w.]+\.(?:py|md|yaml|jsonl?))?)`", page.read_text()
    )
    places = (ROOT, ROOT / "appliance", ROOT / "docs")

    missing = [
        name for name in named if not any((place / name).exists() for place in places)
    ]

    assert [name for name in missing if name not in OF_USERS] == []
