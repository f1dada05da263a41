"""The two commands, ``appliance`` and ``submit``; ``python -m appliance`` is the first."""


def main() -> None:
    """Run ``appliance``."""
    from appliance.cli.program import appliance

    appliance(prog_name="appliance")


def submit() -> None:
    """Run ``submit``, importing nothing that only other commands need."""
    from appliance.cli.submission import submit as command

    command(prog_name="submit")


if __name__ == "__main__":
    main()
