"""Runs pgbench and the peers in turn, several times over, and prints what came of it.

Called by `run`, which has started Postgres and installed the peers; PGHOST and PGUSER say where Postgres is.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from statistics import median

import psycopg

HERE = Path(__file__).parent
NODE = "node_modules/.bin/node"

# How each peer is called, and in how many processes when many events are in flight: what was fastest on two cores.
PEERS = {
    "transitions": ([sys.executable, HERE / "transitions_psycopg.py"], 2),
    "dbos": ([sys.executable, HERE / "dbos_queue.py"], 2),
    "procrastinate": ([sys.executable, HERE / "procrastinate_queue.py"], 1),
    "graphile-worker": ([NODE, Path("graphile_worker.mjs")], 1),
}


def run_pgbench(database, in_flight, seconds):
    command = ["pgbench", "--no-vacuum", "--protocol=prepared", f"--client={in_flight}", f"--jobs={min(2, in_flight)}"]
    command += [f"--time={seconds}", f"--define=clients={in_flight}", f"--file={HERE / 'pgbench.sql'}", database]
    output = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
    version = subprocess.run(["pgbench", "--version"], check=True, text=True, stdout=subprocess.PIPE).stdout
    rate = re.search(r"^tps = ([0-9.]+)", output, re.MULTILINE)
    events = re.search(r"^number of transactions actually processed: (\d+)", output, re.MULTILINE)
    return {"version": version.split()[2], "events": int(events[1]), "events_per_s": float(rate[1])}


def run_peer(command, processes, database, in_flight, seconds):
    """The processes are readied one after the other and started together; what they measure is added up."""
    environment = os.environ | {"PGDATABASE": database}
    share = in_flight // processes
    started = []
    try:
        for first in range(0, share * processes, share):
            arguments = [*command, str(first), str(share), str(in_flight), str(seconds)]
            process = subprocess.Popen(
                arguments, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            started.append(process)
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"{command[-1].name} did not start")
        for process in started:
            process.stdin.write("start\n")
            process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for process in started]
        for process in started:
            if process.wait(timeout=60) != 0:
                raise RuntimeError(f"{command[-1].name} failed")
    finally:
        for process in started:
            process.kill()
            process.wait()
    return {
        "version": answers[0]["version"],
        "events": sum(answer["events"] for answer in answers),
        "events_per_s": sum(answer["events_per_s"] for answer in answers),
        "cores": sum(answer["cores"] for answer in answers),
    }


def check(database, answered):
    """Every event must have moved its board and be in history, or the figure is worth nothing."""
    with psycopg.connect(dbname=database) as connection:
        moved, told = connection.execute("SELECT (SELECT sum(visit - 1) FROM board), (SELECT count(*) FROM history)").fetchone()
    if moved != told or told < answered:
        raise RuntimeError(f"{database}: {answered} events were answered, {moved} moved a board, {told} are in history")


def measure(server, peer, in_flight, seconds):
    """One run in a new database, from a checkpoint on."""
    database = "peers_run"
    server.execute(f"CREATE DATABASE {database} TEMPLATE peers")
    server.execute("CHECKPOINT")
    if peer == "pgbench":
        figure = run_pgbench(database, in_flight, seconds)
    else:
        command, processes = PEERS[peer]
        figure = run_peer(command, min(processes, in_flight), database, in_flight, seconds)
    check(database, figure["events"])
    server.execute(f"DROP DATABASE {database} WITH (FORCE)")
    return figure


def summary(peer, in_flight, figures, yardsticks, lifeguard):
    rates = [figure["events_per_s"] for figure in figures]
    result = {
        "peer": peer,
        "version": figures[0]["version"],
        "in_flight": in_flight,
        "events_per_s": {"median": median(rates), "min": min(rates), "max": max(rates)},
        "ratio_to_pgbench": median(rate / yardstick["events_per_s"] for rate, yardstick in zip(rates, yardsticks)),
    }
    if "cores" in figures[0]:
        result["client_cores"] = median(figure["cores"] for figure in figures)
    if lifeguard is not None:
        result["lifeguard_ratio"] = lifeguard / median(rates)
    return result


def table(results):
    yield f"{'peer':16}{'version':>9}{'in flight':>11}{'events/s':>10}{'min':>8}{'max':>8}{'/ pgbench':>11}{'cores':>7}{'Lifeguard':>11}"
    for result in results:
        rate = result["events_per_s"]
        cores = f"{result['client_cores']:.2f}" if "client_cores" in result else ""
        lifeguard = f"{result['lifeguard_ratio']:.1f} x" if "lifeguard_ratio" in result else ""
        yield (
            f"{result['peer']:16}{result['version']:>9}{result['in_flight']:>11}{rate['median']:>10.0f}"
            f"{rate['min']:>8.0f}{rate['max']:>8.0f}{result['ratio_to_pgbench']:>11.2f}{cores:>7}{lifeguard:>11}"
        )


def main():
    parser = argparse.ArgumentParser(prog="run", description="What four peers do of Lifeguard's work on this machine.")
    parser.add_argument("--seconds", type=int, default=10, help="length of a run (default 10)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, interleaved (default 3)")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 64], help="events in flight (default 1 64)")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="default: all")
    parser.add_argument(
        "--lifeguard", type=float, metavar="FIGURE", help="Lifeguard's events a second at the last of --in-flight"
    )
    options = parser.parse_args()
    # So that the peers under way are ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    figures = {}
    with psycopg.connect(dbname="postgres", autocommit=True) as server:
        names = ["fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "jit", "server_version"]
        settings = {name: server.execute(f"SHOW {name}").fetchone()[0] for name in names}
        for repeat in range(options.repeats):
            for in_flight in options.in_flight:
                for peer in ["pgbench", *options.peers]:
                    figure = measure(server, peer, in_flight, options.seconds)
                    print(f"{repeat + 1} {peer} {in_flight}: {figure['events_per_s']:.0f}", file=sys.stderr)
                    figures.setdefault((in_flight, peer), []).append(figure)

    results = []
    for (in_flight, peer), measured in figures.items():
        lifeguard = options.lifeguard if in_flight == options.in_flight[-1] else None
        results.append(summary(peer, in_flight, measured, figures[in_flight, "pgbench"], lifeguard))
    print("\n".join(table(results)), file=sys.stderr)
    json.dump({"cores": os.cpu_count(), "seconds": options.seconds, "postgres": settings, "results": results}, sys.stdout, indent=2)
    print()


main()
