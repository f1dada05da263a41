"""What runs next: the pure state machine of one DAG run. Standard library only: no clock, no I/O, no vendor."""
