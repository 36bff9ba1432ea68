"""What a store holds: sharing and compression told apart."""

import random

from rosdb import DATASETS


def test_what_versions_of_a_long_file_share_is_content_once(store):
    noise = random.Random(3).randbytes(3_000_000)
    for version, content in enumerate((noise, noise + b"the next day")):
        with store.transaction() as tx:
            tree = tx.put_record("note/v1", {"v": version}, {"file": tx.put_blob(content)})
            tx.move_ref(f"{DATASETS}ticks/{version}", tree, expected=None)

    found = store.stats()

    assert found.datasets == 2
    assert 6_000_000 < found.logical_bytes < 6_001_000
    assert 3_000_000 < found.content_bytes < 3_100_000
    assert 1.9 < (found.dedup_ratio or 0) < 2.0
    assert 0.9 < (found.compression_ratio or 0) < 1.0  # noise, and what holds it together


def test_a_store_without_runs_and_datasets_has_no_ratio(store):
    store.put_blob(b"alone")

    found = store.stats()

    assert (found.objects, found.content_bytes) == (1, 0)
    assert found.stored_bytes > 0
    assert found.dedup_ratio is found.compression_ratio is None
