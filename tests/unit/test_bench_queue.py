import time
from datetime import timedelta

from benchmarks import plot_queue
from executors.contract import EventKind, Work
from farm.bench.alone_farm import alone
from farm.bench.burst import graph, graph_items, many
from farm.bench.cluster import cluster
from farm.bench.depth import LIMITS as depth_limits
from farm.bench.depth import depth
from farm.bench.fake_site import FakeSite
from farm.bench.figures import Figures, over, p99
from farm.bench.growth import growth
from farm.bench.whole import Sizes, whole
from farm.cli import bench_queue
from farm.integrity import look


def test_what_is_above_its_limit_is_named():
    assert over({"a": 2, "b": 1, "c": 9}, {"a": 1, "b": 1, "d": 0}) == ["a"]
    assert p99([float(n) for n in range(1000)]) == 990
    assert p99([1.0]) == 1


def test_a_graph_has_the_edges_that_were_asked_for_and_no_cycle():
    items = graph_items(200, 1500)
    place = {item["name"]: n for n, item in enumerate(items)}
    edges = [(place[before], n) for n, item in enumerate(items) for before in item["after"]]
    assert len(set(edges)) == len(edges) == 1500
    assert all(before < after for before, after in edges)


def test_where_there_is_no_postgresql_that_is_told(monkeypatch):
    monkeypatch.setattr("farm.bench.cluster.program", lambda _name: None)
    found = whole(Sizes(10_000, 200, 100, 100, 1, 0, 1), ["postgresql"], lambda _text: None)
    assert "no PostgreSQL" in found["databases"]["postgresql"]["failed"]
    assert found["over"] == []


def test_numbers_are_told_beside_what_they_may_be(capsys):
    figures = Figures()
    for value in (3, 1, 2):
        figures.add(jobs_s=value, claim_p50_ms=value)
    told = figures.told()
    assert told["jobs_s"] == {"median": 2, "least": 1, "most": 3, "runs": 3}
    limits = {"jobs_s": 1.5}
    bench_queue._show(
        {"databases": {"sqlite": told, "postgresql": {"failed": "none"}}, "limits": limits, "over": ["sqlite jobs_s"]}
    )
    said = capsys.readouterr()
    assert [line.split()[:5] for line in said.out.splitlines()[1:]] == [
        ["jobs_s", "2", "(1–3)", "-", "1.5"],
        ["claim_p50_ms", "2", "(1–3)", "-", "-"],
    ]
    assert "not on sqlite" in said.out
    assert "postgresql: none" in said.err


def test_the_curves_of_a_run_are_drawn():
    picture = plot_queue.drawn(growth(1_000))
    assert picture.count("<polyline") == 6
    assert "1,000" in picture


def test_cost_is_measured_for_each_size():
    found = growth(100)
    assert [one["tasks"] for one in found] == [100]
    assert all(found[0][f"{act}_us"] > 0 for act in ("submit", "claim", "finish"))


def test_executors_in_memory_end_their_tasks_one_after_the_other():
    site = FakeSite(0.01)
    site.attach("e1", 1)
    assert [ready.executor for ready in site.ready()] == ["e1"]
    begin = time.monotonic()
    site.start([Work("1.1.1", 7, 1, ("true",)), Work("1.2.1", 8, 1, ("true",))], "e1")
    told = []
    while len(told) < 2:
        events = site.events({"e1": len(told)}, timedelta(seconds=5))["e1"]
        told = [*told, *events[len(told) :]] if len(events) > len(told) else told
    assert time.monotonic() - begin >= 0.02
    assert [(e.seq, e.kind, e.attempt, e.token) for e in told] == [
        (1, EventKind.FINISHED, "1.1.1", 7),
        (2, EventKind.FINISHED, "1.2.1", 8),
    ]
    site.acknowledge({"e1": 2})
    assert site.events({"e1": 2}, timedelta()) == {}


def test_a_service_alone_takes_an_array_many_jobs_and_a_graph():
    with alone() as farm:
        found = Figures()
        depth(farm, found, 4_000, 400, 1)
        laid, half, _ = (job["tasks"] for job in farm.client.get("/v1/jobs", limit=3)["jobs"])
        assert (laid["done"], laid["cancelled"]) == (2_000, 2_000)  # laid down, after those that were worked off
        assert half["total"] == 1_000
        many(farm, found, 300, 1)
        assert len(farm.client.get("/v1/jobs", limit=1000)["jobs"]) >= 300
        assert [one.what for one in look(farm.db) if one.rule in ("counters", "states", "attempts", "pages")] == []
    with alone() as farm:
        graph(farm, found, 60, 300, 2)
        newest = farm.client.get("/v1/jobs", limit=1)["jobs"][0]
        assert newest["tasks"]["done"] == 60
        assert len(found.samples["release_ms"]) == 2
        assert farm.most_rss_mib > 10
        assert farm.cpu_s > 0
    told = found.told()
    assert set(depth_limits) | {"many_submit_s", "release_ms"} <= set(told)
    assert all(one["least"] <= one["median"] <= one["most"] for one in told.values())


def test_a_queue_on_a_postgresql_of_its_own():
    """Where there is none it is told."""
    with cluster() as server, alone(cluster=server) as farm:
        assert not farm.db.sqlite
        before = farm.server_cpu_s
        found = Figures()
        many(farm, found, 200, 1)
        assert found.samples["many_cpu_s"][0] >= 0
        assert farm.server_cpu_s >= before > 0
        assert growth(100, server)[0]["finish_cpu_us"] > 0
