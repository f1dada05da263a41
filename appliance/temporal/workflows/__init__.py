"""What is durable: the code Temporal replays. Deterministic, in the sandbox."""
