"""The DAG folder as people use it: files written, DAGs found, runs checked."""

import asyncio
import time
import zipfile

import pytest

from appliance.errors import DagError
from tests.dagfile.conftest import Box

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(120),
]

ONE = """
    from airflow.sdk import DAG, task

    with DAG("{dag_id}", schedule="@daily", tags=["b", "a"], description="words"):
        @task(owner="ann")
        def {task}():
            pass
        {task}()
"""


async def test_finds_a_dag_by_its_id(box: Box) -> None:
    box.write("deep/one.py", ONE.format(dag_id="one", task="first"))
    box.write("two.py", ONE.format(dag_id="two", task="first"))
    checked = await box.folder.check(dag_id="one")
    assert checked.file == "deep/one.py"
    assert list(checked.plan["tasks"]) == ["first"]
    assert checked.plan["dag_id"] == "one"
    assert len(checked.file_hash) == 64
    assert checked.data_interval_start is None


async def test_a_file_saved_a_moment_ago_is_what_runs(box: Box) -> None:
    box.write("one.py", ONE.format(dag_id="one", task="first"))
    before = await box.folder.check(dag_id="one")
    box.write("one.py", ONE.format(dag_id="one", task="other"))
    after = await box.folder.check(dag_id="one")
    assert list(after.plan["tasks"]) == ["other"]
    assert after.file_hash != before.file_hash


async def test_a_changed_module_beside_the_dag_counts(box: Box) -> None:
    box.write("names.py", 'TASK = "first"')
    box.write(
        "one.py",
        """
        from airflow.sdk import DAG
        from airflow.providers.standard.operators.empty import EmptyOperator
        from names import TASK
        with DAG("one"):
            EmptyOperator(task_id=TASK)
        """,
    )
    assert list((await box.folder.check(dag_id="one")).plan["tasks"]) == ["first"]
    box.write("names.py", 'TASK = "second"')
    assert list((await box.folder.check(dag_id="one")).plan["tasks"]) == ["second"]


async def test_every_way_to_make_a_dag_is_found(box: Box) -> None:
    box.write(
        "many.py",
        """
        from airflow.sdk import DAG, dag, task

        named = DAG("assigned")
        with DAG("in_a_context"):
            pass

        @dag
        def unassigned():
            @task
            def only():
                pass
            only()
        unassigned()

        for number in range(2):
            globals()[f"made_{number}"] = DAG(f"generated_{number}")
        """,
    )
    listing = await box.folder.listing()
    assert [dag.dag_id for dag in listing.dags] == [
        "assigned",
        "generated_0",
        "generated_1",
        "in_a_context",
        "unassigned",
    ]
    assert (await box.folder.check(dag_id="generated_1")).file == "many.py"


async def test_listing_tells_what_people_look_for(box: Box) -> None:
    box.write("one.py", ONE.format(dag_id="one", task="first"))
    (dag,) = (await box.folder.listing()).dags
    assert (dag.file, dag.description, dag.schedule) == ("one.py", "words", "0 0 * * *")
    assert (dag.owners, dag.tags) == (("ann",), ("a", "b"))


async def test_the_slots_that_tasks_of_any_dag_take_are_known(box: Box) -> None:
    heavy = ONE.replace('owner="ann"', 'pool="p", pool_slots=3')
    box.write("heavy.py", heavy.format(dag_id="heavy", task="first"))
    light = ONE.replace('owner="ann"', 'pool="p"')
    box.write("light.py", light.format(dag_id="light", task="first"))
    box.write("one.py", ONE.format(dag_id="one", task="first"))
    await box.folder.listing()
    assert box.folder.weights() == {"p": 3, "default_pool": 1}


async def test_ignored_and_unlikely_files_are_not_read(box: Box) -> None:
    box.write(".airflowignore", "drafts/*\n*_test.py\n!kept_test.py\n")
    box.write("drafts/one.py", ONE.format(dag_id="draft", task="first"))
    box.write("one_test.py", ONE.format(dag_id="test", task="first"))
    box.write("kept_test.py", ONE.format(dag_id="kept", task="first"))
    box.write("plain.py", 'raise RuntimeError("not for Airfl" "ow")')
    listing = await box.folder.listing()
    assert [dag.dag_id for dag in listing.dags] == ["kept"]
    assert listing.errors == ()


