"""What `farm bench` measures, each by itself."""
