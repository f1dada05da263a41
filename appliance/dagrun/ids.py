"""Checks ids of DAGs, runs and tasks, which become names of folders. Pure.

Airflow's own rules are stricter and its own to check; these hold for what comes from anybody who reaches the server.
Source: Airflow 3.3: ``models/base.py`` (ID_LEN), ``models/dagrun.py`` (validate_run_id).
"""

MOST_CHARS = 250
"""Airflow's ``ID_LEN``."""
_SHOWN_CHARS = 200


def objection(name: str) -> str | None:
    """Say why a text cannot be an id; None if it can."""
    if not name:
        return "it is empty"
    if len(name) > MOST_CHARS:
        return f"it has {len(name)} characters; an id has at most {MOST_CHARS}"
    if not name.isprintable():
        return "it has characters that cannot be printed"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "it would lead to another folder"
    return None


def shown(text: str) -> str:
    """Return a text as an error may show it: not too long, and all of it printable."""
    cut = text[:_SHOWN_CHARS]
    kept = (
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in cut
    )
    return "".join(kept) + ("..." if len(text) > len(cut) else "")
