"""A plugin with a macro."""

from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin


def shout(text):
    return text.upper()


class Shouting(AirflowPlugin):
    name = "shouting"
    macros: ClassVar = [shout]