async def test_archives_are_read(box: Box) -> None:
    text = box.write("packed.py", ONE.format(dag_id="packed", task="first"))
    with zipfile.ZipFile(box.root / "some.zip", "w") as archive:
        archive.write(text, "packed.py")
    text.unlink()
    assert (await box.folder.check(dag_id="packed")).file == "some.zip"


async def test_the_project_and_plugins_are_importable(box: Box) -> None:
    include = box.project / "include"
    include.mkdir()
    include.joinpath("shared.py").write_text("A = 1")
    box.project.joinpath("plugins", "mine.py").write_text("B = 2")
    box.write(
        "one.py",
        """
        from airflow.sdk import DAG
        from include.shared import A
        from mine import B
        DAG(f"sum_{A + B}")
        dag = DAG(f"sum_{A + B}")
        """,
    )
    assert (await box.folder.check(dag_id="sum_3")).file == "one.py"


async def test_a_priority_strategy_of_a_plugin_is_asked(box: Box) -> None:
    box.write(
        "one.py",
        """
        from airflow.sdk import DAG, task
        from weights import ByName

        with DAG("one"):
            @task(weight_rule=ByName(), priority_weight=40)
            def weighed(x=0):
                pass
            weighed()
            weighed.override(task_id="mapped").expand(x=[1, 2])
        """,
    )
    tasks = (await box.folder.check(dag_id="one")).plan["tasks"]
    assert [row["total"] for row in tasks.values()] == [47, 46]


async def test_a_priority_strategy_is_found_by_where_its_class_is(box: Box) -> None:
    box.write(
        "one.py",
        """
        from airflow.sdk import DAG, task

        with DAG("one"):
            @task(weight_rule="weights.ByName", priority_weight=40)
            def weighed(x=0):
                pass
            weighed()
            weighed.override(task_id="mapped").expand(x=[1, 2])
        """,
    )
    tasks = (await box.folder.check(dag_id="one")).plan["tasks"]
    assert [row["total"] for row in tasks.values()] == [47, 46]


async def test_a_priority_strategy_is_made_afresh_as_by_airflows_scheduler(
    box: Box,
) -> None:
    box.write(
        "one.py",
        """
        from airflow.sdk import DAG, task
        from weights import Offset

        with DAG("one"):
            @task(weight_rule=Offset(5))
            def weighed():
                pass
            weighed()
        """,
    )
    tasks = (await box.folder.check(dag_id="one")).plan["tasks"]
    assert tasks["weighed"]["total"] == 1


async def test_an_unknown_priority_strategy_is_an_error_of_the_file(box: Box) -> None:
    box.write(
        "one.py",
        """
        from airflow.sdk import DAG, task

        with DAG("one"):
            @task(weight_rule="weights.Absent")
            def weighed():
                pass
            weighed()
        """,
    )
    with pytest.raises(DagError, match=r"Unknown priority strategy weights\.Absent"):
        await box.folder.check(dag_id="one")


async def test_an_id_in_several_files_names_all_and_how_to_run_each(box: Box) -> None:
    for file in ("a.py", "b.py", "c d.py"):
        box.write(file, ONE.format(dag_id="same", task="first"))
    with pytest.raises(DagError) as refused:
        await box.folder.check(dag_id="same")
    assert str(refused.value).splitlines() == [
        'DAG id "same" is in 3 files: a.py, b.py, c d.py. Rename all but one, or say which:',
        "  submit same --dag-file a.py",
        "  submit same --dag-file b.py",
        "  submit same --dag-file 'c d.py'",
    ]
    assert (await box.folder.check(dag_id="same", dag_file="b.py")).file == "b.py"
    listing = await box.folder.listing()
    assert [dag.file for dag in listing.dags] == ["a.py"]
    assert [str(error) for error in listing.errors] == [
        'b.py: DAG id "same" is also in a.py, c d.py; rename one, or run this one by: '
        "submit same --dag-file b.py\n    By a schedule runs that of a.py.",
        'c d.py: DAG id "same" is also in a.py, b.py; rename one, or run this one by: '
        "submit same --dag-file 'c d.py'\n    By a schedule runs that of a.py.",
    ]


