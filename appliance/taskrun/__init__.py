"""Execution of one task try: its process, requests, logs and final state."""
