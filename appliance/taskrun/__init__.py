"""One try of one task: its process, its questions, its logs, how it ended."""
