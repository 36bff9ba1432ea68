"""What a store holds and what it would take without sharing.

Owns the figures of ``ros stats``. *Logical* is what every run and dataset would take if each were
stored for itself; *content* is each object once, and of long blobs each chunk; *stored* is what the
disk holds, what no run and no dataset leads to included.
"""

from dataclasses import dataclass

from rosdb.object_store import Objects
from rosdb.objects import Kind, Link, ObjectId, decode_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counts and sizes of a store."""

    objects: int
    runs: int
    datasets: int
    logical_bytes: int
    content_bytes: int
    stored_bytes: int

    @property
    def dedup_ratio(self) -> float | None:
        """How many times over the same content would be kept without sharing; None if empty."""
        return self.logical_bytes / self.content_bytes if self.content_bytes else None

    @property
    def compression_ratio(self) -> float | None:
        """How much smaller the content is on disk; None if empty."""
        is_anything = self.content_bytes and self.stored_bytes
        return self.content_bytes / self.stored_bytes if is_anything else None


def measure(objects: Objects, runs: list[Link], datasets: list[Link]) -> Stats:
    """Measure a store, given what its runs and datasets lead to."""
    sizes: dict[ObjectId, int] = {}
    links: dict[ObjectId, tuple[Link, ...]] = {}
    distinct: dict[bytes, int] = {}

    def look(link: Link) -> None:
        if link.kind is Kind.RECORD:
            _, content = objects.load(link, Kind.RECORD)
            sizes[link], links[link] = len(content), tuple(decode_record(content).links.values())
            distinct[link.digest] = len(content)
        else:
            parts = objects.parts_of(link)
            sizes[link], links[link] = sum(size for _, size in parts), ()
            distinct.update(parts)

    logical = 0
    for start in [*runs, *datasets]:
        waiting, seen = [start], set[ObjectId]()
        while waiting:
            link = waiting.pop()
            if link in seen:
                continue
            seen.add(link)
            if link not in sizes:
                look(link)
            logical += sizes[link]
            waiting.extend(links[link])
    return Stats(
        objects=sum(1 for _ in objects.listing()),
        runs=len(runs),
        datasets=len(datasets),
        logical_bytes=logical,
        content_bytes=sum(distinct.values()),
        stored_bytes=objects.stored_bytes(),
    )
