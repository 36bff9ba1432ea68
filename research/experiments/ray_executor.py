"""Runs on other machines, by Ray: batches of them travel, and what came of them comes back.

Owns the actors. Each has a store of its own in a temporary folder, into which the code and the
input of the runs are unpacked once, and a local executor that does them as on this machine, walls
and all. It moves no ref of ours: what a run left comes back as a parcel, which is unpacked, hash by
hash, into the transaction that records the run. An actor that dies is replaced, and what it had in
hand is handed out anew.
"""

import contextlib
import dataclasses
import functools
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

from research.context import Context
from research.errors import BadInput
from research.experiments import environment, parcel
from research.experiments.answer import Answer
from research.experiments.child_error import ChildError
from research.experiments.conditions import Conditions
from research.experiments.executor import Ended, Executor, Job
from research.experiments.local import open_local
from rosdb import FOLDER, Link, Record, Store, Transaction, errors

ATTEMPTS_MAX: Final = 3
_BATCH_MAX: Final = 64
_BATCH_SECONDS: Final = 0.5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """What came of a run, as it travels."""

    number: int
    fields: dict[str, Any]
    seconds: float
    artifacts: Link | None
    parcel: bytes


class Worker:
    """The far end: a store and a local executor, in an actor of Ray's."""

    def __init__(
        self, sent: bytes, recipe: Record, conditions: Conditions, is_pure: bool, count: int
    ) -> None:
        self._kept = contextlib.ExitStack()
        folder = Path(self._kept.enter_context(tempfile.TemporaryDirectory(prefix="ros-ray-")))
        self._store = Store.init(folder / FOLDER)
        context = Context(workspace=folder, store=self._store, agent="ray")
        with self._store.transaction("code and input") as tx:
            parcel.unpack(tx, sent)
        self._executor = self._kept.enter_context(
            open_local(context, recipe, conditions, is_pure=is_pure, count=count, jobs=1)
        )

    @staticmethod
    def differences(recorded: dict[str, Any]) -> list[str]:
        """Name what differs between this machine and the environment of the recipes."""
        return environment.differences(recorded, environment.describe_again(recorded))

    def run(self, jobs: list[Job]) -> list[Came]:
        """Do runs; return what came of each."""
        self._executor.submit(jobs)
        found: list[Came] = []
        while len(found) < len(jobs):
            for ended in self._executor.wait(None):
                found.append(self._came(ended))
                ended.release()
        return found

    def _came(self, ended: Ended) -> Came:
        answer, artifacts, packed = ended.answer, None, b""
        if answer.error is None:
            try:
                with self._store.transaction("artifacts", reads_all=True) as tx:
                    artifacts = answer.collect(tx)
                packed = parcel.pack(self._store, [artifacts])
            except (errors.BadName, errors.BadTable, errors.NotCanonical, OSError) as fault:
                told = ChildError(kind=type(fault).__name__, message=str(fault), where="")
                answer = dataclasses.replace(answer, error=told)
        names = [field.name for field in dataclasses.fields(answer) if field.name != "collect"]
        fields = {name: getattr(answer, name) for name in names}
        return Came(
            number=ended.number,
            fields=fields,
            seconds=ended.seconds,
            artifacts=artifacts,
            parcel=packed,
        )


@contextlib.contextmanager
def open_ray(
    context: Context,
    recipe: Record,
    conditions: Conditions,
    *,
    is_pure: bool,
    count: int,
    jobs: int,
    is_exact: bool = False,
) -> Iterator[Executor]:
    """Open the executor of a cluster: the one that ``RAY_ADDRESS`` names, else one made here.

    Raises: BadInput if Ray is not installed, the cluster is not reached, or its machines are not
            what the recipes say.
    """
    try:
        import ray
    except ImportError:
        hint = "pip install 'research-os[ray]'"
        raise BadInput(f"--executor ray: Ray is not installed ({hint})") from None
    is_ours = not ray.is_initialized()
    if is_ours:
        # It would tell its makers of each cluster otherwise.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        try:
            # Not whatever cluster somebody else may have on this machine.
            where = os.environ.get("RAY_ADDRESS", "local")
            ray.init(where, include_dashboard=False, log_to_driver=False, configure_logging=False)
        except Exception as error:
            raise BadInput(f"--executor ray: {' '.join(str(error).split())[:300]}") from None
    try:
        links = [link for name, link in recipe.links.items()]
        sent = ray.put(parcel.pack(context.store, links))
        make = ray.remote(num_cpus=1, max_restarts=0)(Worker)
        executor = RayExecutor(
            lambda: make.remote(sent, recipe, conditions, is_pure, count),
            jobs,
            context.monotonic,
            batch_max=1 if is_exact else _BATCH_MAX,
        )
        with executor:
            executor.check(dict(recipe.fields["environment"]))
            yield executor
    finally:
        if is_ours:
            ray.shutdown()


