"""Start, supervision, stop and health of the processes of an appliance."""
