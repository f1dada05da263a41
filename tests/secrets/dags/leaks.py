"""Everything a careless task does with a password."""

import json
import logging
import os
import subprocess
import sys
from urllib.parse import quote, quote_plus

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import (
    DAG,
    BaseOperator,
    Connection,
    Variable,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from careless import Careless

VARIABLES = ("yaml", "file", "env", "dollar", "named", "own", "written", "pem")
CONNECTIONS = ("yaml_db", "file_db", "env_db", "kept_db", "own_db", "json_db")


def secrets():
    found = [Variable.get(f"{name}_secret") for name in VARIABLES]
    for conn_id in CONNECTIONS:
        connection = Connection.get(conn_id)
        found += [connection.password, connection.get_uri()]
    found += [Connection.get("json_db").extra_dejson["api_key"]]
    assert all(found), "each of them is there"
    return found


def tell(_context):
    print("callback", *secrets())
    raise ValueError(*secrets())


with DAG("writes_secret"):

    @task
    def write():
        Variable.set("written_secret", Variable.get("yaml_secret") + "-written")

    write()


with DAG("tells_whole"):

    @task
    def tells():
        whole = Variable.get("whole_secret")
        print("told", whole, dict(os.environ))
        assert "APPLIANCE_CONFIG" not in os.environ
        raise ValueError(whole)

    tells()


class Waits(BaseOperator):
    """Tells its trigger, and itself what to do afterwards."""

    def execute(self, context):
        told = secrets()
        self.defer(trigger=Careless(told), method_name="go_on", kwargs={"told": told})

    def go_on(self, context, event=None, told=()):
        raise ValueError(*told)


with DAG("leaks", default_args={"on_failure_callback": tell}, on_failure_callback=tell):

    @task
    def prints():
        logger = logging.getLogger("mine")
        for secret in secrets():
            forms = (secret, repr(secret), json.dumps(secret))
            forms += (json.dumps([secret], ensure_ascii=False), repr([repr(secret)]))
            for form in forms:
                print("printed", form)
                logger.warning("logged %s", form)
            password = secret.partition("://")[0]
            print("quoted", quote(password), quote(password, safe=""))
            print("quoted", quote_plus(password))
            logger.warning("structured", extra={"nested": {"deep": [secret]}})
            os.write(2, b"written " + secret.encode() + b"\n")
            subprocess.run(["printenv", "IT"], env={"IT": secret}, check=True)
        for letter in secret:
            print(letter, end="", flush=True)

    @task
    def dumps():
        """Shows what it never asked for."""
        environment = {k: v for k, v in os.environ.items() if k.startswith("AIRFLOW_")}
        assert "AIRFLOW_CONN_ENV_DB" in environment
        print(environment, json.dumps(environment))
        subprocess.run(["env"], env=environment, check=True)

    @task
    def raises():
        try:
            try:
                raise KeyError(*secrets())  # noqa: TRY301
            except KeyError as err:
                raise RuntimeError(f"never show {secrets()}") from err
        except RuntimeError as err:
            err.add_note(f"noted {secrets()}")
            raise ExceptionGroup(f"{secrets()}", [err, ValueError(secrets())]) from None

    @task
    def fails():
        raise AirflowFailException(", ".join(secrets()))

    @task
    def skips():
        raise AirflowSkipException(", ".join(secrets()))

    @task
    def exits():
        sys.exit(" ".join(secrets()))

    @task
    def crashes():
        print(*secrets(), flush=True)
        os.abort()

    @task(retries=1, retry_delay=0.1)
    def retries():
        raise ValueError(secrets())

    @task
    def interprets():
        """The interpreter's own traceback, of another process."""
        code = "import os; raise ValueError(os.environ['IT'])"
        env = {"IT": "\n".join(secrets())}
        subprocess.run([sys.executable, "-c", code], env=env, check=True)

    @task(map_index_template="{{ label }}")
    def labels(number):
        get_current_context()["label"] = " ".join(secrets())

    @task
    def returns():
        value = Variable.get("returned_secret")
        print(value)
        return value

    for each in (
        prints,
        dumps,
        raises,
        fails,
        skips,
        exits,
        crashes,
        retries,
        interprets,
    ):
        each()
    labels.expand(number=[1])
    Waits(task_id="waits")
    returns()
    BashOperator(
        task_id="renders",
        bash_command="echo $ONE; echo $TWO >&2; exit 1",
        env={
            "ONE": "{{ conn.yaml_db.password }} {{ conn.env_db.get_uri() }}",
            "TWO": "{{ var.value.own_secret }} {{ conn.json_db.extra }}",
        },
        append_env=True,
    )
