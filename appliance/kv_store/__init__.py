"""Variables and state that tasks write: stored in workflows, read and written by workers."""