async def test_an_id_twice_in_one_file_names_both_lines(box: Box) -> None:
    """Airflow runs either, whichever its hashes put last."""
    box.write(
        "a.py",
        """
        from airflow.sdk import DAG, task
        first = DAG("same", tags=["first"])

        with DAG(dag_id="same") as second:
            pass
        other = DAG("other")
        """,
    )
    listing = await box.folder.listing()
    assert [dag.dag_id for dag in listing.dags] == ["other"]
    (error,) = listing.errors
    assert str(error).startswith(
        'a.py:4: DAG id "same" is twice in this file, in lines 2, 4. '
    )
    with pytest.raises(DagError, match="in lines 2, 4"):
        await box.folder.check(dag_id="same")
    with pytest.raises(DagError, match="in lines 2, 4"):
        await box.folder.check(dag_id="same", dag_file="a.py")
    assert (await box.folder.check(dag_id="other")).file == "a.py"


async def test_an_unknown_id_names_the_nearest_and_nothing_else(box: Box) -> None:
    box.write("one.py", ONE.format(dag_id="my_data_pipeline", task="first"))
    box.write("broken.py", "import airflow, dag_of_mine\n")
    with pytest.raises(DagError) as refused:
        await box.folder.check(dag_id="my_data_pipelin")
    assert str(refused.value).endswith('; did you mean "my_data_pipeline"?')


async def test_an_id_like_none_names_the_files_it_may_be_in(box: Box) -> None:
    box.write("one.py", ONE.format(dag_id="my_data_pipeline", task="first"))
    box.write("broken.py", "import airflow, dag_of_mine\n")
    with pytest.raises(DagError, match=r"broken\.py:1: ModuleNotFoundError"):
        await box.folder.check(dag_id="xyz")


async def test_a_dag_file_is_taken_as_people_write_it(box: Box) -> None:
    path = box.write("one.py", ONE.format(dag_id="one", task="first"))
    for name in ("one.py", "dags/one.py", str(path)):
        assert (await box.folder.check(dag_id="one", dag_file=name)).file == "one.py"
    with pytest.raises(DagError, match="no such file in the DAG folder"):
        await box.folder.check(dag_id="one", dag_file="../pyproject.toml")
    with pytest.raises(DagError, match=r'no DAG "two" in this file, which has "one"'):
        await box.folder.check(dag_id="two", dag_file="one.py")


async def test_a_broken_file_hides_no_other(box: Box) -> None:
    box.write("good.py", ONE.format(dag_id="good", task="first"))
    box.write(
        "broken.py",
        """
        from airflow.sdk import DAG
        dag = DAG("broken")
        1 / 0
        """,
    )
    listing = await box.folder.listing()
    assert [dag.dag_id for dag in listing.dags] == ["good"]
    (error,) = listing.errors
    assert (error.file, error.line) == ("broken.py", 3)
    assert error.error == "ZeroDivisionError: division by zero\n    1 / 0"
    assert (await box.folder.check(dag_id="good")).file == "good.py"
    with pytest.raises(DagError, match=r"^broken\.py:3: ZeroDivisionError"):
        await box.folder.check(dag_id="broken")


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (
            "from airflow.providers.postgres.operators.postgres import PostgresOperator",
            "from airflow.providers.common.sql.operators.sql import",
        ),
        (
            "from airflow.providers.apache.spark.operators.x import SparkOperator",
            "pip install apache-airflow-providers-apache-spark",
        ),
        (
            "import airflow.providers.amazon.aws.hooks.s3",
            "pip install apache-airflow-providers-amazon",
        ),
    ],
)
async def test_a_missing_provider_names_the_package(
    box: Box, statement: str, says: str
) -> None:
    box.write("one.py", f"# dag\n{statement}\n")
    (error,) = (await box.folder.listing()).errors
    assert error.line == 2
    assert says in error.error


async def test_an_error_below_the_file_is_told_with_both_places(box: Box) -> None:
    box.write("lib/deep.py", "def f():\n    return {}['x']\n")
    box.write("one.py", "import airflow\nfrom lib.deep import f  # dag\nf()\n")
    (error,) = (await box.folder.listing()).errors
    assert error.line == 3
    assert "KeyError: 'x'\n    f()\n" in error.error
    assert "lib/deep.py:2:\n    return {}['x']" in error.error


PARAMS = """
    from airflow.sdk import DAG, Param
    dag = DAG("p", params={
        "n": Param(3, type="integer", minimum=1),
        "who": Param(type="string"),
    })
"""


async def test_params_are_checked_as_airflow_does(box: Box) -> None:
    box.write("p.py", PARAMS)
    await box.folder.check(dag_id="p", conf={"who": "me", "n": 5, "extra": [1]})
    with pytest.raises(DagError, match=r"(?s)param who: No value passed"):
        await box.folder.check(dag_id="p")
    with pytest.raises(DagError, match=r"(?s)param n: 0 is less than the minimum of 1"):
        await box.folder.check(dag_id="p", conf={"who": "me", "n": 0})


