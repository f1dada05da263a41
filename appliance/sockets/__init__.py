"""Unix sockets of the worker on its own host: one starts runs quickly, one answers health checks."""
