"""Questions of commands that only a worker can answer, carried by a short workflow."""
