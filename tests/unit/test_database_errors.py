"""What the database refuses: our own defects are told as such, what a person can mend with its remedy."""

import json
import sqlite3

import pytest
from sqlalchemy.exc import DatabaseError, IntegrityError, InterfaceError, OperationalError, ProgrammingError
from starlette.requests import Request

from farm.api.errors import _database

DEFECT = "please report them"


def answer(kind, said):
    request = Request({"type": "http", "path": "/v1/jobs", "headers": [], "query_string": b"", "method": "POST"})
    made = _database(request, kind("SELECT 1", {}, sqlite3.Error(said)))
    return made.status_code, json.loads(made.body)["error"]


@pytest.mark.parametrize(
    ("kind", "said", "status", "words"),
    [
        (IntegrityError, "UNIQUE constraint failed: task.job", 500, DEFECT),
        (ProgrammingError, "Incorrect number of bindings supplied", 500, DEFECT),
        (OperationalError, "database is locked", 503, "holds the database locked"),
        (OperationalError, "disk I/O error", 503, "disk I/O error"),
        (DatabaseError, "database disk image is malformed", 503, "malformed"),
        (InterfaceError, "connection is closed", 503, "connection is closed"),
        (OperationalError, "database or disk is full", 507, "nothing was kept"),
        (IntegrityError, "database or disk is full", 507, "nothing was kept"),
    ],
)
def test_whose_fault_it_is(kind, said, status, words):
    code, error = answer(kind, said)
    assert code == status
    assert words in f"{error['what']} {error['remedy']}"
    assert (DEFECT in error["remedy"]) == (status == 500)
    assert "UNIQUE" not in error["what"]
