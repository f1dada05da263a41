"""A container that is killed, again and again, or paused for a minute loses nothing but the tries it had in hand."""

import asyncio
import random
import time
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.faults.accounts import Kill, complaints
from tests.image.container import Container, docker, rows, started, until, volume

pytestmark = [pytest.mark.needs_image, pytest.mark.timeout(400)]

DAGS = Path(__file__).parent / "dags"
COUNTED = Path(__file__).parents[1] / "faults" / "dags"
DAG_IDS = ("counted_once", "counted_again")
LIVES = 5
RUNS_A_LIFE = 4


def test_every_try_is_accounted_for_however_often_the_container_is_killed(
    tmp_path: Path,
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    dice = random.Random(seed)  # noqa: S311
    tmp_path.chmod(0o777)
    (tmp_path / "counters").touch()
    (tmp_path / "counters").chmod(0o666)
    kills: list[Kill] = []
    runs = [(DAG_IDS[n % 2], f"run{n}") for n in range(LIVES * RUNS_A_LIFE)]
    with volume() as name:
        mounts = (f"{name}:/data", f"{COUNTED}:/dags:ro", f"{tmp_path}:/gate")
        options = [word for mount in mounts for word in ("-v", mount)]
        with started(*options) as box:
            for life in range(LIVES):
                box.wait_until_well()
                for dag_id, run_id in runs[life::LIVES]:
                    submit(box, dag_id, run_id)
                time.sleep(dice.uniform(0.0, 4.0))
                if life < LIVES - 1:
                    assert docker("kill", box.name).code == 0
                    kills.append(Kill("box", time.time()))
                    assert docker("start", box.name).code == 0
            found = asyncio.run(settled(box, runs, tmp_path, kills))
    assert not found, f"seed {seed}:\n" + "\n".join(found)


def submit(box: Container, dag_id: str, run_id: str) -> None:
    conf = '{"folder": "/gate"}'
    done = box.exec("submit", dag_id, "--run-id", run_id, "--conf", conf)
    assert done.code == 0, done.stderr + box.logs()


async def settled(
    box: Container, runs: list[tuple[str, str]], folder: Path, kills: list[Kill]
) -> list[str]:
    client = await Client.connect(f"{box.address}:7233")
    return await complaints(client, runs, folder, kills)


def test_a_pause_of_a_minute_fails_no_try(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with volume() as name:
        mounts = (f"{name}:/data", f"{DAGS}:/dags:ro", f"{tmp_path}:/gate")
        options = [word for mount in mounts for word in ("-v", mount)]
        with started(*options) as box:
            box.wait_until_well()
            assert box.exec("submit", "lasts", "--run-id", "one").code == 0
            until((tmp_path / "begun").exists, box.logs)

            assert docker("pause", box.name).code == 0
            time.sleep(65)  # longer than a lease; there is nothing to wait for
            assert docker("unpause", box.name).code == 0
            (tmp_path / "open").touch()

            done = box.exec("appliance", "runs", "wait", "lasts", "one", "-o", "json")
            assert done.code == 0, done.stderr + box.logs()
            assert {row["try_number"] for row in done.json["tasks"]} == {1}
            xcoms = rows(box.exec("appliance", "xcoms", "lasts", "one", "-o", "json"))
            assert [row["value"] for row in xcoms] == ["kept", ["kept", None]]
            assert len((tmp_path / "begun").read_text().split()) == 1
