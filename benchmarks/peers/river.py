"""River (Go) on a PostgreSQL of its own, durable: its workers start a program for each job. Go builds it in place."""

import os
import subprocess
from pathlib import Path

from farm.bench.cluster import cluster

VERSION = "v0.51.1"
GO_MOD = f"""module peer

go 1.24

require (
	github.com/riverqueue/river {VERSION}
	github.com/riverqueue/river/riverdriver/riverpgxv5 {VERSION}
)
"""
MAIN = """package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

type One struct{}

func (One) Kind() string { return "one" }

type Worker struct{ river.WorkerDefaults[One] }

func (*Worker) Work(context.Context, *river.Job[One]) error { return exec.Command("/bin/true").Run() }

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	tasks, _ := strconv.Atoi(os.Args[2])
	most, _ := strconv.Atoi(os.Args[3])
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Args[1])
	must(err)
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, nil)
	must(err)
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	must(err)
	workers := river.NewWorkers()
	river.AddWorker(workers, &Worker{})
	queues := map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: most}}
	config := &river.Config{Queues: queues, Workers: workers}
	config.FetchCooldown, config.FetchPollInterval = time.Millisecond, 10*time.Millisecond
	client, err := river.NewClient(driver, config)
	must(err)
	jobs := make([]river.InsertManyParams, tasks)
	for n := range jobs {
		jobs[n] = river.InsertManyParams{Args: One{}}
	}
	_, err = client.InsertMany(ctx, jobs)
	must(err)
	begin := time.Now()
	must(client.Start(ctx))
	for done := 0; done < tasks; time.Sleep(10 * time.Millisecond) {
		must(pool.QueryRow(ctx, "SELECT count(*) FROM river_job WHERE state = 'completed'").Scan(&done))
	}
	fmt.Println("took", time.Since(begin).Seconds())
	must(client.Stop(ctx))
}
"""


def few(folder: Path, tasks: int) -> float:
    return _run(folder, tasks, 2)


def many(folder: Path, tasks: int) -> float:
    return _run(folder, tasks, 100)


def _run(folder: Path, tasks: int, workers: int) -> float:
    program = _built(folder)
    with cluster() as server:
        url = server.database("river").replace("postgresql://", "postgres://", 1)
        call = [str(program), url, str(tasks), str(workers)]
        done = subprocess.run(call, check=True, capture_output=True, text=True, timeout=300)
    return tasks / float(done.stdout.split()[1])


def _built(folder: Path) -> Path:
    """Its modules and what Go makes of them stay in the folder."""
    program = folder / "peer"
    if not program.exists():
        (folder / "go.mod").write_text(GO_MOD)
        (folder / "main.go").write_text(MAIN)
        own = {
            "GOMODCACHE": str(folder / "modules"),
            "GOCACHE": str(folder / "cache"),
            "GOFLAGS": "-mod=mod -modcacherw",
        }
        call = ["go", "build", "-o", str(program), "."]
        subprocess.run(call, cwd=folder, env={**os.environ, **own}, check=True, capture_output=True, text=True)
    return program
