"""Many rows of a question as one value of JSON: a row costs SQLAlchemy more than what is in it, and at each one
SQLite's driver lets other threads of ours go first."""

import json
from typing import Any

from sqlalchemy import Connection


def gathered(tx: Connection, columns: str, question: str) -> list[list[Any]]:
    """The rows of a SELECT in plain SQL without parameters, in its order, with these of its columns."""
    if tx.dialect.name == "sqlite":
        text = f"SELECT json_group_array(json_array({columns})) FROM ({question}) AS found"
        return list(json.loads(tx.exec_driver_sql(text).scalar_one()))
    text = f"SELECT json_agg(json_build_array({columns})) FROM ({question}) AS found"
    return tx.exec_driver_sql(text).scalar_one() or []
