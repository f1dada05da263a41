"""One DAG run: its workflow, the activities that run its tries, and the client that starts it and reads it."""
