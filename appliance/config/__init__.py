"""The one configuration: ``appliance.yaml``, the environment and Airflow's own file formats, as frozen values."""
