"""The worker process: registers workflows and activities, runs user code in child processes, watches over its host."""
