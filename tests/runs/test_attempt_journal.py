"""A worker that died can say at its next start which tries were lost."""

from pathlib import Path

from appliance.runs.attempt_journal import AttemptJournal


def test_what_was_not_ended_is_lost(tmp_path: Path) -> None:
    journal = AttemptJournal(tmp_path / "tries")
    journal.begin(b"one")
    journal.begin(b"\x00two\n")
    journal.take(b"three")
    journal.end(b"three")

    assert AttemptJournal(tmp_path / "tries").left == {b"one": True, b"\x00two\n": True}


def test_the_last_that_ended_may_not_have_been_heard_of(tmp_path: Path) -> None:
    journal = AttemptJournal(tmp_path / "tries")
    for number in range(20_000):
        token = str(number).encode()
        journal.begin(token)
        journal.end(token)

    left = AttemptJournal(tmp_path / "tries").left
    assert [*left] == [str(number).encode() for number in range(20_000 - 256, 20_000)]
    assert all(left.values())


def test_a_try_that_only_waited_for_a_slot_is_told_apart(tmp_path: Path) -> None:
    journal = AttemptJournal(tmp_path / "tries")
    journal.take(b"waits")
    journal.take(b"runs")
    journal.begin(b"runs")

    assert AttemptJournal(tmp_path / "tries").left == {b"waits": False, b"runs": True}


def test_what_was_reported_as_lost_is_not_reported_again(tmp_path: Path) -> None:
    first = AttemptJournal(tmp_path / "tries")
    first.begin(b"one")
    first.end(b"one")
    first.begin(b"two")

    heir = AttemptJournal(tmp_path / "tries")
    assert heir.left == {b"one": True, b"two": True}
    heir.clear_reported()

    assert heir.left == {}
    assert AttemptJournal(tmp_path / "tries").left == {}


def test_a_worker_that_dies_before_it_told_leaves_that_to_the_next(
    tmp_path: Path,
) -> None:
    AttemptJournal(tmp_path / "tries").begin(b"one")
    AttemptJournal(tmp_path / "tries").take(b"two")

    assert AttemptJournal(tmp_path / "tries").left == {b"one": True, b"two": False}


def test_half_a_line_of_a_killed_worker_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "tries"
    AttemptJournal(path).begin(b"one")
    with path.open("ab") as out:
        out.write(b"+ aGFsZ")

    assert AttemptJournal(path).left == {b"one": True}


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "tries"
    journal = AttemptJournal(path)
    journal.begin(b"stays")
    for number in range(20_000):
        token = str(number).encode()
        journal.begin(token)
        journal.end(token)

    assert path.stat().st_size < 1_000_000
    assert AttemptJournal(path).left[b"stays"]
