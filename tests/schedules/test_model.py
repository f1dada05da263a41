"""What the agenda does besides asking timetables: pausing, limits, files that vanish, other processes."""

import json
from dataclasses import asdict, replace

from appliance.dagrun.timing import ScheduleDeclaration, ScheduledRun
from appliance.schedules.model import CARRIED_LATE_S, LATE_S, Scheduler

HOUR_S = 3600.0
HOURLY = ScheduleDeclaration(
    name="a", dag_id="a", timetable={"hourly": 1}, summary="@hourly", source="a.py"
)


def slot(hour: int) -> ScheduledRun:
    time = f"1970-01-01T{hour:02}:00:00+00:00"
    return ScheduledRun(time, f"scheduled__{time}", time, time)


def answer(agenda: Scheduler, now: float, *hours: int) -> None:
    """Answer the one question there is."""
    (question,) = agenda.questions(now)
    agenda.take_answer(question, [slot(hour) for hour in hours], None, now)


def started(agenda: Scheduler, now: float) -> list[str]:
    return [start.slot.run_after[11:13] for start in agenda.due(now)]


def test_a_slot_is_taken_once_at_its_time() -> None:
    """Nothing is due before, and it is due once."""
    agenda = Scheduler()
    agenda.declare([HOURLY])
    answer(agenda, 0.0, 1)

    assert started(agenda, HOUR_S - 1) == []
    assert agenda.wake_at(HOUR_S - 1) == HOUR_S
    assert started(agenda, HOUR_S) == ["01"]
    assert started(agenda, HOUR_S) == []


def test_a_slot_another_clock_knows_is_not_waited_for_until_that_is_late() -> None:
    """It is taken when that wakes us, or by ourselves; and as before once it carries it no more."""
    agenda = Scheduler()
    agenda.declare([HOURLY])
    agenda.carry(["a"])
    answer(agenda, 0.0, 1, 2)

    assert agenda.wake_at(0.0) == HOUR_S + CARRIED_LATE_S
    assert started(agenda, HOUR_S) == ["01"]
    agenda.carry([])
    assert agenda.wake_at(HOUR_S) == 2 * HOUR_S


def test_a_missed_slot_is_asked_for_again_without_catchup() -> None:
    """What was foreseen is not taken long after its time, as it may be no run any more."""
    agenda = Scheduler()
    agenda.declare([HOURLY])
    answer(agenda, 0.0, 1)

    assert started(agenda, HOUR_S + LATE_S) == ["01"]
    answer(agenda, HOUR_S + LATE_S, 2)
    assert started(agenda, 5.5 * HOUR_S) == []
    answer(agenda, 5.5 * HOUR_S, 5, 6)
    assert started(agenda, 5.5 * HOUR_S) == ["05"]


def test_late_runs_wait_for_room_and_runs_on_time_do_not() -> None:
    """Catching up goes on as runs end; what is on time is made at once and queues where people see it."""
    agenda = Scheduler()
    agenda.declare([replace(HOURLY, catchup=True, max_active_runs=2)])
    answer(agenda, 3.5 * HOUR_S, 1, 2, 3, 4)

    assert started(agenda, 3.5 * HOUR_S) == ["01", "02"]
    assert agenda.wake_at(3.5 * HOUR_S) is None
    assert agenda.unsettled(3.5 * HOUR_S) == {"a": (slot(1).run_id, slot(2).run_id)}
    agenda.ended("a", slot(1).run_id, is_success=True)
    assert started(agenda, 3.6 * HOUR_S) == ["03"]
    assert started(agenda, 4 * HOUR_S) == ["04"]


def test_a_continuous_schedule_asks_once_its_run_has_ended() -> None:
    """The next data interval begins where the last one ended, when there is room."""
    agenda = Scheduler()
    agenda.declare([replace(HOURLY, is_strict=True, max_active_runs=1)])
    answer(agenda, HOUR_S, 1)

    assert started(agenda, HOUR_S) == ["01"]
    assert agenda.questions(9 * HOUR_S) == []
    agenda.ended("a", slot(1).run_id, is_success=False)
    assert len(agenda.questions(9 * HOUR_S)) == 1


