"""One zygote for all tests of forking."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from appliance.forkserver.control import Zygote
from tests.taskrun.conftest import zygote_env


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def base(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Zygote]:
    base = await Zygote.start(env=zygote_env(tmp_path_factory.mktemp("home")))
    yield base
    base.close()
