"""A real Kubernetes for tests, of its own programs and in namespaces of its own: `python -m tools.kubernetes`."""
