"""`farm simulate`: the farm's own policy and order of work on a recorded day, beside others' rules and a bound."""
