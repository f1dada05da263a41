"""The scheduler's decisions besides asking timetables: pausing, limits, files that vanish, other processes."""

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


def answer(scheduler: Scheduler, now: float, *hours: int) -> None:
    """Answer the one question there is."""
    (question,) = scheduler.questions(now)
    scheduler.record_answer(question, [slot(hour) for hour in hours], None, now)


def started(scheduler: Scheduler, now: float) -> list[str]:
    return [start.slot.run_after[11:13] for start in scheduler.take_due(now)]


def test_a_slot_is_taken_once_at_its_time() -> None:
    """Nothing is due before, and it is due once."""
    scheduler = Scheduler()
    scheduler.declare([HOURLY])
    answer(scheduler, 0.0, 1)

    assert started(scheduler, HOUR_S - 1) == []
    assert scheduler.wake_at(HOUR_S - 1) == HOUR_S
    assert started(scheduler, HOUR_S) == ["01"]
    assert started(scheduler, HOUR_S) == []


def test_a_run_left_to_a_temporal_schedule_of_0_1_is_made_when_that_is_late() -> None:
    """It is made when that rings, or ten seconds later; and on time again once no Temporal Schedule has times."""
    scheduler = Scheduler()
    scheduler.declare([HOURLY])
    scheduler.set_carried(["a"])
    answer(scheduler, 0.0, 1, 2)

    assert scheduler.wake_at(0.0) == HOUR_S + CARRIED_LATE_S
    assert started(scheduler, HOUR_S) == ["01"]
    scheduler.set_carried([])
    assert scheduler.wake_at(HOUR_S) == 2 * HOUR_S


def test_a_missed_slot_is_asked_for_again_without_catchup() -> None:
    """What was foreseen is not taken long after its time, as it may be no run any more."""
    scheduler = Scheduler()
    scheduler.declare([HOURLY])
    answer(scheduler, 0.0, 1)

    assert started(scheduler, HOUR_S + LATE_S) == ["01"]
    answer(scheduler, HOUR_S + LATE_S, 2)
    assert started(scheduler, 5.5 * HOUR_S) == []
    answer(scheduler, 5.5 * HOUR_S, 5, 6)
    assert started(scheduler, 5.5 * HOUR_S) == ["05"]


def test_late_runs_wait_for_room_and_runs_on_time_do_not() -> None:
    """Catching up goes on as runs end; what is on time is made at once and queues where people see it."""
    scheduler = Scheduler()
    scheduler.declare([replace(HOURLY, catchup=True, max_active_runs=2)])
    answer(scheduler, 3.5 * HOUR_S, 1, 2, 3, 4)

    assert started(scheduler, 3.5 * HOUR_S) == ["01", "02"]
    assert scheduler.wake_at(3.5 * HOUR_S) is None
    assert scheduler.awaited_runs(3.5 * HOUR_S) == {
        "a": (slot(1).run_id, slot(2).run_id)
    }
    scheduler.record_end("a", slot(1).run_id, is_success=True)
    assert started(scheduler, 3.6 * HOUR_S) == ["03"]
    assert started(scheduler, 4 * HOUR_S) == ["04"]


def test_a_continuous_schedule_asks_once_its_run_has_ended() -> None:
    """The next data interval begins where the last one ended, when there is room."""
    scheduler = Scheduler()
    scheduler.declare([replace(HOURLY, is_strict=True, max_active_runs=1)])
    answer(scheduler, HOUR_S, 1)

    assert started(scheduler, HOUR_S) == ["01"]
    assert scheduler.questions(9 * HOUR_S) == []
    scheduler.record_end("a", slot(1).run_id, is_success=False)
    assert len(scheduler.questions(9 * HOUR_S)) == 1


