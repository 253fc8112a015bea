#!/usr/bin/env python3
"""Writes the samples of the Parquet tests as pandas and pyarrow do, and the same as CSV."""

import datetime
import decimal
import pathlib

import pandas as pd

package = pathlib.Path(__file__).parent.parent
samples = package / "src" / "parquet" / "reader" / "samples"

frame = pd.DataFrame(
    {
        "age": pd.array([41, None, 7, 63, 5, 88], dtype="Int16"),
        "dose": [0.1, 1e-7, float("nan"), 12345678.9, -0.5, 3.0],
        "ward": pd.Categorical(["icu", "med", "icu", None, "med", "icu"]),
        "smoker": [True, False, True, True, False, False],
        "born": [datetime.date(1970 + year, 2, 28) for year in range(6)],
        "seen": pd.date_range("2024-02-27 10:30", periods=6, tz="Europe/Berlin"),
        "price": [decimal.Decimal(cents) / 100 for cents in (1, 250, -3, 99999, 0, 7)],
        "ill": ["yes", "no", "no", "yes", "yes", "no"],
    },
    index=[5, 3, 9, 1, 0, 4],
)
frame.to_parquet(samples / "ward.parquet")
frame["seen"] = frame["seen"].dt.tz_convert("UTC")
frame.to_csv(samples / "ward.csv", index=False)
