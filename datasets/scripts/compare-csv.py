#!/usr/bin/env python3
"""Compares how long a large CSV file takes to load, here and in pandas, in turns.

    cargo build --release -p fl-datasets --example load
    compare-csv.py target/release/examples/load [ROWS [TURNS]]
"""

import pathlib
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
begun = time.perf_counter()
frame = pd.read_csv(sys.argv[1], engine=sys.argv[2])
features = frame.drop(columns="label").to_numpy(np.float32)
classes, labels = np.unique(frame["label"].to_numpy(), return_inverse=True)
seconds = time.perf_counter() - begun
print(f"{seconds:.2f} s, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB at most")
"""


def write(path, rows):
    """Measurements of four digits, and as many integers, above a label of two classes."""
    random = np.random.default_rng(1)
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        columns = {}
        for column in range(COLUMNS):
            if column % 2:
                columns[f"c{column}"] = random.integers(0, 100_000, count)
            else:
                columns[f"c{column}"] = random.normal(10, 30, count).round(4)
        columns["label"] = random.integers(0, 2, count)
        pd.DataFrame(columns).to_csv(path, mode="a", header=start == 0, index=False)


def measured(command):
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, _, peak, *_ = output.splitlines()[-1].split()
    return float(seconds), int(peak)


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
            seconds = statistics.median(seconds for seconds, _ in found)
            print(f"{name}: {seconds:.1f} s, {max(peak for _, peak in found)} MiB; {found}")


main()
