"""The picture of a replay: a page that needs nothing else, or a PNG; and what was drawn is what happened."""

import io
import re
from html.parser import HTMLParser

import pytest

from farm.cli import main
from farm.refusal import Refusal
from farm.simulate.contest import Contest
from farm.simulate.course import Course
from farm.simulate.picture.report import Report, drawing
from farm.simulate.picture.scale import steps, ticks, waits
from farm.simulate.pools import Offer
from farm.simulate.trace import SECOND
from tests.recorded_days import START, bursts, job


@pytest.fixture(scope="module")
def replayed():
    contest = Contest(bursts(40), (Offer(),), watched=True)
    return contest.run(["thrifty", "fast"], ["ray", "static"], None), contest.courses


class Tags(HTMLParser):
    """All that is opened is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing(replayed):
    page = Report.of(*replayed).page()
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert not tags.seen & {"script", "link", "img", "iframe"}
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert all(page.count(name) >= 3 for name in ("thrifty", "fast", "ray", "static"))
    assert "nan" not in re.sub(r"<t[dh].*", "", page)


def test_a_name_is_text_and_no_markup(replayed):
    found, courses = replayed
    first = {**found["policies"][0], "name": "<b>&"}
    page = Report.of({**found, "policies": [first]}, {"<b>&": next(iter(courses.values()))}).page()
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page


def test_the_png_shows_something_all_over(replayed):
    from PIL import Image

    image = Image.open(io.BytesIO(Report.of(*replayed).png())).convert("RGB")
    assert image.width == 2160
    for quarter in range(4):
        part = image.crop((0, image.height * quarter // 4, image.width, image.height * (quarter + 1) // 4))
        assert len(part.getcolors(1 << 24)) > 20


def test_what_was_drawn_is_what_was_paid(replayed):
    found, courses = replayed
    for policy in found["policies"]:
        course = courses[policy["name"]]
        slots = sum(course.slots) * course.stretch / SECOND
        if policy["zero_after_s"] is not None:  # standing machines are billed beyond what happens
            assert slots == pytest.approx(policy["paid_machine_s"], rel=0.01)
        assert sum(course.at_work) * course.stretch / SECOND == pytest.approx(found["work_seconds"], rel=1e-6)
        assert course.waits[-1] == pytest.approx(policy["wait_max"], abs=0.001)


def test_a_course_is_as_long_as_it_has_to_be():
    course = Course.of([job(0, START, 480)])
    course.note(START * SECOND, 0, 0, 1)
    course.note((START + 100) * SECOND, 2, 1, 0)
    course.note((START + 1000) * SECOND, 0, 0, 0)
    assert len(course.slots) == 1001
    assert sum(course.slots) == pytest.approx(1800)
    assert (course.waited[0], course.waited[99], course.waited[101]) == (1, 1, 0)


@pytest.mark.parametrize("seconds", [1, 3000, 86_400, 20 * 86_400, 400 * 86_400, 4000 * 86_400])
def test_moments_on_an_axis_are_some_and_not_many(seconds):
    from farm.clock import from_micros

    found = ticks(from_micros(START * SECOND), from_micros((START + seconds) * SECOND))
    assert len(found) <= 14
    assert len(found) >= (1 if seconds > 3600 else 0)


def test_numbers_on_an_axis_are_round():
    assert steps(3.2) == [0, 1, 2, 3]
    assert steps(0.9)[:2] == [0, pytest.approx(0.5)]
    assert waits(75) == [1, 10, 60, 600]


@pytest.mark.parametrize("name", ["days.pdf", "days", "nowhere/days.html", "."])
def test_where_nothing_can_be_drawn_is_told_before_the_replay(tmp_path, name):
    with pytest.raises(Refusal):
        drawing(str(tmp_path / name))


def test_the_command_draws(tmp_path, capsys):
    from tests.unit.test_simulate import write

    trace = write(tmp_path / "day.csv", bursts(12))
    for name in ("days.html", "days.png"):
        assert main(["simulate", trace, "--preset", "thrifty", "--plot", str(tmp_path / name)]) == 0
        assert (tmp_path / name).stat().st_size > 10_000
    assert "thrifty" in capsys.readouterr().out