def test_it_does_not_remember_runs_for_ever() -> None:
    """Of a schedule that is always on time, ended runs are looked for once there are many."""
    scheduler = Scheduler()
    scheduler.declare([replace(HOURLY, catchup=True, max_active_runs=2)])
    for hour in range(1, 4):
        answer(scheduler, (hour - 0.5) * HOUR_S, hour)
        assert scheduler.awaited_runs(hour * HOUR_S) == {}
        assert started(scheduler, hour * HOUR_S) == [f"{hour:02}"]

    assert len(scheduler.awaited_runs(3 * HOUR_S)["a"]) == 3


def test_failures_in_a_row_pause_it() -> None:
    """A success between them begins the count anew."""
    scheduler = Scheduler()
    scheduler.declare([replace(HOURLY, max_failures=2, catchup=True)])
    for hour, is_success in ((1, False), (2, True), (3, False), (4, False)):
        answer(scheduler, (hour - 0.5) * HOUR_S, hour)
        assert started(scheduler, hour * HOUR_S) == [f"{hour:02}"]
        scheduler.record_end("a", slot(hour).run_id, is_success=is_success)

    schedule = scheduler.find("a")
    assert schedule is not None
    assert (schedule.is_paused, schedule.note) == (True, "its last 2 runs failed")
    scheduler.resume("a")
    assert (schedule.is_paused, schedule.note, schedule.failures) == (False, None, 0)


def test_a_barred_schedule_makes_no_runs_until_its_dag_is_mended() -> None:
    """Then it goes on as if it had been paused meanwhile."""
    scheduler = Scheduler()
    scheduler.declare([HOURLY])
    answer(scheduler, 0.0, 1)
    scheduler.declare([replace(HOURLY, is_barred=True, remark="it needs a moon")])

    assert scheduler.questions(2 * HOUR_S) == []
    assert started(scheduler, 2 * HOUR_S) == []
    assert scheduler.wake_at(2 * HOUR_S) is None
    scheduler.declare([HOURLY])
    answer(scheduler, 2 * HOUR_S, 2)
    assert started(scheduler, 2 * HOUR_S) == ["02"]


def test_a_run_that_could_not_be_started_is_not_waited_for() -> None:
    """Why is its schedule's note, until one can be."""
    scheduler = Scheduler()
    scheduler.declare([replace(HOURLY, catchup=True)])
    answer(scheduler, 0.0, 1, 2)
    (first,) = scheduler.take_due(HOUR_S)
    scheduler.record_start(first, "its id is too long")

    schedule = scheduler.find("a")
    assert schedule is not None
    why = f"the run {first.slot.run_id} could not be started: its id is too long"
    assert asdict(schedule).items() >= {"active": [], "note": why}.items()
    (second,) = scheduler.take_due(2 * HOUR_S)
    scheduler.record_start(second, None)
    went_well = {"active": [second.slot.run_id], "note": None}
    assert asdict(schedule).items() >= went_well.items()


def test_a_schedule_that_comes_back_goes_on_where_it_was() -> None:
    """Its file was gone for a while: what it made is not made again, and it is paused as before."""
    scheduler = Scheduler()
    scheduler.declare([HOURLY])
    answer(scheduler, 0.0, 1)
    started(scheduler, HOUR_S)
    scheduler.pause("a")
    scheduler.remove(["a"])

    assert scheduler.wake_at(2 * HOUR_S) is None
    scheduler.declare([HOURLY])
    schedule = scheduler.find("a")
    assert schedule is not None
    assert (schedule.last, schedule.is_paused) == (slot(1), True)


def test_a_changed_timetable_is_asked_anew_and_a_changed_summary_is_not() -> None:
    """What was foreseen by the old one is forgotten; what was made is not."""
    scheduler = Scheduler()
    scheduler.declare([HOURLY])
    answer(scheduler, 0.0, 1)

    scheduler.declare([replace(HOURLY, summary="other", conf={"x": 1})])
    assert scheduler.questions(1.0) == []
    scheduler.declare([replace(HOURLY, timetable={"daily": 1})])
    assert len(scheduler.questions(1.0)) == 1


