"""How much memory a large file takes: one process puts it, another reads it.

    python benchmarks/memory.py put STORE FILE     prints the blob's id
    python benchmarks/memory.py read STORE ID

Each prints its largest resident size in bytes and its seconds, as JSON. It stands alone, so that
the memory is the store's and nothing else's.
"""

import json
import resource
import sys
import time
from pathlib import Path

from rosdb import DATASETS, ObjectId, Store

_READ_BYTES = 1024 * 1024


def put(store: Store, file: str) -> str:
    """Commit a file; return its id."""
    with store.transaction("put a large file") as tx:
        blob = tx.put_file(Path(file))
        tx.move_ref(f"{DATASETS}large/1", blob, expected=None)
    return str(blob)


def read(store: Store, blob_id: str) -> str:
    """Read a blob to its end; return its id."""
    with store.open_blob(ObjectId.from_hex(blob_id)) as handle:
        while handle.read(_READ_BYTES):
            pass
    return blob_id


def main() -> None:
    """Do one of the two, and say what it took."""
    verb, store_path, argument = sys.argv[1:]
    started = time.perf_counter()
    store = Store.open(store_path)
    blob_id = {"put": put, "read": read}[verb](store, argument)
    store.close()
    seconds = time.perf_counter() - started
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(json.dumps({"id": blob_id, "peak_bytes": peak, "seconds": seconds}))


if __name__ == "__main__":
    main()
