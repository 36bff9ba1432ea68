"""Runs on other machines, by Ray: batches of jobs travel, and what came of them comes back.

Owns who has which batch, and what becomes of it where an outpost is lost: it is handed out anew,
and what is answered twice is heard once. What runs have left comes as a parcel and is put, every
hash computed anew, by whoever records them. Owns the way into a cluster, too.
"""

import contextlib
import functools
import logging
import math
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from research.context import Context
from research.errors import BadInput
from research.experiments import parcel
from research.experiments.answer import Answer
from research.experiments.child_error import ChildError
from research.experiments.conditions import Conditions
from research.experiments.executor import Ended, Executor, Job
from research.experiments.outpost import Came, Orders, Outpost, collect_nothing
from rosdb import Link, Record, Transaction

ANEW_MAX: Final = 3
"""How often a job is handed out anew whose outpost was lost; then it has failed."""

BATCH_RUNS_MAX: Final = 50
_BATCH_SECONDS: Final = 0.5
"""How long a batch is to last: its way there and back is little beside it."""

_TICK_SECONDS: Final = 1.0
_GATHER_SECONDS: Final = 10.0
_LEAVE_SECONDS: Final = 5.0
_TEXT_MAX: Final = 500


@dataclass(slots=True, kw_only=True)
class Hand:
    """One outpost, as seen from here."""

    actor: Any
    process_id: int | None = None
    """The outpost's, on its machine; None until it is ready."""

    batch: Sequence[Job] = ()
    since: float = 0.0


class RayExecutor:
    """Keeps so many outposts, and hands them batches that last about half a second."""

    def __init__(
        self,
        make: Callable[[], Any],
        jobs: int,
        monotonic: Callable[[], float],
        say: Callable[[str], None],
        *,
        is_exact: bool = False,
    ) -> None:
        """``make`` starts the actor of an outpost.

        If it is to be exact, no outpost has a run before it while it does another.
        """
        self.capacity = 2 * jobs
        self.hands: list[Hand] = []
        self._make, self._jobs, self._monotonic, self._say = make, jobs, monotonic, say
        self._size, self._size_max = 1.0, 1 if is_exact else BATCH_RUNS_MAX
        self._is_exact = is_exact
        self._waiting: deque[Job] = deque()
        self._again: deque[Job] = deque()
        # Of each job that has not ended: how often it may still be handed out anew.
        self._left: dict[int, int] = {}
        self._replies: dict[Any, Hand] = {}
        self._stillborn_count = 0

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs; they begin in their order."""
        self._left.update((job.number, ANEW_MAX) for job in jobs)
        self._waiting.extend(jobs)
        self._hand_out()

    def wait(self, seconds: float | None) -> list[Ended]:
        """Return what has ended, once anything has; nothing after so many seconds.

        Raises: BadInput if the machine of an outpost is not what the recipes say.
        """
        until = math.inf if seconds is None else self._monotonic() + seconds
        while True:
            self._hand_out()
            ended = self._take(until - self._monotonic())
            if not self._is_exact:
                self._hand_out()  # nobody waits until what has ended is recorded
            if ended or self._monotonic() >= until:
                return ended

    def withdraw(self) -> list[int]:
        """Give back the jobs that have not begun, and those of which nothing came yet."""
        left = [job.number for job in (*self._again, *self._waiting)]
        self._again.clear()
        self._waiting.clear()
        for number in left:
            del self._left[number]
        return left

    def stop(self) -> None:
        """End what is under way; no more comes of it."""
        import ray

        for jobs in (self._waiting, self._again, self._left, self._replies):
            jobs.clear()
        for hand in self.hands:
            ray.kill(hand.actor)
        self.hands.clear()

    def __enter__(self) -> Self:
        """Start the outposts; wait for the first, and for the others a while.

        Raises: BadInput if none starts, or the machine of one is not what the recipes say.
        """
        try:
            for _ in range(self._jobs):
                self._start()
            until = self._monotonic() + _GATHER_SECONDS
            while any(hand.process_id is None for hand in self.hands):
                self._take(_TICK_SECONDS)
                if self._monotonic() < until:
                    continue
                if any(hand.process_id is not None for hand in self.hands):
                    break  # the others come when the cluster has room for them
                self._say("waiting for the cluster to have room")
                until = math.inf
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End what is left, and have it removed what it took."""
        import ray

        asked = [
            hand.actor.leave.remote()
            for hand in self.hands
            if hand.process_id is not None and not hand.batch
        ]
        if asked:
            ray.wait(asked, num_returns=len(asked), timeout=_LEAVE_SECONDS)
        self.stop()

    def _start(self) -> None:
        hand = Hand(actor=self._make())
        self.hands.append(hand)
        self._replies[hand.actor.prepare.remote()] = hand

    def _hand_out(self) -> None:
        ready = [hand for hand in self.hands if hand.process_id is not None]
        for hand in ready:
            if hand.batch:
                continue
            if self._again:
                # Alone, so that a job that ends every outpost takes no other with it.
                hand.batch = [self._again.popleft()]
            elif self._waiting:
                # Not all to one where others could have some of it.
                fair = math.ceil(len(self._waiting) / len(ready))
                count = max(1, min(int(self._size), fair))
                hand.batch = [self._waiting.popleft() for _ in range(count)]
            else:
                return
            hand.since = self._monotonic()
            self._replies[hand.actor.perform.remote(hand.batch)] = hand

    def _take(self, seconds: float) -> list[Ended]:
        """Take the replies that are there, or that come before so many seconds have passed."""
        import ray

        assert self._replies, "there is nothing to wait for"
        # In short waits: Ray hears Ctrl-C between them.
        patience = max(0.0, min(seconds, _TICK_SECONDS))
        found, _ = ray.wait(list(self._replies), num_returns=1, timeout=patience)
        ended: list[Ended] = []
        for reply in found:
            hand = self._replies.pop(reply)
            try:
                said = ray.get(reply)
            except ray.exceptions.RayTaskError as error:
                raise error.cause or error from None
            except ray.exceptions.RayError as error:
                ended += self._lose(hand, error)
            else:
                ended += self._hear(hand, said)
        return ended

    def _hear(self, hand: Hand, said: Any) -> list[Ended]:
        if hand.process_id is None:
            hand.process_id, self._stillborn_count = said, 0
            return []
        came, parts = said
        took = max(self._monotonic() - hand.since, 1e-3)
        fitting = len(hand.batch) * _BATCH_SECONDS / took
        self._size = max(1.0, min(2 * self._size, fitting, self._size_max))
        self.capacity = 2 * len(self.hands) * int(self._size)
        hand.batch = ()
        sent = parcel.Parcel(parts)
        return [
            _ended(each, sent) for each in came if self._left.pop(each.number, None) is not None
        ]

    def _lose(self, hand: Hand, error: Exception) -> list[Ended]:
        """Have another outpost in the place of one that is lost, and its batch handed out anew.

        Raises: BadInput if one after the other was lost before it was ready.
        """
        import ray

        ray.kill(hand.actor)  # where it is only out of reach
        self.hands.remove(hand)
        if hand.process_id is None:
            self._stillborn_count += 1
            if self._stillborn_count > ANEW_MAX:
                raise BadInput(f"--executor ray: no worker starts: {_one_line(error)}")
        ended = []
        for job in hand.batch:
            left = self._left.get(job.number)
            if left:
                self._left[job.number] = left - 1
                self._again.append(job)
            elif left is not None:
                del self._left[job.number]
                ended.append(_died(job, error))
        self._start()
        return ended


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
    address: str | None = None,
) -> Iterator[Executor]:
    """Open the executor of a cluster, for so many runs of one code and one input.

    The cluster is the one that this process is connected to; else the one at the address, or at
    ``RAY_ADDRESS``; else, and where that is ``local``, one that is made here for the block.
    Raises: BadInput if Ray is not installed, or the cluster cannot be reached, or one of its
            machines is not what the recipe says.
    """
    with _cluster(jobs, address) as ray:
        parts = [ray.put(part) for part in parcel.pack(context.store, recipe.links.values())]
        orders = Orders(
            recipe=recipe,
            parts=parts,
            conditions=conditions,
            is_pure=is_pure,
            count=count,
            software=context.software,
        )
        make = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Outpost)
        room = int(ray.cluster_resources().get("CPU", 1))
        hands = max(1, min(jobs, count, room))
        with RayExecutor(
            lambda: make.remote(orders),
            hands,
            context.monotonic,
            context.say,
            is_exact=is_exact,
        ) as executor:
            yield executor


