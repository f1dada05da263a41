"""Quotes text for queries of Temporal's visibility store."""


def quoted(text: str) -> str:
    """Write a text into a query of the visibility store."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
