"""What the fuzzers feed: one module per parser.

Each has `target(data)`, which raises for a defect only, and `TOKENS`, pieces that such texts are made of. Files below
`corpus/NAME/` are fed first.
"""