@contextlib.contextmanager
def _cluster(jobs: int, address: str | None) -> Iterator[Any]:
    """Connect to a cluster, or make one; give Ray.

    Raises: BadInput.
    """
    try:
        import ray
    except ImportError:
        raise BadInput("--executor ray needs ray: pip install 'research-os[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    ended_by = signal.getsignal(signal.SIGTERM)
    with contextlib.ExitStack() as kept:
        kept.enter_context(_quiet(ray))
        kept.callback(ray.shutdown)
        try:
            # Ray has its workers search for modules where we work. That may be a workspace, which
            # has a folder "research" as well.
            with contextlib.chdir("/"), warnings.catch_warnings(action="ignore"):
                _connect(ray, jobs, address)
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, ended_by)  # Ray has put its own in its place
        yield ray


def _connect(ray: Any, jobs: int, address: str | None) -> None:
    """Connect to the cluster at an address, or to one that is made.

    Raises: BadInput.
    """
    # Not to whatever cluster somebody else may have on this machine.
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if where == "local":
        options |= {"num_cpus": jobs, "include_dashboard": False}
        # It would tell its makers of each cluster otherwise.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        ray.init(where, **options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise BadInput(f"--executor ray: no cluster can be reached: {_one_line(error)}") from None


@contextlib.contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Keep Ray from speaking, to stdout too: of workers that died, and of what it is good at."""
    logger, worker = logging.getLogger("ray"), ray._private.worker
    level, told = logger.level, worker.print_worker_logs
    logger.setLevel(logging.ERROR)
    worker.print_worker_logs = lambda *_: None
    try:
        yield
    finally:
        logger.setLevel(level)
        worker.print_worker_logs = told


def _ended(came: Came, sent: parcel.Parcel) -> Ended:
    answer = replace(came.answer, collect=functools.partial(_collect, came, sent))
    return Ended(
        number=came.number, answer=answer, seconds=came.seconds, release=_nothing_to_release
    )


def _collect(came: Came, sent: parcel.Parcel, tx: Transaction) -> Link:
    """Put what a run has left on another machine, as it would have been put there.

    Raises: ObjectCorrupt if it is not what it was announced as; BadTable, BadName.
    """
    if came.fault is not None:
        raise came.fault
    assert came.artifacts is not None
    return sent.put(tx, came.artifacts)


def _died(job: Job, error: Exception) -> Ended:
    message = f"each of {1 + ANEW_MAX} workers of Ray's that had it was lost: {_one_line(error)}"
    answer = Answer(
        collect=collect_nothing,
        metrics=None,
        error=ChildError(kind="Died", message=message, where=""),
        log=b"",
        log_bytes_cut=0,
    )
    return Ended(number=job.number, answer=answer, seconds=0.0, release=_nothing_to_release)


def _nothing_to_release() -> None:
    """Leave it: what travels is in memory."""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_TEXT_MAX]
