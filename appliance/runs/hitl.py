"""Human-in-the-loop questions of a run: who may answer, what an answer becomes, how they look in the UI. Pure.

Source: Airflow 3.3: ``api_fastapi/core_api/routes/public/hitl.py``, ``models/hitl.py``,
``jobs/scheduler_job_runner.py`` (check_awaiting_input_timeouts).
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from appliance.runs.messages import Response
from appliance.temporal.limits import shortened

_MOST_SHOWN = 10
_BODY_BYTES = 2000
_LINE_BYTES = 400
_TIMED_OUT = "The Human-in-the-loop response timeout has passed without a response."


@dataclass(frozen=True, slots=True)
class HitlQuestion:
    """One question that waits for its answer."""

    task_id: str
    map_index: int
    asked: dict[str, Any]
    """As the operator told it: options, subject, body, defaults, multiple, params, assigned_users."""
    deadline: float | None = None

    @property
    def options(self) -> list[str]:
        """What may be chosen."""
        return list(self.asked.get("options") or [])

    @property
    def params(self) -> dict[str, Any]:
        """What may be filled in, with its defaults."""
        return self.asked.get("params") or {}

    @property
    def name(self) -> str:
        """What asks, as commands have it."""
        index = f" --map-index {self.map_index}" if self.map_index >= 0 else ""
        return f'"{self.task_id}"{index}'

    @property
    def example(self) -> Response:
        """An answer that would be taken."""
        assigned = self.asked.get("assigned_users") or []
        return Response(
            task_id=self.task_id,
            map_index=self.map_index,
            chosen_options=tuple(self.options[:1]),
            params_input={name: _value(param) for name, param in self.params.items()},
            user_id=assigned[0]["id"] if assigned else "",
        )

    def objection(self, response: Response) -> str | None:
        """Say why this cannot be the answer; None if it can."""
        chosen = response.chosen_options
        assigned = [user["id"] for user in self.asked.get("assigned_users") or []]
        unknown = [option for option in chosen if option not in self.options]
        names = response.params_input.keys()
        if assigned and response.user_id not in assigned:
            return f"{response.user_id} may not answer; {_listed(assigned)} may."
        if unknown or not chosen:
            what = f"There is no option {_listed(unknown)}" if unknown else "Choose one"
            return f"{what}; the options are {_listed(self.options)}."
        if len(chosen) > 1 and not self.asked.get("multiple"):
            return "Only one option may be chosen."
        if names and names != self.params.keys():
            return f"The params are {_listed(self.params)}, not {_listed(names)}."
        return None

    def answered(self, response: Response, now: float) -> dict[str, Any]:
        """Return the event the operator goes on with."""
        return {
            "chosen_options": list(response.chosen_options),
            "params_input": response.params_input,
            "responded_at": _serde(now),
            "responded_by_user": {
                "id": response.user_id,
                "name": response.user_name or response.user_id,
            },
            "timedout": False,
        }

    def unanswered(self, now: float) -> dict[str, Any]:
        """Return the event when nobody has answered in time: the defaults, or an error."""
        defaults = self.asked.get("defaults")
        if defaults is None:
            return {"error": _TIMED_OUT, "error_type": "timeout"}
        return {
            "chosen_options": list(defaults),
            "params_input": self.example.params_input,
            "responded_at": _serde(now),
            "responded_by_user": None,
            "timedout": True,
        }


def section(dag_id: str, run_id: str, questions: Iterable[HitlQuestion]) -> str:
    """Draw what is asked and how to answer, as Markdown."""
    asked = list(questions)
    if not asked:
        return ""
    parts = [_drawn(dag_id, run_id, question) for question in asked[:_MOST_SHOWN]]
    if len(asked) > _MOST_SHOWN:
        parts.append(f"{len(asked) - _MOST_SHOWN} more questions are not shown.")
    parts.append(f"To answer from here, send the update {_update(asked[0].example)}")
    return "".join(f"{part}\n\n" for part in parts)


def _drawn(dag_id: str, run_id: str, question: HitlQuestion) -> str:
    index = "" if question.map_index < 0 else f" [{question.map_index}]"
    subject = shortened(str(question.asked.get("subject")), _LINE_BYTES)
    lines = [f"### ✋ {question.task_id}{index}: {subject}"]
    if body := question.asked.get("body"):
        lines += ["", shortened(body, _BODY_BYTES)]
    words = " ".join(_command(dag_id, run_id, question.example))
    return "\n".join([*lines, "", _invitation(question), "", f"    {words}"])


def _invitation(question: HitlQuestion) -> str:
    many = "one or more" if question.asked.get("multiple") else "one"
    text = f"Choose {many} of {_listed(question.options)}"
    if question.deadline is not None:
        at = datetime.fromtimestamp(question.deadline, UTC)
        defaults = question.asked.get("defaults")
        otherwise = (
            "the task fails" if defaults is None else f"it is {_listed(defaults)}"
        )
        text += f", by {at.isoformat(timespec='seconds')}, or {otherwise}"
    if assigned := question.asked.get("assigned_users"):
        text += f". Only {', '.join(map(_person, assigned))} may answer"
    return f"{text}:"


def _person(user: dict[str, Any]) -> str:
    name = user.get("name") or user["id"]
    return f'"{name}"' if name == user["id"] else f'"{name}" ({user["id"]})'


def _command(dag_id: str, run_id: str, answer: Response) -> list[str]:
    where = [dag_id, run_id, answer.task_id]
    if answer.map_index >= 0:
        where += ["--map-index", str(answer.map_index)]
    for option in answer.chosen_options:
        where += ["--choose", option]
    if answer.params_input:
        where += ["--params", json.dumps(answer.params_input, ensure_ascii=False)]
    if answer.user_id:
        where += ["--user", answer.user_id]
    return ["appliance", "respond", *map(_quoted, where)]


def _update(answer: Response) -> str:
    """Write an answer as the Temporal UI takes it."""
    absent: tuple[Any, ...] = (None, -1, "", {})
    sent = {name: told for name, told in asdict(answer).items() if told not in absent}
    return f"`respond`:\n\n    {json.dumps(sent, ensure_ascii=False)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _quoted(word: str) -> str:
    """Quote a word for a shell, if it has to be."""
    if word and all(c.isalnum() or c in "_-.:+/@=" for c in word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


def _value(param: Any) -> Any:
    return param["value"] if isinstance(param, dict) and "value" in param else param


def _serde(moment: float) -> dict[str, Any]:
    """Write a time as Airflow's serde does: the operator is to get a ``datetime``."""
    zone = ["UTC", "pendulum.tz.timezone.Timezone", 1, True]
    tz = {"__classname__": "builtins.tuple", "__version__": 1, "__data__": zone}
    return {
        "__classname__": "datetime.datetime",
        "__version__": 2,
        "__data__": {"timestamp": moment, "tz": tz},
    }
