"""Configuration from ``appliance.yaml``, the environment and Airflow's own file formats, as frozen values."""
