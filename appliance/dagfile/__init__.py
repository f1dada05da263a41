"""DAG files: discovery, parsing, the index of what they contain, and checks before a run starts."""
