#!/usr/bin/env python3
"""Compares how long a large CSV file takes to load, here and in pandas, in turns.

    cargo build --release -p fl-datasets --example load
    compare-csv.py target/release/examples/load [ROWS [TURNS]]
"""

import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd

COLUMNS = 30
CHUNK = 500_000

PANDAS = """
import resource, sys, time
import numpy as np, pandas as pd
imported, begun = time.process_time(), time.perf_counter()
frame = pd.read_csv(sys.argv[1], engine=sys.argv[2])
features = frame.drop(columns="label").to_numpy(np.float32)
classes, labels = np.unique(frame["label"].to_numpy(), return_inverse=True)
print(imported)
seconds = time.perf_counter() - begun
print(f"{seconds:.2f} s, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB at most")
"""


def write(path, rows):
    """Measurements of four digits, and as many integers, above a label of two classes."""
    random = np.random.default_rng(1)
    count = min(CHUNK, rows)
    columns = {}
    for column in range(COLUMNS):
        if column % 2:
            columns[f"c{column}"] = random.integers(0, 100_000, count)
        else:
            columns[f"c{column}"] = random.normal(10, 30, count).round(4)
    columns["label"] = random.integers(0, 2, count)
    header, chunk = pd.DataFrame(columns).to_csv(index=False).split("\n", 1)
    with open(path, "w") as file:
        file.write(header + "\n")
        for _ in range(rows // count):
            file.write(chunk)


def measured(command):
    """Seconds, MiB at most, and seconds of processors, without those of Python's imports."""

    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    first, last = output.splitlines()
    imported = float(first) if command[0] == sys.executable else 0
    seconds, _, peak, *_ = last.split()
    return float(seconds), int(peak), round(used() - before - imported, 2)


def main():
    program = sys.argv[1]
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000_000
    turns = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "rows.csv")
        write(path, rows)
        commands = {
            "fl-datasets": [program, path],
            "pandas, c": [sys.executable, "-c", PANDAS, path, "c"],
            "pandas, pyarrow": [sys.executable, "-c", PANDAS, path, "pyarrow"],
        }
        runs = {name: [] for name in commands}
        for _ in range(turns):
            for name, command in commands.items():
                runs[name].append(measured(command))
        size = pathlib.Path(path).stat().st_size / 1e9
        print(f"{rows} rows of {COLUMNS} columns and a label, {size:.2f} GB")
        for name, found in runs.items():
            seconds = statistics.median(seconds for seconds, *_ in found)
            used = statistics.median(used for *_, used in found)
            peak = max(peak for _, peak, _ in found)
            print(f"{name}: {seconds:.1f} s, {used:.1f} s of processors, {peak} MiB; {found}")


main()
