"""The log files of a run in the data folder, in Airflow's layout, read as they grow."""

from collections.abc import Iterator
from glob import escape
from pathlib import Path


class LogTail:
    """The lines of a run's log files, each line once, marked ``task[map index] try N |``."""

    def __init__(
        self,
        data: Path,
        *,
        dag_id: str,
        run_id: str,
        task_id: str | None = None,
        map_index: int | None = None,
        try_number: int | None = None,
    ) -> None:
        from appliance.taskrun.logs import log_file, run_folder

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
            self._patterns.append("on_*_callback.log")
        self._read: dict[Path, int] = {}

    def lines(self) -> Iterator[str]:
        """Give what was written since the last call; the file written to last comes last."""
        found = [path for one in self._patterns for path in self.folder.glob(one)]
        for path in sorted(found, key=lambda path: path.stat().st_mtime_ns):
            yield from self._news(path)

    def _news(self, path: Path) -> Iterator[str]:
        from appliance.taskrun.logtext import render

        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            text = file.read()
        complete = text[: text.rfind(b"\n") + 1]
        self._read[path] = self._read.get(path, 0) + len(complete)
        mark = _mark(path)
        for line in complete.decode(errors="replace").splitlines():
            for part in render(line).splitlines():
                yield f"{mark} | {part}"


def _mark(path: Path) -> str:
    """Name the try, or the callbacks of the DAG, a log file belongs to."""
    if path.stem.endswith("_callback"):
        return path.stem
    words = dict(part.split("=", 1) for part in path.parts if "=" in part)
    index = f"[{words['map_index']}]" if "map_index" in words else ""
    return f"{words['task_id']}{index} try {path.stem.removeprefix('attempt=')}"
