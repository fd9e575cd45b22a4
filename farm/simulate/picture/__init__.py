"""What `farm simulate --plot` draws: shapes that become SVG in a page of their own, or PNG."""
