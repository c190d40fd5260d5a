"""`Store` against raw obstore: a 512 MB object and 2,000 objects of 16 KB, up and down, from file to file.

The baseline is what one would write with obstore alone: multipart put of a path, a streamed get into a file, and 32
asynchronous requests at once for the small ones. It neither hashes nor renames nor retries; `Store` does all three.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

BIG_BYTES = 512 << 20
SMALL_BYTES = 16 << 10
SMALL_COUNT = 2000
ROUNDS = 3
AT_ONCE = 32
GOAL = 0.95


def main() -> dict[str, Any]:
    """The worst of the four ratios of throughput (ours / raw obstore's), each from medians of interleaved rounds."""
    from shipway.storage import embedded

    folder = Path(tempfile.mkdtemp(prefix="shipway-bench-"))
    try:
        os.environ.update(embedded.environment(embedded.start(folder / "home")))
        return _measure(folder)
    finally:
        embedded.stop(folder / "home", grace_s=0)
        shutil.rmtree(folder, ignore_errors=True)


def _measure(folder: Path) -> dict[str, Any]:
    big, small = _files(folder)
    ours, raw = _ours(folder, big, small), _raw(folder, big, small)
    seconds: dict[str, list[list[float]]] = {name: [[], []] for name in ours}
    for round_number in range(ROUNDS + 1):
        for name in ours:
            sides = [(0, ours[name]), (1, raw[name])]
            for side, work in sides if round_number % 2 else reversed(sides):
                for out in (folder / "ours", folder / "raw"):  # every download goes into a new folder
                    shutil.rmtree(out, ignore_errors=True)
                (folder / "raw" / "small").mkdir(parents=True)
                took = _timed(work)
                if round_number:  # the first warms up
                    seconds[name][side].append(took)
    medians = {name: [statistics.median(side) for side in sides] for name, sides in seconds.items()}
    ratios = {name: round(raw_s / ours_s, 3) for name, (ours_s, raw_s) in medians.items()}
    ratio = min(ratios.values())
    amount = {"big": (BIG_BYTES / 1e6, "MB/s"), "small": (SMALL_COUNT, "objects/s")}
    details: dict[str, Any] = {"ratios": ratios, "rounds": ROUNDS, "hashes": "ours verifies sha256, raw does not"}
    for name, (ours_s, raw_s) in medians.items():
        number, unit = amount[name.split("_")[0]]
        details[name] = {"ours": round(number / ours_s), "raw": round(number / raw_s), "unit": unit}
    return {
        "name": "storage",
        "ratio": ratio,
        "goal": GOAL,
        "meets_goal": ratio >= GOAL,
        "baseline": "raw obstore, same server, same files (worst of four)",
        "details": details,
    }


def _files(folder: Path) -> tuple[Path, list[Path]]:
    big = folder / "big.bin"
    with open(big, "wb") as file:
        for _ in range(BIG_BYTES >> 20):
            file.write(os.urandom(1 << 20))
    (folder / "small").mkdir()
    small = [folder / "small" / f"{number:05d}" for number in range(SMALL_COUNT)]
    for path in small:
        path.write_bytes(os.urandom(SMALL_BYTES))
    return big, small


def _ours(folder: Path, big: Path, small: list[Path]) -> dict[str, Callable[[], object]]:
    from shipway.storage import Store

    store = Store.open(f"s3://shipway/bench-{uuid.uuid4().hex[:8]}")
    hashes = {ref.path: ref.sha256 for ref in store.upload_many([(path, f"small/{path.name}") for path in small])}
    sha256 = store.upload(big, "big").sha256
    out = folder / "ours"
    return {
        "big_up": lambda: store.upload(big, "big"),
        "big_down": lambda: store.download("big", out / "big", sha256=sha256),
        "small_up": lambda: store.upload_many([(path, f"small/{path.name}") for path in small]),
        "small_down": lambda: store.download_many(
            [(key, out / "small" / key.rpartition("/")[2], sha256) for key, sha256 in hashes.items()]
        ),
    }


def _raw(folder: Path, big: Path, small: list[Path]) -> dict[str, Callable[[], object]]:
    import obstore
    from obstore.store import S3Store

    prefix = f"raw-{uuid.uuid4().hex[:8]}"
    store = S3Store(
        "shipway", client_options={"allow_http": True, "timeout": "300s"}, virtual_hosted_style_request=False
    )
    out = folder / "raw"

    def big_down() -> None:
        with open(out / "big", "wb") as file:
            for block in obstore.get(store, f"{prefix}/big"):
                file.write(block)

    async def each(work: Callable[[Path], Any]) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(path: Path) -> None:
            async with gate:
                await work(path)

        await asyncio.gather(*(one(path) for path in small))

    async def up(path: Path) -> None:
        await obstore.put_async(store, f"{prefix}/small/{path.name}", path.read_bytes())

    async def down(path: Path) -> None:
        result = await obstore.get_async(store, f"{prefix}/small/{path.name}")
        (out / "small" / path.name).write_bytes(await result.bytes_async())

    return {
        "big_up": lambda: obstore.put(store, f"{prefix}/big", big),
        "big_down": big_down,
        "small_up": lambda: asyncio.run(each(up)),
        "small_down": lambda: asyncio.run(each(down)),
    }


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    import json

    print(json.dumps(main()))
