#!/usr/bin/python3
"""The process pools of Python on the tasks of yoke-bench's rows S1, S2, S3, S9, S11 and S12: loky and concurrent.futures.

Needs Debian's python3, for loky python3-joblib (which brings its own copy), and for --mpi python3-mpi4py. One line a figure: the median and the
spread of the repetitions; with --json, all samples. A peer that is not installed is left out. yoke-bench runs it for S17 and R-*.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import signal
import statistics
import sys
import threading
import time


def inc(value):
    return value + 1


def own_pid():
    return os.getpid()


def sleep_for_ever():
    signal.pause()


def loky_pool(workers):
    from joblib.externals import loky

    return loky.ProcessPoolExecutor(max_workers=workers)


def futures_pool(workers):
    # spawn: what a program with threads has to use, and what loky does in its own way
    return concurrent.futures.ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def futures_fork_pool(workers):
    return concurrent.futures.ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork"))


def mpi_pool(workers):
    # A worker by MPI_Comm_spawn, on this machine, through shared memory. OpenMPI asks root and small machines for consent.
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                      OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_plm="isolated")
    from mpi4py.futures import MPIPoolExecutor

    return MPIPoolExecutor(max_workers=workers)


PEERS = {
    "loky": loky_pool,
    "concurrent.futures (spawn)": futures_pool,
    "concurrent.futures (fork)": futures_fork_pool,
}
MPI_PEERS = {"mpi4py.futures, here": mpi_pool}


def tasks_per_second(make, workers, count):
    """S1, S2: submit them all, then take all results."""
    with make(workers) as pool:
        for future in [pool.submit(inc, i) for i in range(200)]:
            future.result()
        begin = time.perf_counter()
        futures = [pool.submit(inc, i) for i in range(count)]
        for i, future in enumerate(futures):
            assert future.result() == i + 1
        return count / (time.perf_counter() - begin)


def round_trip_us(make, count):
    """S3: one task at a time, back to back; the median of the trips."""
    with make(1) as pool:
        pool.submit(inc, 0).result()
        times = []
        for i in range(count):
            begin = time.perf_counter()
            pool.submit(inc, i).result()
            times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e6


def first_result_ms(make):
    """S9: from nothing to the first result of one worker."""
    begin = time.perf_counter()
    with make(1) as pool:
        pool.submit(inc, 0).result()
        return (time.perf_counter() - begin) * 1e3


def death_ms(make):
    """S11, S12: from the SIGKILL of a busy worker to its future's error, and to a new pool's first result: these pools
    are broken by a death, and a program has to make a new one."""
    pool = make(1)
    pid = pool.submit(own_pid).result()
    doomed = pool.submit(sleep_for_ever)
    while not doomed.running():
        time.sleep(0.001)
    time.sleep(0.02)
    # An os.kill and a wait in one thread would not show what a waiting program sees.
    done_at = []
    doomed.add_done_callback(lambda _: done_at.append(time.perf_counter()))
    finished = threading.Event()
    doomed.add_done_callback(lambda _: finished.set())
    begin = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    if not finished.wait(30):
        raise RuntimeError("the death was not seen for 30 seconds")
    pool.shutdown(wait=False)
    with make(1) as pool:
        pool.submit(inc, 0).result()
        recovered = time.perf_counter()
    return (done_at[0] - begin) * 1e3, (recovered - begin) * 1e3


def text(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def spread(samples):
    ordered = sorted(samples)
    outside = (len(ordered) - 1) // 4
    return ordered[outside], ordered[-1 - outside]


ROWS = ("S1", "S2", "S3", "S9", "S11", "S12")


def measure(make, rows, tasks, trips, repetitions, deaths):
    """(row, what, unit, samples) of one peer, each as soon as it is there."""
    for row, workers in (("S1", 1), ("S2", 2)):
        if row in rows:
            yield (row, f"no-op submit then get, {tasks} tasks, {workers} worker(s)", "tasks/s",
                   [tasks_per_second(make, workers, tasks) for _ in range(repetitions)])
    if "S3" in rows:
        yield "S3", "round trip, hot", "us", [round_trip_us(make, trips) for _ in range(repetitions)]
    if "S9" in rows:
        yield "S9", "first result, cold pool", "ms", [first_result_ms(make) for _ in range(deaths)]
    if "S11" in rows or "S12" in rows:
        pairs = [death_ms(make) for _ in range(deaths)]
        yield "S11", "SIGKILL to the error", "ms", [error for error, _ in pairs]
        yield "S12", "SIGKILL to a new pool's first result", "ms", [recovered for _, recovered in pairs]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default=",".join(ROWS), help="such as S1,S3; default: all")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks of S1 and S2, 20000 at most")
    parser.add_argument("--mpi", action="store_true", help="mpi4py.futures alone, for S1 and S3: a death ends all of its job")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: figures not to be quoted")
    parser.add_argument("--json", metavar="FILE", help="write all samples; to -: and print nothing else")
    arguments = parser.parse_args()
    rows = arguments.rows.split(",")
    if not set(rows) <= set(ROWS):
        parser.error(f"--rows knows {', '.join(ROWS)}")
    tasks = min(arguments.tasks, 20_000) // (10 if arguments.quick else 1)
    trips = 200 if arguments.quick else 2000
    repetitions = 2 if arguments.quick else arguments.repetitions
    deaths = max(repetitions, 3 if arguments.quick else 20)

    def say(line):
        if arguments.json != "-":
            print(line, flush=True)

    say(f"python {sys.version.split()[0]}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.2f}")
    say("median (quartiles)\n")
    results, missing = [], {}
    for peer, make in (MPI_PEERS if arguments.mpi else PEERS).items():
        try:
            first_result_ms(make)
        except ImportError as error:
            missing[peer] = f"{error} (Debian: {'python3-mpi4py' if arguments.mpi else 'python3-joblib'})"
            say(f"{peer} is left out: {missing[peer]}")
            continue
        for row, what, unit, samples in measure(make, rows, tasks, trips, repetitions, deaths):
            low, high = spread(samples)
            say(f"{row:<4} {peer:<28} {what:<40} {text(statistics.median(samples)):>8} {unit} "
                f"({text(low)}..{text(high)})")
            results.append({"id": row, "peer": peer, "what": what, "unit": unit, "samples": samples})
    if arguments.json:
        content = json.dumps({"python": sys.version.split()[0], "missing": missing, "results": results}, indent=1)
        if arguments.json == "-":
            print(content)
        else:
            with open(arguments.json, "w", encoding="utf-8") as file:
                file.write(content + "\n")


if __name__ == "__main__":
    main()
