"""`prep.dataset` over many small images, from a disk's folder and from object storage, against scripts that only pack.

The scripts do what a person would write: list the files, read each (from object storage by obstore, 32 asynchronous
requests at once), split by a hash of the bytes, shuffle, and write the bytes with their label into eight TFRecord files
and a Parquet file a split, with our serialiser. They look at no image, set none aside, keep no statistics, measure no
leakage, hash no file, hold everything in memory, and run in one process.

    python -m benchmarks pack        BENCH_PACK_IMAGES=5000 BENCH_PACK_OBJECTS=500 for a quick look
"""

from __future__ import annotations

import io
import os
import shutil
import statistics
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.prep import timed

IMAGES = {
    "disk": int(os.environ.get("BENCH_PACK_IMAGES", "60000")),
    "store": int(os.environ.get("BENCH_PACK_OBJECTS", "6000")),
}
ROUNDS = int(os.environ.get("BENCH_PACK_ROUNDS", "3"))
LEAST = {"disk": 10_000, "store": 2_000}  # images a second

OURS = """
import sys
from benchmarks._pack_recipe import REFERENCE
from shipway.components.prep.make import make_dataset
from shipway.components.prep.spec import DatasetSpec
from shipway.storage import Store
spec = DatasetSpec(name="bench", data=sys.argv[1], recipe=REFERENCE)
make_dataset(spec, Store.open(f"file://{sys.argv[2]}"))
"""

READ = {
    "disk": """
def read(top):
    for folder, _, names in os.walk(top):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                yield os.path.basename(folder), file.read()
""",
    "store": """
def read(uri):
    import asyncio
    from obstore.store import S3Store
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    store = S3Store(bucket, client_options={"allow_http": True}, virtual_hosted_style_request=False)
    keys = iter([meta["path"] for chunk in store.list(prefix) for meta in chunk])
    found = []
    async def worker():
        for key in keys:
            found.append((key.split("/")[-2], bytes(await (await store.get_async(key)).bytes_async())))
    async def main():
        await asyncio.gather(*(worker() for _ in range(32)))
    asyncio.run(main())
    return found
""",
}
PACK = """
import os, random, sys
from pathlib import Path
import numpy as np
import polars as pl
from xxhash import xxh3_64_intdigest
from shipway.components.prep.tfrecord import serialise, write_records
{read}
out = Path(sys.argv[2])
out.mkdir(parents=True)
sides = {{"train": [], "eval": [], "test": []}}
for label, data in read(sys.argv[1]):
    at = xxh3_64_intdigest(data) % 1000
    sides["test" if at < 150 else "eval" if at < 250 else "train"].append((label, data))
known = sorted({{label for rows in sides.values() for label, _ in rows}})
ids = {{label: number for number, label in enumerate(known)}}
for name, rows in sides.items():
    random.Random(0).shuffle(rows)
    columns = dict(zip(("label", "image"), zip(*rows)))
    pl.DataFrame(columns).write_parquet(out / f"{{name}}.parquet")
    shards = 8 if name == "train" else 1
    for number in range(shards):
        with (out / f"{{name}}-{{number}}.tfrecord").open("wb") as file:
            part = rows[number::shards]
            for start in range(0, len(part), 256):
                chunk = part[start : start + 256]
                column = np.empty(len(chunk), dtype=object)
                column[:] = [data for _, data in chunk]
                labels = np.array([ids[label] for label, _ in chunk])
                write_records(file, serialise({{"file": column, "label": labels}}))
"""


def write_images(folder: Path, images: int) -> None:
    """JPEGs of 96x96 pixels, of about 2.7 KB, in a folder for each of ten labels; no two are equal."""
    import numpy as np
    from PIL import Image

    choose = np.random.default_rng(0)
    kinds = []
    for _ in range(50):
        buffer = io.BytesIO()
        small = Image.fromarray(choose.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        small.resize((96, 96)).save(buffer, "JPEG", quality=80)
        kinds.append(buffer.getvalue())
    for number in range(10):
        (folder / f"label{number}").mkdir(parents=True)
    for number in range(images):
        kind = kinds[number % len(kinds)]
        mark = b"\xff\xfe\x00\x08" + number.to_bytes(6, "big")  # a comment, in front of the other segments
        (folder / f"label{number % 10}" / f"{number:06d}.jpg").write_bytes(kind[:2] + mark + kind[2:])


def _measure(place: str, source: str, folder: Path) -> dict[str, list[tuple[float, float, float]]]:
    sides = {"ours": OURS, "script": PACK.format(read=READ[place])}
    runs_of: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sides}
    for number in range(ROUNDS):
        for name in sides if number % 2 else reversed(sides):
            runs_of[name].append(timed(sides[name], source, folder / f"{name}-{place}-{number}"))
    return runs_of


def _told(images: int, runs: list[tuple[float, float, float]]) -> dict[str, float]:
    seconds = statistics.median(took for took, _, _ in runs)
    return {
        "images_per_s": round(images / seconds),
        "cpu_s": round(statistics.median(cpu for _, cpu, _ in runs), 1),
        "peak_memory_mb": round(max(peak for _, _, peak in runs)),
    }


def main() -> dict[str, Any]:
    """The worse ratio of images/s, ours over the script's, from medians of interleaved rounds."""
    from shipway.storage import Store, embedded

    folder = Path(tempfile.mkdtemp(prefix="shipway-bench-"))
    details: dict[str, Mapping[str, float]] = {}
    try:
        for place, images in IMAGES.items():
            write_images(folder / place, images)
        os.environ.update(embedded.environment(embedded.start(folder / "home")))
        prefix = f"bench-{uuid.uuid4().hex[:8]}"
        Store.open("s3://shipway").upload_folder(folder / "store", prefix)
        for place, source in (("disk", str(folder / "disk")), ("store", f"s3://shipway/{prefix}")):
            runs_of = _measure(place, source, folder)
            details |= {f"{place}_{name}": _told(IMAGES[place], runs) for name, runs in runs_of.items()}
    finally:
        embedded.stop(folder / "home", grace_s=0)
        shutil.rmtree(folder, ignore_errors=True)
    rates = {place: details[f"{place}_ours"]["images_per_s"] for place in LEAST}
    return {
        "name": "pack",
        "ratio": round(min(rates[place] / details[f"{place}_script"]["images_per_s"] for place in LEAST), 3),
        "goal": "10,000 images/s from a disk, 2,000 from the store",
        "meets_goal": all(rates[place] >= least for place, least in LEAST.items()),
        "baseline": "a script that reads the same files and packs them, all in memory (the worse of disk and store)",
        "details": {"images": IMAGES, "rounds": ROUNDS, **details},
    }
