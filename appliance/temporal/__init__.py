"""Makes runs durable: the only package that imports temporalio."""