def test_it_does_not_remember_runs_for_ever() -> None:
    """Of a schedule that is always on time, ended runs are looked for once there are many."""
    agenda = Scheduler()
    agenda.declare([replace(HOURLY, catchup=True, max_active_runs=2)])
    for hour in range(1, 4):
        answer(agenda, (hour - 0.5) * HOUR_S, hour)
        assert agenda.unsettled(hour * HOUR_S) == {}
        assert started(agenda, hour * HOUR_S) == [f"{hour:02}"]

    assert len(agenda.unsettled(3 * HOUR_S)["a"]) == 3


def test_failures_in_a_row_pause_it() -> None:
    """A success between them begins the count anew."""
    agenda = Scheduler()
    agenda.declare([replace(HOURLY, max_failures=2, catchup=True)])
    for hour, is_success in ((1, False), (2, True), (3, False), (4, False)):
        answer(agenda, (hour - 0.5) * HOUR_S, hour)
        assert started(agenda, hour * HOUR_S) == [f"{hour:02}"]
        agenda.ended("a", slot(hour).run_id, is_success=is_success)

    entry = agenda.find("a")
    assert entry is not None
    assert (entry.is_paused, entry.note) == (True, "its last 2 runs failed")
    agenda.resume("a")
    assert (entry.is_paused, entry.note, entry.failures) == (False, None, 0)


def test_a_barred_schedule_makes_no_runs_until_its_dag_is_mended() -> None:
    """Then it goes on as if it had been paused meanwhile."""
    agenda = Scheduler()
    agenda.declare([HOURLY])
    answer(agenda, 0.0, 1)
    agenda.declare([replace(HOURLY, is_barred=True, remark="it needs a moon")])

    assert agenda.questions(2 * HOUR_S) == []
    assert started(agenda, 2 * HOUR_S) == []
    assert agenda.wake_at(2 * HOUR_S) is None
    agenda.declare([HOURLY])
    answer(agenda, 2 * HOUR_S, 2)
    assert started(agenda, 2 * HOUR_S) == ["02"]


def test_a_run_that_could_not_be_started_is_not_waited_for() -> None:
    """Why is its schedule's note, until one can be."""
    agenda = Scheduler()
    agenda.declare([replace(HOURLY, catchup=True)])
    answer(agenda, 0.0, 1, 2)
    (first,) = agenda.due(HOUR_S)
    agenda.started(first, "its id is too long")

    entry = agenda.find("a")
    assert entry is not None
    why = f"the run {first.slot.run_id} could not be started: its id is too long"
    assert asdict(entry).items() >= {"active": [], "note": why}.items()
    (second,) = agenda.due(2 * HOUR_S)
    agenda.started(second, None)
    went_well = {"active": [second.slot.run_id], "note": None}
    assert asdict(entry).items() >= went_well.items()


def test_a_schedule_that_comes_back_goes_on_where_it_was() -> None:
    """Its file was gone for a while: what it made is not made again, and it is paused as before."""
    agenda = Scheduler()
    agenda.declare([HOURLY])
    answer(agenda, 0.0, 1)
    started(agenda, HOUR_S)
    agenda.pause("a")
    agenda.remove(["a"])

    assert agenda.wake_at(2 * HOUR_S) is None
    agenda.declare([HOURLY])
    entry = agenda.find("a")
    assert entry is not None
    assert (entry.last, entry.is_paused) == (slot(1), True)


def test_a_changed_timetable_is_asked_anew_and_a_changed_summary_is_not() -> None:
    """What was foreseen by the old one is forgotten; what was made is not."""
    agenda = Scheduler()
    agenda.declare([HOURLY])
    answer(agenda, 0.0, 1)

    agenda.declare([replace(HOURLY, summary="other", conf={"x": 1})])
    assert agenda.questions(1.0) == []
    agenda.declare([replace(HOURLY, timetable={"daily": 1})])
    assert len(agenda.questions(1.0)) == 1


