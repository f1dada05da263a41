"""A trigger that is told a password, and tells."""

import logging

from airflow.triggers.base import BaseTrigger


class Careless(BaseTrigger):
    def __init__(self, told):
        super().__init__()
        self.told = told

    def serialize(self):
        return "careless.Careless", {"told": self.told}

    async def run(self):
        print("triggered", *self.told)
        logging.getLogger("mine").warning("triggered %s", self.told)
        raise ValueError(*self.told)
        yield