class RayExecutor:
    """Keeps so many actors, and hands them batches that last about half a second."""

    def __init__(
        self,
        make: Callable[[], Any],
        jobs: int,
        monotonic: Callable[[], float],
        batch_max: int = _BATCH_MAX,
    ) -> None:
        self._batch_max = batch_max
        self._make, self._monotonic = make, monotonic
        self._size = 1
        self._jobs = jobs
        self._waiting: deque[Job] = deque()
        self._attempts: dict[int, int] = {}
        self._at_work: dict[Any, tuple[Any, list[Job], float]] = {}
        self._actors = [make() for _ in range(jobs)]
        self._idle = list(self._actors)

    @property
    def capacity(self) -> int:
        """How many jobs it can have at hand without letting one wait for long."""
        return self._jobs * self._size

    def check(self, recorded: dict[str, Any]) -> None:
        """See that every actor's machine is what the recipes say.

        Raises: BadInput naming what differs.
        """
        import ray

        try:
            asked = [actor.differences.remote(recorded) for actor in self._actors]
            for found in ray.get(asked):
                if found:
                    raise BadInput(f"--executor ray: a machine differs: {'; '.join(found)}")
        except ray.exceptions.RayError as error:
            raise BadInput(f"--executor ray: {' '.join(str(error).split())[:500]}") from None

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs; they begin in their order."""
        self._waiting.extend(jobs)
        self._hand_out()

    def wait(self, seconds: float | None) -> list[Ended]:
        """Return what has ended, once anything has; nothing after so many seconds."""
        import ray

        # Not once something has ended: whoever asks may want nothing more to begin.
        self._hand_out()
        done, _ = ray.wait(list(self._at_work), num_returns=1, timeout=seconds)
        ended: list[Ended] = []
        for asked in done:
            actor, jobs, begun = self._at_work.pop(asked)
            try:
                came = ray.get(asked)
            except ray.exceptions.RayActorError:
                ended += self._replace(actor, jobs)
            else:
                self._idle.append(actor)
                ended += [self._ended(each) for each in came]
                if self._monotonic() - begun < _BATCH_SECONDS:
                    self._size = min(2 * self._size, self._batch_max)
        return ended

    def withdraw(self) -> list[int]:
        """Give back the jobs that have not begun."""
        left = [job.number for job in self._waiting]
        self._waiting.clear()
        return left

    def stop(self) -> None:
        """End what is under way; no more comes of it."""
        import ray

        self._waiting.clear()
        self._at_work.clear()
        for actor in self._actors:
            ray.kill(actor)
        self._actors.clear()
        self._idle.clear()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End what is left."""
        self.stop()

    def _hand_out(self) -> None:
        while self._waiting and self._idle:
            # Not all to one, where others could have some of it.
            size = max(1, min(self._size, -(-len(self._waiting) // len(self._idle))))
            jobs = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
            actor = self._idle.pop()
            self._at_work[actor.run.remote(jobs)] = (actor, jobs, self._monotonic())

    def _replace(self, actor: Any, jobs: list[Job]) -> list[Ended]:
        """Put a new actor in the place of a dead one, and hand out anew what it had."""
        self._actors[self._actors.index(actor)] = new = self._make()
        self._idle.append(new)
        ended = []
        for job in reversed(jobs):
            self._attempts[job.number] = self._attempts.get(job.number, 0) + 1
            if self._attempts[job.number] < ATTEMPTS_MAX:
                self._waiting.appendleft(job)
            else:
                message = f"its worker died, {ATTEMPTS_MAX} times"
                error = ChildError(kind="Died", message=message, where="")
                fields = {"metrics": None, "error": error, "log": b"", "log_bytes_cut": 0}
                lost = Came(
                    number=job.number, fields=fields, seconds=0.0, artifacts=None, parcel=b""
                )
                ended.append(self._ended(lost))
        return ended

    @staticmethod
    def _ended(came: Came) -> Ended:
        answer = Answer(collect=functools.partial(_put, came), **came.fields)
        return Ended(number=came.number, answer=answer, seconds=came.seconds, release=lambda: None)


def _put(came: Came, tx: Transaction) -> Link:
    """Put a run's artifacts.

    Raises: ObjectCorrupt, ObjectMissing if they are not what they are called.
    """
    assert came.artifacts is not None
    parcel.unpack(tx, came.parcel)
    return tx.typed(came.artifacts)
