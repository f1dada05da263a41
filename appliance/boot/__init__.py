"""Starts, supervises and stops the processes of the box, and says how they are."""
