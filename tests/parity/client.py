"""Asks the oracle. It runs in a process and an AIRFLOW_HOME of its own; nothing here imports Airflow."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.parity.specs import MAX_MAP_LENGTH

ROOT = Path(__file__).parents[2]


class OracleClient:
    """One running oracle."""

    def __init__(self, requests: IO[str], answers: IO[str]) -> None:
        self._requests = requests
        self._answers = answers

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Have one spec run; see ``serve.py`` for both formats."""
        self._requests.write(json.dumps(request) + "\n")
        self._requests.flush()
        line = self._answers.readline()
        assert line, "the oracle has died; what it said is on stderr"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def oracle(home: Path) -> Iterator[OracleClient]:
    """Start an oracle whose Airflow lives in ``home``; it takes some seconds."""
    plugins = home / "plugins"
    plugins.mkdir()
    Path(plugins, "weights.py").write_text("from tests.parity.weights import Weights\n")
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite://",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__MAX_MAP_LENGTH": str(MAX_MAP_LENGTH),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
        "PYTHONPATH": str(ROOT),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.parity.serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        yield OracleClient(process.stdin, process.stdout)
        process.stdin.close()