def test_who_spoke_last_decides_whether_it_is_paused() -> None:
    """A person's word holds until appliance.yaml is edited; nobody's word is the file's."""
    scheduler = Scheduler()
    scheduler.declare([replace(HOURLY, is_configured=True)])
    schedule = scheduler.find("a")
    assert schedule is not None
    scheduler.pause("a")
    scheduler.declare([replace(HOURLY, is_configured=True, conf={"x": 1})])
    assert schedule.is_paused
    scheduler.resume("a")
    scheduler.declare([replace(HOURLY, is_configured=True, is_paused=True)])
    assert schedule.is_paused


def test_what_a_backfill_made_is_not_made_again() -> None:
    """The next run follows the latest of both, as in Airflow."""
    scheduler = Scheduler()
    scheduler.declare([replace(HOURLY, catchup=True)])
    answer(scheduler, 0.0, 1)
    scheduler.record_backfilled("a", slot(4))

    (question,) = scheduler.questions(1.0)
    assert question.last == slot(4)
    scheduler.record_backfilled("a", slot(2))
    (question,) = scheduler.questions(1.0)
    assert question.last == slot(4)


def test_it_goes_on_in_another_process() -> None:
    """Everything it knows can be written down."""
    scheduler = Scheduler()
    scheduler.declare([replace(HOURLY, catchup=True), replace(HOURLY, name="b")])
    for question in scheduler.questions(0.0):
        scheduler.record_answer(question, [slot(1), slot(2)], None, 0.0)
    started(scheduler, HOUR_S)
    scheduler.remove(["b"])
    copy = Scheduler.from_json(scheduler.to_json())

    assert copy.to_json() == scheduler.to_json()
    assert started(copy, 2 * HOUR_S) == ["02"]


def test_another_process_is_told_of_runs_that_may_not_have_been_started() -> None:
    """What was due when the first one ended is neither lost nor due for ever."""
    scheduler = Scheduler()
    scheduler.declare([HOURLY])
    answer(scheduler, 0.0, 1, 2)
    (first,) = scheduler.take_due(HOUR_S)
    copy = Scheduler.from_json(json.loads(json.dumps(scheduler.to_json())))

    assert copy.unconfirmed() == [first]
    assert started(copy, HOUR_S) == []
    copy.record_start(first, None)
    assert Scheduler.from_json(copy.to_json()).unconfirmed() == []


def test_a_timetable_that_fails_is_asked_again_later() -> None:
    """It keeps its error meanwhile, and disturbs no other."""
    scheduler = Scheduler()
    scheduler.declare([HOURLY])
    (question,) = scheduler.questions(0.0)
    scheduler.record_answer(question, [], "ValueError: no", 0.0)

    schedule = scheduler.find("a")
    assert schedule is not None
    assert schedule.error == "ValueError: no"
    assert scheduler.questions(1.0) == []
    wake = scheduler.wake_at(1.0)
    assert wake is not None
    assert len(scheduler.questions(wake)) == 1


def test_a_run_of_which_nobody_knows_how_it_ended_counts_neither_way() -> None:
    """It is no failure, and no success that makes up for failures."""
    scheduler = Scheduler()
    scheduler.declare([replace(HOURLY, max_failures=2, catchup=True)])
    answer(scheduler, 0.0, 1, 2, 3)
    assert started(scheduler, 3 * HOUR_S) == ["01", "02", "03"]

    (schedule,) = scheduler
    for hour, is_success in ((1, False), (2, None), (3, False)):
        assert not schedule.is_paused
        scheduler.record_end("a", slot(hour).run_id, is_success=is_success)

    assert (schedule.is_paused, schedule.active) == (True, [])


def test_what_is_too_much_to_go_on_with_is_asked_again() -> None:
    """After schedules that are gone; how far each has come is kept."""
    scheduler = Scheduler()
    scheduler.declare([HOURLY, replace(HOURLY, name="b"), replace(HOURLY, name="c")])
    scheduler.remove(["b", "c"])
    answer(scheduler, 0.0, 1, 2)
    assert started(scheduler, HOUR_S) == ["01"]

    steps = [scheduler]
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
