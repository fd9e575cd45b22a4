"""farm.toml with every kind of mistake: what, on which line, and what to write."""

import pytest

from farm.config import BadConfig, FarmConfig, load
from farm.context import open_farm, providers
from farm.home import Home
from farm.lines import line_of

WINDOW = '[[schedules]]\nname = "{name}"\nhours = "{hours}"\n[schedules.pools.local]\nceiling = 4\n'
SAYS = "[[schedules]]\nname = 'n'\n"
OTHER = "[[schedules]]\nname = 'm'\n"


def refused(tmp_path, text: str | bytes) -> BadConfig:
    path = tmp_path / "farm.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(BadConfig) as caught:
        load(path)
    assert caught.value.where.startswith(str(path))
    assert "\n" not in str(caught.value)
    assert "validation" not in str(caught.value)
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("currncy = 'EUR'", 1, ("'currncy'", "currency")),
        ("[pools.local]\nslots = 1\ncieling = 2", 3, ("pools.local.cieling", "ceiling")),
        ("[pools.a]\nceiling = 2\n[pools.b]\nprovidr = 'local'\nceiling = 1", 4, ("providr", "provider")),
        ("[pools.a]\nceiling = 2\n[pools.b]\nceiling = 'two'", 4, ("pools.b.ceiling", "'two' is no whole number")),
        ("[site]\nengin = 'plain'", 2, ("site.engin", "engine")),
        ("[site]\nlease = '2s'", 2, ("silent for longer than 2 s", "write 3s or more")),
        ("[site]\noutbound_lease = 0", 2, ("silent for longer than 0 s", "write 3s or more")),
        ("[site]\nengine = 'plane'", 2, ("'plane'", "did you mean plain")),
        ("[pools.local]\nfloor = -1", 2, ("-1 is too small", "0 or more")),
        ("[pools.local]\nidle = '5 parsecs'", 2, ("5 parsecs", "90s")),
        ("[pools.local]\nprice_per_hour = 'much'", 2, ("'much' is no number",)),
        ("[pools.local]\nmemory = 'lots'", 2, ("'lots' is no size", "512M")),
        ("[pools.local]\nfloor = 9\nceiling = 2", 1, ("floor of 9",)),
        ("[lanes.bulk]\nweight = 0", 2, ("more than 0",)),
        ("[pools]\nlocal = 3", 2, ("3 is no table",)),
        ("currency = EUR", 1, ("no TOML", "quotes")),
        ("[pools.local", 1, ("no TOML",)),
        (WINDOW.format(name="n", hours="19-7"), 3, ("'7' is no time of day",)),
        (WINDOW.format(name="n", hours="noon"), 3, ("noon", "19:00-07:00")),
        (WINDOW.format(name="n", hours="19:00-07:00").replace("local", "locl"), 4, ("no pool 'locl'", "local")),
        ('[[schedules]]\nname = "n"\nzone = "Europe/Prag"\n[schedules.pools.local]\nfloor = 1', 3, ("Europe/Prague",)),
        ('[[schedules]]\nname = "n"\ndays = "mon-fry"\n[schedules.pools.local]\nfloor = 1', 3, ("mon-fri",)),
        (WINDOW.format(name="n", hours="07:00+02:00-19:00"), 3, ("'07:00+02:00' is no time of day",)),
        (WINDOW.format(name="n", hours="19:00-07:00").replace("[[schedules]]", "[schedules]"), 1, ("[[schedules]]",)),
        (f"{SAYS}ceiling = 4", 3, ("unknown key 'schedules.ceiling'", "below [schedules.pools.NAME]")),
        (f"{SAYS}timezone = 'UTC'", 3, ("unknown key 'schedules.timezone'", "did you mean 'zone'")),
        (f"{SAYS}pools_allowed = ['lokal']", 3, ("there is no pool 'lokal'", "did you mean 'local'")),
        (f"{SAYS}pools_allowed = 'local'", 3, ("'local' is no list", "brackets")),
        (f"{SAYS}lanes_open = ['interactiv']", 3, ("there is no lane 'interactiv'", "did you mean 'interactive'")),
        (f"{SAYS}pools = ['local']", 3, ("pools_allowed",)),
        (f"{SAYS}price_cap = 1\nhours = ['08:00-12:00']", 4, ("one span of hours", "a window for each")),
        (f"{SAYS}price_cap = -1", 3, ("-1 is too small", "0 or more")),
        (f"{SAYS}price_cap = nan", 3, ("nan is no number",)),
        (f"{SAYS}price_cap = 1\nholidays = ['25.12.']", 4, ("'25.12.' is no day", "2026-12-25")),
        (f"{SAYS}price_cap = 1\nholidays = 'feasts.ics'", 4, ("feasts.ics' can't be read", "below the home")),
        (f"{SAYS}price_cap = 1\ndates = 2026-12-25T10:00:00", 4, ("is no day", "2026-12-25")),
        (f"{SAYS}price_cap = 1\ndays = 'sat'\ndates = [2026-12-25]", 2, ("'n' never opens", "correct dates")),
        (f"{SAYS}days = 'mon'", 2, ("'n' can never win: it says nothing", "[schedules.pools.NAME]")),
        (f"{SAYS}price_cap = 1\n{SAYS}price_cap = 2", 5, ("two windows are named 'n'", "its own name")),
        (f"{SAYS}price_cap = 1\n{OTHER}price_cap = 2", 2, ("'n' can never win: 'm' below it say",)),
        (WINDOW.format(name="n", hours="19:00-07:00") + "floor = 5", 6, ("floor = 5 of pool 'local' takes 5 slots",)),
        (WINDOW.format(name="n", hours="19:00-07:00") + "idle_target = 5", 6, ("idle_target = 5", "ceiling is 4")),
        (WINDOW.format(name="", hours="19:00-07:00"), 2, ("name is empty",)),
        ("[[schedules]]\nprice_cap = 1", 1, ("name is missing",)),
        (b"# caf\xe9\n[pools.local]\n", 1, ("UTF-8",)),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, text, line, words):
    error = refused(tmp_path, text)
    assert error.where.endswith(f"farm.toml line {line}")
    assert all(word in str(error) for word in words), error


