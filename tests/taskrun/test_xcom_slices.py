"""Slices of mapped XComs, against the code of Airflow's own server on a real (SQLite) database."""

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.dagrun.attempt import XComRow
from appliance.taskrun.xcoms import XComs
from tests.fakes.runs import FakeRun, a_try

pytestmark = pytest.mark.needs_airflow

COUNT = 5
PLACE = {"dag_id": "shop", "run_id": "manual__1", "task_id": "items", "key": "k"}


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    """Yield a database session with ``COUNT`` XComs, pushed out of order."""
    import datetime

    from airflow.models.base import Base
    from airflow.models.dagrun import DagRun
    from airflow.models.xcom import XComModel
    from sqlalchemy import create_engine, insert
    from sqlalchemy.orm import Session

    engine = create_engine("sqlite://")
    tables = [DagRun.__table__, XComModel.__table__]
    Base.metadata.create_all(engine, tables=tables)
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    with Session(engine) as session:
        run = {
            "id": 1,
            "dag_id": PLACE["dag_id"],
            "run_id": PLACE["run_id"],
            "run_type": "manual",
            "run_after": now,
            "state": "running",
            "log_template_id": None,
        }
        session.execute(insert(DagRun.__table__).values(run))
        for index in (3, 0, 4, 1, 2):
            row = {**PLACE, "dag_run_id": 1, "map_index": index, "value": index * 10}
            session.execute(
                insert(XComModel.__table__).values({**row, "timestamp": now})
            )
        yield session


def ours(kind: str, **body: Any) -> Any:
    rows = [XComRow("items", index, "k", index * 10) for index in (3, 0, 4, 1, 2)]

    async def no_store(_row: XComRow) -> object:
        raise AssertionError

    xcoms = XComs(a_try(), FakeRun(rows=rows), store=no_store, clock=lambda: 0.0)

    async def ask() -> Any:
        return (await xcoms.handlers()[kind]({**PLACE, **body})).body

    return asyncio.run(ask())


def test_slices_are_the_servers(session: Any) -> None:
    """Every start, stop and step around the edges.

    Bounds beyond the ends are left out: the server counts them wrong. And where a slice is empty because its bounds cross, the server builds a negative LIMIT, which SQLite
    takes for "all" and PostgreSQL refuses; there ours is what Python says.
    """
    from airflow.api_fastapi.execution_api.routes import xcoms as routes

    bounds = (None, *range(-COUNT, COUNT + 1))
    for start, stop, step in itertools.product(bounds, bounds, (None, 1, 2, -1, -2)):
        params = routes.GetXComSliceFilterParams(start=start, stop=stop, step=step)
        reply = ours("GetXComSequenceSlice", start=start, stop=stop, step=step)
        python = [index * 10 for index in range(COUNT)][slice(start, stop, step)]
        assert reply["root"] == python
        theirs = routes.get_mapped_xcom_by_slice(
            **PLACE, params=params, session=session
        ).root
        assert theirs == python or not python


def test_items_are_the_servers(session: Any) -> None:
    from airflow.api_fastapi.execution_api.routes import xcoms as routes
    from fastapi import HTTPException

    for offset in range(-COUNT - 1, COUNT + 2):
        reply = ours("GetXComSequenceItem", offset=offset)
        try:
            theirs = routes.get_mapped_xcom_by_index(
                **PLACE, offset=offset, session=session
            )
        except HTTPException:
            assert reply["error"] == "XCOM_NOT_FOUND"
        else:
            assert reply["root"] == theirs.root
