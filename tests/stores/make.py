"""Write a store with something of everything, and pack it: a fixture for every later version.

    python tests/stores/make.py OUT.tar.gz

What is put is the same for every layout, so its ids are the same; what is on the disk is of the
``rosdb`` that is imported. Clock, user and times of files are fixed. How the archives were made:

``store-1.tar.gz``  by commit 4c1ee0d, the last one whose stores were "research-os store 1": each
                    object a loose file, a blob of more than 1 MiB raw. ``PYTHONPATH`` led to a
                    checkout of it.
``store-2.tar.gz``  by the first code whose stores were "research-os store 2": packs, one of them
                    merged of several, an index over several, blobs in chunks, loose objects.

An archive is never written anew: it is what people have on their disks.
"""

import contextlib
import gzip
import io
import itertools
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from blake3 import blake3

from rosdb import Entry, Link, Store

WHO = "ana@desk"
START_NS = 1_700_000_000_000_000_000
LEFT_OUT = {"index.lock"}

SMALL = b"hello\n"
EVEN = b"the same line, again and again\n" * 40
TICKS = b"".join(b"%d,%d.%02d\n" % (n, 4010 + n % 97, n * 7 % 100) for n in range(32_000))
LONG = bytes(range(256)) * 4500
"""More than 1 MiB."""


def noise(name: str, size: int) -> bytes:
    """Return bytes that look like chance and do not compress."""
    return blake3(name.encode()).digest(size)


def put_run(store: Store, number: int, status: str, name: str) -> Link:
    """Put a run with its statuses, as the experiments do."""
    with store.transaction(f"run {number}") as tx:
        recipe = tx.put_record(
            "recipe/v1",
            {
                "capsule": 1,
                "experiment": "sma_crossover",
                "entry": "research.sma",
                "parameters": {"fast": number, "slow": 50, "costs": {"fee_bps": 1.5}},
                "seed": 42,
                "environment": {"python": "3.11.7", "variables": {"TZ": "UTC"}},
            },
        )
        run = tx.put_record(
            "run/v1",
            {
                "created_at_ns": START_NS + number,
                "process_id": 100 + number,
                "kind": "run",
                "user": "ana",
                "host": "desk",
                "agent": None,
                "ros": "0.1.0",
                "git": None,
                "dataset": {"name": "demo", "version": "1"},
                "metric_names": ["sharpe", "trades"],
            },
            {"recipe": recipe},
        )
        tx.move_ref(f"runs/{run}", run, expected=None)
        tx.move_ref(f"names/{name}", run, expected=store.ref(f"names/{name}"))
    before = run
    for each in ("running", status):
        with store.transaction(each) as tx:
            links = {"run": run}
            if each == "completed":
                metrics = {"sharpe": number / 4, "trades": number}
                links["outcome"] = tx.put_record("outcome/v1", {"metrics": metrics})
                links["log"] = tx.put_blob(b"run %d\n" % number)
            error = {"kind": "ValueError", "message": "no bars", "where": "sma.py:7"}
            fields = {
                "status": each,
                "at_ns": START_NS + 10 * number,
                "seconds": None if each == "running" else 0.5,
                "error": error if each == "failed" else None,
                "log_bytes_cut": 0,
            }
            state = tx.put_record("status/v1", fields, links)
            tx.move_ref(f"runs/{run}", state, expected=before)
            before = state
    return run


def fill(store: Store) -> None:
    """Put a dataset, runs, and what is by itself; move refs and remove one."""
    with store.transaction("data add demo") as tx:
        files = {"ticks.csv": tx.put_blob(TICKS), "long.bin": tx.put_blob(LONG)}
        table = tx.put_table(
            {
                "at": np.arange(3).astype("datetime64[ns]"),
                "close": np.ma.array([1.5, 7.0, np.nan], mask=[False, True, False]),
                "note": np.array(["é", "", "up"]),
            },
            {"close": "USD"},
        )
        count = np.arange(1000)
        bars = tx.put_table(
            {"volume": count * 3, "price": np.ma.array(count / 8, mask=count % 10 == 0)}
        )
        inner = tx.put_tree(
            {"run.sh": Entry(kind="file", link=tx.put_blob(SMALL), size=len(SMALL), mode=0o755)}
        )
        tree = tx.put_tree(
            {
                "bin": Entry(kind="tree", link=inner, size=len(SMALL)),
                "notes": Entry(kind="table", link=table, size=87),
                "ticks.csv": Entry(
                    kind="file", link=files["ticks.csv"], size=len(TICKS), mode=0o644
                ),
                "long.bin": Entry(kind="file", link=files["long.bin"], size=len(LONG), mode=0o644),
            }
        )
        snapshot = tx.put_record(
            "snapshot/v1",
            {"name": "demo", "version": "1", "source": "é", "file_count": 3},
            {"files": tree, "bars": bars},
        )
        tx.move_ref("datasets/demo/1", snapshot, expected=None)
        tx.move_ref("datasets/demo/0", tree, expected=None)
    with store.transaction("data remove demo 0") as tx:
        tx.move_ref("datasets/demo/0", None, expected=tree)
    put_run(store, 1, "completed", "first")
    put_run(store, 2, "failed", "best")
    put_run(store, 3, "completed", "best")
    for number in range(9):
        with store.transaction() as tx:
            tx.put_blob(noise(f"large {number}", 3500))
            tx.put_blob(noise(f"and small {number}", 50))
    for number in range(8):
        with store.transaction() as tx:
            tx.put_blob(b"tiny %d" % number)
            tx.put_blob(b"tiny too %d" % number)
    with store.transaction("last") as tx:
        last = tx.put_record("note/v1", {"values": [None, -1, 2**64 - 1, 0.25, True, b"\0"]})
        tx.move_ref("names/note", last, expected=None)
    store.put_blob(b"by itself")
    store.put_blob(EVEN)


def pack(folder: Path, archive: Path) -> None:
    """Write the folder as an archive that depends on nothing but its files."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if path.name in LEFT_OUT:
                continue
            info = tar.gettarinfo(path, str(path.relative_to(folder)))
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mtime = START_NS // 10**9
            info.mode = 0o755 if info.isdir() else 0o644 if info.mode & 0o200 else 0o444
            with path.open("rb") if path.is_file() else io.BytesIO() as source:
                tar.addfile(info, source)
    archive.write_bytes(gzip.compress(data.getvalue(), 9, mtime=0))


def main(archive: Path) -> None:
    """Make the store and pack it."""
    with contextlib.suppress(ImportError):
        from rosdb import merge

        merge.MERGED_BELOW_BYTES = 3000  # where there are packs: an index over several comes sooner
    with tempfile.TemporaryDirectory() as folder:
        ticks = itertools.count(START_NS, 1_000)
        path = Path(folder) / ".ros"
        Store.init(path).close()
        store = Store.open(path, who=WHO, now_ns=lambda: next(ticks))
        fill(store)
        assert store.check().ok
        store.close()
        pack(Path(folder), archive)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
