"""The record of a sweep: which run answers which point.

Owns ``sweep/v1`` (``docs/format.md``), its writing and its reading back, and a point as both show
it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from research.experiments import runs
from research.experiments.runs import RunManifest
from rosdb import Link, ObjectId, Record, Store, Transaction, errors

SCHEMA: Final = "sweep/v1"
SWEEPS: Final = "sweeps/"
_PREFIX_MIN: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptRun:
    """What a sweep keeps of a run: the manifests of a hundred thousand are too much."""

    run_id: Link
    status: str
    metrics: Mapping[str, Any]
    outcome_id: Link | None

    @classmethod
    def of(cls, manifest: RunManifest) -> "SweptRun":
        """Take it from all that is known of the run."""
        return cls(
            run_id=manifest.run_id,
            status=manifest.status,
            metrics=manifest.metrics,
            outcome_id=manifest.outcome_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptPoint:
    """One point, and the run that answers it; None where there is none."""

    overrides: Mapping[str, Any]
    run: SweptRun | None
    is_cached: bool = False
    is_skipped: bool = False
    """The experiment's constraints rule it out."""

    store: Store = field(repr=False, compare=False)

    @property
    def status(self) -> str:
        """Tell what became of it: its run's status, ``skipped``, or ``not_run``."""
        if self.run is not None:
            return self.run.status
        return "skipped" if self.is_skipped else "not_run"

    @property
    def is_failed(self) -> bool:
        """Its run did not complete."""
        return self.run is not None and self.run.status != "completed"

    @property
    def manifest(self) -> RunManifest | None:
        """All of the run, read from the store.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        return None if self.run is None else runs.read_run(self.store, self.run.run_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSweep:
    """A sweep as its record has it, its points in sorted order."""

    record: Link
    experiment: str
    seed: int | None
    has_common_seed: bool
    points: tuple[SweptPoint, ...]


def put_sweep(
    tx: Transaction, fields: Mapping[str, Any], points: Sequence[SweptPoint], store: Store
) -> Link:
    """Put the record of a sweep, under a ref of its own."""
    skipped = [number for number, point in enumerate(points) if point.is_skipped]
    recorded = {
        **fields,
        "points": [dict(point.overrides) for point in points],
        **({"skipped": skipped} if skipped else {}),
    }
    links = {
        f"{number:07}": point.run.run_id
        for number, point in enumerate(points)
        if point.run is not None
    }
    record = tx.put_record(SCHEMA, recorded, links)
    ref = f"{SWEEPS}{record}"
    tx.move_ref(ref, record, expected=store.ref(ref))
    return record


def find_sweep(store: Store, prefix: str) -> ObjectId | None:
    """Return the sweep whose id begins so; None if there is none.

    Raises: IdAmbiguous.
    """
    if len(prefix) < _PREFIX_MIN or not set(prefix) <= set("0123456789abcdef"):
        return None
    found = [each for _, each in store.refs(SWEEPS + prefix)]
    if len(found) > 1:
        raise errors.IdAmbiguous(prefix, [str(each) for each in found])
    return found[0] if found else None


def read_sweep(store: Store, sweep_id: ObjectId) -> RecordedSweep:
    """Read the record of a sweep, and how its runs stand.

    Raises: ObjectMissing, ObjectCorrupt.
    """
    record = store.get_record(sweep_id)
    skipped = set(record.fields.get("skipped", ()))
    return RecordedSweep(
        record=store.typed(sweep_id),
        experiment=record.fields["experiment"],
        seed=record.fields["seed"],
        has_common_seed=record.fields["has_common_seed"],
        points=tuple(
            SweptPoint(
                overrides=overrides,
                run=_run_of(store, record, number),
                is_skipped=number in skipped,
                store=store,
            )
            for number, overrides in enumerate(record.fields["points"])
        ),
    )


def _run_of(store: Store, record: Record, number: int) -> SweptRun | None:
    run_id = record.links.get(f"{number:07}")
    return None if run_id is None else SweptRun.of(runs.read_run(store, run_id, ""))
