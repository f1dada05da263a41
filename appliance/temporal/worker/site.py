"""What a worker lets work beside it use: its DAG folder, its configuration in force, the scheduler."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from appliance.config.model import Config
from appliance.dagfile.folder import DagFolder
from appliance.temporal.client.schedules import Schedules


class Site:
    """One worker's."""

    def __init__(
        self,
        config: Config,
        folder: Callable[[], Awaitable[DagFolder]],
        schedules: Schedules,
    ) -> None:
        """``folder`` gives the DAG folder as soon as it can be read."""
        self.config = config
        self.folder = folder
        self.schedules = schedules

    def reconfigure(self, config: Config) -> None:
        """Take a configuration that was saved."""
        self.config = config


Beside = Callable[[Site], AbstractAsyncContextManager[None]]
"""Work that goes on as long as the worker."""
