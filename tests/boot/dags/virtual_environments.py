"""Tasks in virtual environments: one of their own, one with all packages of the appliance, one that is there already."""

import sys

from airflow.sdk import dag, task


@dag(schedule=None)
def virtual_environments():
    @task.virtualenv(system_site_packages=False)
    def alone(number):
        import importlib.util
        import sys

        has_ours = importlib.util.find_spec("structlog") is not None
        return [number + 1, sys.prefix != sys.base_prefix, has_ours]

    @task.virtualenv(system_site_packages=True, requirements=["structlog"])
    def with_airflow():
        import sys

        from airflow.sdk import Variable

        return [sys.prefix != sys.base_prefix, Variable.get("colour")]

    @task.external_python(python=sys.executable)
    def elsewhere(of_alone):
        from airflow.sdk import Variable

        return [of_alone, Variable.get("colour")]

    elsewhere(alone(1))
    with_airflow()


virtual_environments()
