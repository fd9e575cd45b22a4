"""`make demo`: the product shown by its own commands, and every claim checked; exit status 1 when one does not hold."""