def test_a_window_that_can_never_win_is_named_with_its_line(tmp_path):
    text = WINDOW.format(name="evening", hours="19:00-20:00") + WINDOW.format(name="always", hours="00:00-24:00")
    error = refused(tmp_path, f"# opening hours\n{text}")
    assert error.where.endswith("line 3")
    assert "'evening' can never win" in error.what


def test_of_two_windows_with_one_name_the_right_one_is_meant(tmp_path):
    good = WINDOW.format(name="n", hours="08:00-09:00")
    text = good + WINDOW.format(name="n", hours="19:00-20:00") + WINDOW.format(name="x", hours="18:00-21:00")
    assert refused(tmp_path, text).where.endswith("line 7")


@pytest.mark.parametrize(
    ("pool", "line", "words"),
    [
        ('provider = "lokal"', 2, ("no provider lokal", "did you mean local?")),
        ('provider = "simulated"\n[pools.x.options]\nbot = 3', 4, ("no option bot", "did you mean boot_s?")),
        ('provider = "simulated"\n[pools.x.options]\nboot_s = "x"', 4, ("boot_s: 'x' is no number",)),
    ],
)
def test_what_a_provider_refuses_is_named_with_its_line(tmp_path, pool, line, words):
    home = Home(tmp_path).make()
    home.config_file.write_text(f"[pools.x]\n{pool}\n")
    farm = open_farm(home)
    try:
        with pytest.raises(BadConfig) as caught:
            providers(farm)
    finally:
        farm.close()
    assert caught.value.where == f"{home.config_file} line {line}"
    assert all(word in str(caught.value) for word in words), caught.value


def test_settings_that_are_a_folder_or_not_there(tmp_path):
    (tmp_path / "farm.toml").mkdir()
    with pytest.raises(BadConfig, match="can't be read"):
        load(tmp_path / "farm.toml")
    assert load(tmp_path / "none.toml") == FarmConfig()


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 1),
        (("t", "b"), 3),
        (("t", "x", "y"), 4),
        (("q r", "s.t"), 6),
        (("l", 0, "n"), 8),
        (("l", 1, "n"), 10),
        (("l", 1, "p", "n"), 12),
        (("l", 1, "p", "nothing"), 11),
        (("nowhere",), 0),
    ],
)
def test_lines_of_keys(path, line):
    text = 'a = 1\n[t]\nb = 2\nx.y = 3\n["q r"]\n"s.t" = 1\n[[l]]\nn = 1\n[[l]] # second\nn = 2\n[l.p]\nn = 3\n'
    assert line_of(text, path) == line


def test_a_calendar_stands_beside_farm_toml(tmp_path):
    (tmp_path / "feasts.ics").write_text("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261225\nEND:VEVENT\nEND:VCALENDAR\n")
    (tmp_path / "farm.toml").write_text(f"{SAYS}price_cap = 1\nholidays = ['feasts.ics', '12-24']")
    window = load(tmp_path / "farm.toml").windows()[0]
    assert {"2026-12-25", "2026-12-24", "2031-12-24"} <= window.holidays


def test_days_may_be_a_list_and_everything_may_be_closed(tmp_path):
    said = "days = ['Monday', 'wed-thursday']\nlanes_open = []\npools_allowed = []\ndates = '2026-12-21..2026-12-31'"
    (tmp_path / "farm.toml").write_text(f"{SAYS}{said}")
    window = load(tmp_path / "farm.toml").windows()[0]
    assert (window.days, window.lanes, window.allowed) == (frozenset({0, 2, 3}), frozenset(), frozenset())
    assert window.dates is not None
    assert len(window.dates) == 11
