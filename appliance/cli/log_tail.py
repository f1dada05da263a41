"""Reader of a run's log files in the data folder, in Airflow's layout, while they grow."""

import json
from collections.abc import Iterator
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Any

from appliance.cli.output import task_name


class LogTail:
    """The lines of a run's log files, each line once.

    For people they are marked ``task[map index] try N |``; raw, they are the JSON that is kept.
    """

    def __init__(
        self,
        data: Path,
        *,
        dag_id: str,
        run_id: str,
        task_id: str | None = None,
        map_index: int | None = None,
        try_number: int | None = None,
        is_raw: bool = False,
    ) -> None:
        from appliance.taskrun.log_paths import log_file, run_folder

        self.folder = data / run_folder(dag_id, run_id)
        first = log_file(
            dag_id, run_id, task_id or "*", map_index=-1, try_number=try_number or 0
        )
        task = "task_id=*" if task_id is None else escape(first.parent.name)
        file = "attempt=*.log" if try_number is None else first.name
        mapped = "map_index=*" if map_index is None else f"map_index={map_index}"
        self._patterns = [f"{task}/{mapped}/{file}"]
        if map_index is None:
            self._patterns.append(f"{task}/{file}")
        if task_id is None:
            self._patterns.append("on_*.log")
        self._is_raw = is_raw
        self._read: dict[Path, int] = {}

    def lines(self) -> Iterator[str]:
        """Give what was written since the last call; the file written to last comes last."""
        grown = []
        for pattern in self._patterns:
            for path in self.folder.glob(pattern):
                with suppress(FileNotFoundError):  # Deleted with its run.
                    status = path.stat()
                    if status.st_size > self._read.get(path, 0):
                        grown.append((status.st_mtime_ns, path))
        for _, path in sorted(grown):
            yield from self._news(path)

    def _news(self, path: Path) -> Iterator[str]:
        owner = _whose(path.relative_to(self.folder))
        show = _raw if self._is_raw else _rendered
        with suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            for line in file:
                if not line.endswith(b"\n"):
                    return  # The rest is still to come.
                self._read[path] = self._read.get(path, 0) + len(line)
                yield from show(line.decode(errors="replace"), owner)


def _rendered(line: str, whose: dict[str, Any]) -> Iterator[str]:
    from appliance.taskrun.log_text import render

    mark = whose.get("callback") or (
        f"{task_name(whose['task_id'], whose['map_index'])} try {whose['try_number']}"
    )
    for part in render(line).splitlines():
        yield f"{mark} | {part}"


def _raw(line: str, whose: dict[str, Any]) -> Iterator[str]:
    """Give the event as it is kept, after whose it is."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        event = {"event": line.removesuffix("\n")}
    yield json.dumps({**whose, **event}, ensure_ascii=False)


def _whose(path: Path) -> dict[str, Any]:
    """Say which try, callbacks of the DAG or listeners a log file belongs to, from its path below the run's."""
    if len(path.parts) == 1:
        return {"callback": path.stem}
    words = dict(part.split("=", 1) for part in path.with_suffix("").parts)
    return {
        "task_id": words["task_id"],
        "map_index": int(words.get("map_index", -1)),
        "try_number": int(words["attempt"]),
    }
