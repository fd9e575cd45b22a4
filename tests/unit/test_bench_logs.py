import json

from farm.cli import main


def test_lines_are_measured_on_their_way(capfd):
    assert main(["bench", "logs", "--lines", "2000", "--runs", "1", "--engine", "plain", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["lines"] == 2000
    assert found["bytes"] == sum(len(f"{n}\n") for n in range(1, 2001))
    assert found["lines_per_second"] > 0
    assert 0 <= found["seen_after_p50_s"] <= found["seen_after_max_s"]