def test_who_spoke_last_decides_whether_it_is_paused() -> None:
    """A person's word holds until appliance.yaml is edited; nobody's word is the file's."""
    agenda = Scheduler()
    agenda.declare([replace(HOURLY, is_configured=True)])
    entry = agenda.find("a")
    assert entry is not None
    agenda.pause("a")
    agenda.declare([replace(HOURLY, is_configured=True, conf={"x": 1})])
    assert entry.is_paused
    agenda.resume("a")
    agenda.declare([replace(HOURLY, is_configured=True, is_paused=True)])
    assert entry.is_paused


def test_what_a_backfill_made_is_not_made_again() -> None:
    """The next run follows the latest of both, as in Airflow."""
    agenda = Scheduler()
    agenda.declare([replace(HOURLY, catchup=True)])
    answer(agenda, 0.0, 1)
    agenda.take_backfilled("a", slot(4))

    (question,) = agenda.questions(1.0)
    assert question.last == slot(4)
    agenda.take_backfilled("a", slot(2))
    (question,) = agenda.questions(1.0)
    assert question.last == slot(4)


def test_it_goes_on_in_another_process() -> None:
    """Everything it knows can be written down."""
    agenda = Scheduler()
    agenda.declare([replace(HOURLY, catchup=True), replace(HOURLY, name="b")])
    for question in agenda.questions(0.0):
        agenda.take_answer(question, [slot(1), slot(2)], None, 0.0)
    started(agenda, HOUR_S)
    agenda.remove(["b"])
    copy = Scheduler.from_json(agenda.to_json())

    assert copy.to_json() == agenda.to_json()
    assert started(copy, 2 * HOUR_S) == ["02"]


def test_another_process_is_told_of_runs_that_may_not_have_been_started() -> None:
    """What was due when the first one ended is neither lost nor due for ever."""
    agenda = Scheduler()
    agenda.declare([HOURLY])
    answer(agenda, 0.0, 1, 2)
    (first,) = agenda.due(HOUR_S)
    copy = Scheduler.from_json(json.loads(json.dumps(agenda.to_json())))

    assert copy.begun() == [first]
    assert started(copy, HOUR_S) == []
    copy.started(first, None)
    assert Scheduler.from_json(copy.to_json()).begun() == []


def test_a_timetable_that_fails_is_asked_again_later() -> None:
    """It keeps its error meanwhile, and disturbs no other."""
    agenda = Scheduler()
    agenda.declare([HOURLY])
    (question,) = agenda.questions(0.0)
    agenda.take_answer(question, [], "ValueError: no", 0.0)

    entry = agenda.find("a")
    assert entry is not None
    assert entry.error == "ValueError: no"
    assert agenda.questions(1.0) == []
    wake = agenda.wake_at(1.0)
    assert wake is not None
    assert len(agenda.questions(wake)) == 1


def test_a_run_of_which_nobody_knows_how_it_ended_counts_neither_way() -> None:
    """It is no failure, and no success that makes up for failures."""
    agenda = Scheduler()
    agenda.declare([replace(HOURLY, max_failures=2, catchup=True)])
    answer(agenda, 0.0, 1, 2, 3)
    assert started(agenda, 3 * HOUR_S) == ["01", "02", "03"]

    (entry,) = agenda
    for hour, is_success in ((1, False), (2, None), (3, False)):
        assert not entry.is_paused
        agenda.ended("a", slot(hour).run_id, is_success=is_success)

    assert (entry.is_paused, entry.active) == (True, [])


def test_what_is_too_much_to_go_on_with_is_asked_again() -> None:
    """After schedules that are gone; how far each has come is kept."""
    agenda = Scheduler()
    agenda.declare([HOURLY, replace(HOURLY, name="b"), replace(HOURLY, name="c")])
    agenda.remove(["b", "c"])
    answer(agenda, 0.0, 1, 2)
    assert started(agenda, HOUR_S) == ["01"]

    steps = [agenda]
    while (lighter := steps[-1].lighter()) is not None:
        steps.append(lighter)

    _, half, none, least = (one.to_json() for one in steps)
    assert [len(one["gone"]) for one in (half, none, least)] == [1, 0, 0]
    assert [len(one["entries"][0]["coming"]) for one in (half, none, least)] == [
        1,
        1,
        0,
    ]
    (asked,) = steps[-1].questions(HOUR_S)
    assert asked.last == slot(1)
