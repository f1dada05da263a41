"""Makes the scheduler agree with the DAG folder and appliance.yaml."""
