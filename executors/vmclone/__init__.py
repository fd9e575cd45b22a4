"""Executors that are clones of a virtual machine: booted and warmed once, then forked in a fraction of a second."""