async def test_run_ids_are_checked_as_airflow_does(box: Box) -> None:
    box.write("one.py", ONE.format(dag_id="one", task="first"))
    await box.folder.check(dag_id="one", run_id="mine-1")
    await box.folder.check(dag_id="one", run_id="a" * 250)
    await box.folder.check(dag_id="one", run_id="manual__2026-01-01T00:00:00+00:00")
    for run_id, says in (
        ("a..b", "must not contain"),
        ("a b", "does not match regex"),
        ("a" * 251, "the run_id has 251 characters; Airflow keeps at most 250"),
        ("scheduled__2026-01-01T00:00:00+00:00", "reserved for scheduled runs"),
    ):
        with pytest.raises(DagError, match=says):
            await box.folder.check(dag_id="one", run_id=run_id)


async def test_the_timetable_gives_the_data_interval(box: Box) -> None:
    box.write(
        "one.py",
        """
        from airflow.sdk import DAG, CronDataIntervalTimetable
        dag = DAG("one", schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"))
        """,
    )
    checked = await box.folder.check(dag_id="one", logical_date="2026-03-04T05:00:00Z")
    assert checked.data_interval_start == "2026-03-03T00:00:00+00:00"
    assert checked.data_interval_end == "2026-03-04T00:00:00+00:00"
    with pytest.raises(DagError, match="'soon' is no ISO 8601 time"):
        await box.folder.check(dag_id="one", logical_date="soon")


async def test_a_manual_run_has_an_interval_where_the_clock_changes(box: Box) -> None:
    """In the hour that is skipped, in the one that is repeated, and in one of half an hour."""
    cases = [
        ("America/New_York", 2, "2024-03-10T07:30", "2024-03-09T07", "2024-03-10T07"),
        ("America/New_York", 1, "2024-11-03T05:30", "2024-11-01T05", "2024-11-02T05"),
        ("Australia/Lord_Howe", 2, "2024-10-05T16", "2024-10-04T15:30", "2024-10-05T15:30"),
    ]  # fmt: skip
    dags = [
        f'dag{n} = DAG("d{n}", schedule=CronDataIntervalTimetable("0 {hour} * * *", timezone="{zone}"))'
        for n, (zone, hour, *_) in enumerate(cases)
    ]
    imports = "from airflow.sdk import DAG, CronDataIntervalTimetable"
    box.write("clocks.py", "\n".join([imports, *dags]))

    for n, (_, _, date, *expected) in enumerate(cases):
        found = await box.folder.check(dag_id=f"d{n}", logical_date=f"{date}Z")
        told = (found.data_interval_start, found.data_interval_end)
        assert all(map(str.startswith, map(str, told), expected)), (n, told)


VARIABLE = """
    from airflow.sdk import DAG, Variable
    dag = DAG("v_" + Variable.get("{key}", default="none"))
"""


async def test_a_file_that_asks_for_a_variable_is_answered(box: Box) -> None:
    box.variables["mine"] = "six"
    box.write("one.py", VARIABLE.format(key="mine"))
    checked = await box.folder.check(dag_id="v_six")
    assert checked.file == "one.py"
    opened = await box.folder.open("one.py")
    assert opened.parse_each_try == ("asks for a Variable or Connection",)
    assert "GetVariable" in box.asked


LEFT = {
    "threads": "import threading, time\n"
    "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "sockets": "import socket\nkept = socket.socketpair()",
    "processes": "import subprocess\nkept = subprocess.Popen(['sleep', '60'])",
    "exit functions": "import atexit\natexit.register(lambda: None)",
    "random": "import random\nnumber = random.random()",
    "Variable": "from airflow.sdk import Variable\nVariable.get('from_env')",
}


@pytest.mark.parametrize("what", LEFT)
async def test_what_a_try_must_not_share_is_read_each_time(box: Box, what: str) -> None:
    box.write(
        "one.py", f"from airflow.sdk import DAG\ndag = DAG('one')\n{LEFT[what]}\n"
    )
    opened = await box.folder.open("one.py")
    assert len(opened.parse_each_try) == 1
    assert what in opened.parse_each_try[0]
    assert (await box.folder.check(dag_id="one")).file == "one.py"


