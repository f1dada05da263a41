import datetime as dt
import logging
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, BaseHook, BaseOperator, Variable, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException


class Point:
    __version__ = 1

    def __init__(self, x):
        self.x = x

    def serialize(self):
        return {"x": self.x}

    @staticmethod
    def deserialize(data, version):
        return Point(data["x"])


class Endless(BaseOperator):
    def execute(self, context):
        print("looping", flush=True)
        while True:
            pass

    def on_kill(self):
        print("on_kill was called", flush=True)


def slow_callback(context):
    print("callback begins", flush=True)
    time.sleep(60)


def hang(_context):
    print("never comes back", flush=True)
    while True:
        time.sleep(60)


with DAG(
    "tries",
    on_failure_callback=hang,
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    params={"day": 0},
):

    @task
    def noop():
        return None

    @task
    def answer():
        print("to stdout")
        print("to stderr", file=sys.stderr)
        return {"n": 42, "day": get_current_context()["params"]["day"]}

    @task
    def fails():
        raise ValueError("no rows")

    @task
    def fails_for_good():
        raise AirflowFailException("never again")

    @task
    def complains(code):
        logging.getLogger(__name__).error("the disk is full")
        os._exit(int(code))

    @task
    def kills_zygote():
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)

    @task
    def waits(path):
        Path(path).touch()
        time.sleep(60)

    @task
    def waits_for(path):
        while not Path(path).exists():
            time.sleep(0.01)

    @task
    def leaves_process(path):
        process = subprocess.Popen(["sleep", "60"])
        Path(path).write_text(str(process.pid))
        print("left it running", flush=True)

    @task
    def prints(size):
        sys.stdout.write("y" * (size // 10) + "\n")
        return "x" * size

    @task
    def secret(conn_id):
        return BaseHook.get_connection(conn_id).password + Variable.get("word")

    @task
    def tells(conn_id):
        print("it is", BaseHook.get_connection(conn_id).password)

    @task
    def tells_env():
        return BaseHook.get_connection("env_db").password

    @task
    def rich():
        moment = dt.datetime(2026, 3, 4, 5, 6, tzinfo=dt.UTC)
        return {"when": moment, "pair": (1, 2), "set": {3}, "list": [moment] * 9}

    @task
    def nested(size):
        key, day, filler = ("a", 1), dt.date(2024, 1, 1), "x" * int(size)
        return {key: (1, [(2,)]), day: {3}, "rows": [{"k": (4,)}], "filler": filler}

    @task
    def unfit(value, size):
        made = {"nan": math.nan, "reserved": {"__classname__": "x"}}
        return {"value": made[value], "filler": "x" * int(size)}

    @task
    def asks_python():
        code = "from airflow.sdk.execution_time.xcom import XCom; print(XCom.__name__)"
        # Without that it looks for a database, which no task has on Airflow either.
        env = {**os.environ, "_AIRFLOW__AS_LIBRARY": "1"}
        return subprocess.check_output([sys.executable, "-c", code], text=True, env=env)

    @task
    def large(size):
        return ["é"] * size

    @task
    def points():
        return {"a": Point(1), "b": [Point(2)], "text": "x" * 1000}

    @task
    def reads(task_id):
        return repr(get_current_context()["ti"].xcom_pull(task_ids=task_id))

    @task
    def pid():
        return os.getpid()

    @task
    def score():
        return int(Path("/proc/self/oom_score_adj").read_text())

    @task
    def says_all():
        for number in range(10_000):
            print("line", number)
            if number % 1000 == 0:
                subprocess.run(["echo", f"program {number}"], check=True)
        logging.getLogger("mine.own").info("of a logger of its own")
        if (pid := os.fork()) == 0:
            print("of a fork", flush=True)
            os._exit(0)
        os.waitpid(pid, 0)

    noop()
    answer()
    fails()
    fails_for_good()
    complains("{{ dag_run.conf.code }}")
    kills_zygote()
    waits("{{ dag_run.conf.path }}")
    waits_for("{{ dag_run.conf.path }}")
    leaves_process("{{ dag_run.conf.path }}")
    task(prints.function, task_id="prints_much")(30_000_000)
    secret("db")
    tells("db")
    tells_env()
    rich()
    asks_python()
    nested("{{ dag_run.conf.size }}")
    unfit("{{ dag_run.conf.value }}", "{{ dag_run.conf.size }}")
    large(500_000)
    points()
    reads("{{ dag_run.conf.task_id }}")
    pid()
    score()
    says_all()
    Endless(task_id="endless")
    task(noop.function, task_id="slow_callback", on_success_callback=slow_callback)()
    BashOperator(
        task_id="bash", bash_command="echo {{ ds }}; echo $WORD", env={"WORD": "w"}
    )
