"""What is shown of the last a process wrote to stderr."""

from appliance.taskrun.failure_reason import StderrTail

DUMP = """Fatal Python error: Segmentation fault

Thread 0x00007f (most recent call first):
  File "/lib/threading.py", line 1 in wait

Current thread 0x00007e (most recent call first):
  File "/dags/shop.py", line 7 in crash
  File "/lib/airflow/sdk/execution_time/task_runner.py", line 9 in run
  File "/lib/python3/runpy.py", line 3 in main

Extension modules: yaml._yaml (total: 1)"""


def heard(text: str) -> str:
    words = StderrTail()
    for line in text.splitlines():
        words.hear(line)
    return words.text()


def test_a_dump_is_reduced_to_what_crashed() -> None:
    assert heard(f"some warning\n{DUMP}").splitlines() == [
        "Fatal Python error: Segmentation fault",
        '  File "/dags/shop.py", line 7 in crash',
        '  File "/lib/python3/runpy.py", line 3 in main',
    ]


def test_of_anything_else_the_last_lines_are_shown() -> None:
    assert heard("\n".join(map(str, range(9)))) == "4\n5\n6\n7\n8"
    assert len(heard("x" * 1_000_000)) == 300
    assert heard("") == ""
