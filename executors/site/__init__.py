"""One network: its Ray cluster, its gateway, and the work on its executors."""
