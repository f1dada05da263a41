"""The oracle's process: one request a line on stdin, one answer a line on stdout.

Request: {"spec": <specs.py>, "is_acted"?: whether its DAG is that of acted.py}
Answer: {"plan": <dagfile.projection>, "trace": ...} or {"refused": why Airflow takes no such DAG, or its run is too large}

Request: {"source": Python that makes ``dag``, "begin", "end", "events", "run_s"}
Answer: {"timing": <dagfile.timetables>, "runs": those Airflow makes}

Request: {"past": <test_pasts.py>}
Answer: {"is_met": whether the last run's task may run}

Request: {"crowd": <crowds.py>}
Answer: {"plans": those of its DAGs, "dates": the logical dates of its runs, "trace": ...}

Request: {"questions": [...]}
Answer: {"answers": those of dagfile.timetables}
"""

import json
import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any

from appliance.dagfile.plan_builder import project

warnings.simplefilter("ignore")

# Airflow is imported only once its warnings are silenced.
from airflow.serialization.serialized_objects import DagSerialization  # noqa: E402

from appliance.dagfile import timetables  # noqa: E402
from appliance.dagrun.plan import Plan  # noqa: E402
from appliance.forkserver.airflow_internals import dag_files, weights  # noqa: E402
from tests.parity import crowding, pasts, schedules  # noqa: E402
from tests.parity.acted import build_acted_dag  # noqa: E402
from tests.parity.dags import build_dag  # noqa: E402
from tests.parity.scheduler import Oracle  # noqa: E402
from tests.parity.simulate import simulate  # noqa: E402


def answer(oracle: Oracle, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run one spec, or one schedule, or ask timetables."""
    if "questions" in request:
        return {"answers": [timetables.answered(one) for one in request["questions"]]}
    if "past" in request:
        return {"is_met": pasts.is_met(oracle, request["past"])}
    if "crowd" in request:
        return crowding.answer(oracle, request["crowd"])
    if "source" in request:
        dag = schedules.dag_of(request["source"])
        timing = timetables.facts_of(dag, dag_files.core_timetable(dag))
        return {"timing": timing, "runs": schedules.runs_of(oracle, request)}
    spec = request["spec"]
    script, options = spec.get("script", {}), spec.get("options", {})
    try:
        dag = (build_acted_dag if request.get("is_acted") else build_dag)(spec)
        serialized = DagSerialization.to_dict(dag)
        plan = project(serialized, weights.custom(dag, serialized))
        simulate(Plan.from_json(plan), script, **options)
    except (ValueError, NotImplementedError) as err:
        return {"refused": str(err)}
    return {"plan": plan, "trace": oracle.run(dag, script, **options)}


def main() -> None:
    """Answer until stdin ends. Whatever Airflow prints goes to stderr."""
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        oracle = Oracle()
        for line in sys.stdin:
            out.write(json.dumps(answer(oracle, json.loads(line))) + "\n")
            out.flush()


if __name__ == "__main__":
    main()
