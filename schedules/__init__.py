"""Pure arithmetic: what a farm sees in, what it should do out. Standard library only."""
