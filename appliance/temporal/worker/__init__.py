"""What a worker does for workflows, and the process it does it in."""
