#!/usr/bin/env python3
"""Writes the samples of the Parquet tests as pandas and pyarrow do, and the same as CSV."""

import datetime
import decimal
import json
import pathlib

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

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

# The same small table in all usual ways of compression, with several pages.
small = pa.table(
    {
        "age": pa.array([41, None, 7, 63] * 2, pa.int32()),
        "dose": [0.5, 1.5, 2.5, 3.5] * 2,
        "ward": ["icu", "med", "icu", None] * 2,
        "smoker": [True, False, None, True] * 2,
        "ill": ["yes", "no", "no", "yes"] * 2,
    }
)
for name, compression, version in (
    ("plain", "none", "1.0"),
    ("gzip", "gzip", "2.0"),
    ("snappy", "snappy", "1.0"),
    ("zstd", "zstd", "2.0"),
):
    pq.write_table(
        small,
        samples / f"{name}.parquet",
        compression=compression,
        data_page_version=version,
        row_group_size=4,
        store_schema=False,
        write_statistics=False,
    )

# Two grey pixels, dark and light.
PICTURES = [
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000002000000010800000000d1492056"
        "0000000b49444154789c6330fe0f00016801338ed855740000000049454e44ae426082"
    )
] * 3
features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
pictures = pa.table(
    {
        "image": [{"bytes": picture, "path": None} for picture in PICTURES],
        "label": [0, 1, 0],
    },
    pa.schema(
        {
            "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "label": pa.int64(),
        },
        {"huggingface": json.dumps({"info": {"features": features}})},
    ),
)
pq.write_table(pictures, samples / "pictures.parquet", write_statistics=False)