async def test_many_tries_share_one_reading(box: Box) -> None:
    box.write("one.py", ONE.format(dag_id="one", task="first"))
    opened = await asyncio.gather(*(box.folder.open("one.py") for _ in range(20)))
    assert len({id(one.zygote) for one in opened}) == 1
    assert opened[0].parse_each_try == ()
    assert await box.folder.open("one.py") == opened[0]


async def test_a_change_gives_tries_a_new_process(box: Box) -> None:
    box.write("one.py", ONE.format(dag_id="one", task="first"))
    before = await box.folder.open("one.py")
    box.write("other.txt", "anything")
    deadline = time.monotonic() + 10
    after = before
    while after is before and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        after = await box.folder.open("one.py")
    assert after.zygote is not before.zygote
    child = await before.zygote.fork("os:getpid", {}, [])
    assert child.pid  # the old one still forks, for who already had it


async def test_few_files_stay_open(box: Box) -> None:
    for number in range(18):
        box.write(f"f{number}.py", ONE.format(dag_id=f"d{number}", task="first"))
    opened = [await box.folder.open(f"f{number}.py") for number in range(18)]
    assert (await box.folder.open("f17.py")).zygote is opened[17].zygote
    assert (await box.folder.open("f0.py")).zygote is not opened[0].zygote


async def test_a_file_that_is_gone_is_said_to_be(box: Box) -> None:
    with pytest.raises(DagError, match=r"gone\.py: there is no such file"):
        await box.folder.open("gone.py")


async def test_a_lost_reader_is_read_again(box: Box) -> None:
    box.write("one.py", ONE.format(dag_id="one", task="first"))
    before = await box.folder.open("one.py")
    before.zygote.close()
    after = await box.folder.open("one.py")
    assert after.zygote is not before.zygote
    assert (await box.folder.check(dag_id="one")).file == "one.py"


REFUSED = {
    "run_as_user": "BashOperator(task_id='t', bash_command='', run_as_user='joe')",
}
IMPORTS = """
from airflow.sdk import DAG, BaseOperator, task
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.providers.standard.sensors.filesystem import FileSensor
"""


@pytest.mark.parametrize("feature", REFUSED)
async def test_a_feature_not_built_is_refused_by_name(box: Box, feature: str) -> None:
    box.write("one.py", f"{IMPORTS}\nwith DAG('one'):\n    {REFUSED[feature]}\n")
    with pytest.raises(DagError) as refused:
        await box.folder.check(dag_id="one")
    assert f'one.py: DAG "one", task "t" uses {feature}, which' in str(refused.value)


async def test_features_of_the_dag_itself_are_refused(box: Box) -> None:
    alert = (
        "DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(1), "
        "AsyncCallback('one.call'))"
    )
    box.write(
        "one.py",
        f"""{IMPORTS}
from datetime import timedelta
from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference

async def call(**kwargs): ...

dag = DAG('one', deadline={alert})
""",
    )
    with pytest.raises(DagError, match=r'one\.py: DAG "one" uses a deadline alert'):
        await box.folder.check(dag_id="one")


async def test_what_is_built_is_not_refused(box: Box) -> None:
    box.write(
        "one.py",
        f"""{IMPORTS}
from airflow.sdk import Asset, task_group
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.latest_only import LatestOnlyOperator
from airflow.providers.standard.operators.python import *
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.providers.standard.sensors.date_time import DateTimeSensor

with DAG("one", on_success_callback=print, on_failure_callback=[print]):
    FileSensor(task_id="file", filepath="x")
    FileSensor.partial(task_id="files").expand(filepath=["x"])
    ApprovalOperator(task_id="asks", subject="x")
    FileSensor(task_id="defers", filepath="x", deferrable=True)
    PythonSensor(task_id="poke", python_callable=print, mode="reschedule")
    TimeDeltaSensor(task_id="delta", delta=None)
    DateTimeSensor(task_id="at", target_time="x")
    BranchPythonOperator(task_id="branch", python_callable=print)
    ShortCircuitOperator(task_id="cut", python_callable=print)
    LatestOnlyOperator(task_id="latest")
    EmptyOperator(task_id="empty", outlets=[Asset("a")])
    BashOperator(task_id="up", bash_command="").as_setup()

    @task_group
    def group(x):
        @task
        def inner(x):
            pass
        inner(x)
    group.expand(x=[1, 2])
""",
    )
    plan = (await box.folder.check(dag_id="one")).plan
    assert len(plan["tasks"]) == 13
    assert plan["groups"] == {"group": {"map": [2]}}
