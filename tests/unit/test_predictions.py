"""However odd what was predicted or learned, it can be planned with."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from farm.model import StepSpec
from farm.queue.predict import LEAST_S, MOST_S, sane
from schedules.demand import expected_end

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@given(st.floats(0, allow_nan=False, allow_infinity=True), st.timedeltas(timedelta(0), timedelta(days=4000)))
def test_the_end_of_a_running_task_is_not_past_and_not_absurd(predicted_s, since):
    predicted = timedelta(seconds=sane(predicted_s))
    end = expected_end(NOW - since, predicted, NOW)
    assert NOW <= end <= NOW + max(predicted, since)


def test_predictions_are_held_to_what_makes_sense():
    assert (sane(0), sane(1e-300), sane(2.5), sane(8e11)) == (LEAST_S, LEAST_S, 2.5, MOST_S)


def test_a_prediction_of_nothing_is_refused():
    with pytest.raises(ValidationError):
        StepSpec(argv=("true",), predicted_s=1e-9)
