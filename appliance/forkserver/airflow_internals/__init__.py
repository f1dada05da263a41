"""All uses of what Airflow does not promise to keep; only in zygotes and their children.

The private names, and the versions they were checked with, are listed in ``pinned_names``.
"""

# A missing name or another version fails before anything of this package is used.
from appliance.forkserver.airflow_internals import pinned_names as pinned_names
