"""An outpost: the far end of runs on other machines, in an actor of Ray's.

Owns a store and an executor of its machine's, both its own and gone with it. What its runs have
left it sends back as a parcel. It moves no ref of ours, so it may die at any time: ``ray_executor``
has what it had done again.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from research.context import Context
from research.errors import BadInput
from research.experiments import environment, parcel, sandbox
from research.experiments.answer import Answer
from research.experiments.conditions import Conditions
from research.experiments.executor import Ended, Job
from research.experiments.local import open_local
from research.experiments.run import UNKEEPABLE
from rosdb import Link, Record, Store, Transaction, remove_folder

_PREFIX: Final = "ros-outpost-"
_LINES_MAX: Final = 8
_SHOW_PATH: Final = r"import sys; print(*sys.path, sep='\0')"
_SETTINGS: Final = """\
# It does not outlive its process.
durability = "none"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What an outpost is to do: runs of one code and one input."""

    recipe: Record
    """One of them."""

    parts: Sequence[Any]
    """Where Ray keeps the parts of the parcel that has the code and the input."""

    conditions: Conditions
    is_pure: bool
    count: int
    software: str
    """The version of Research OS that asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """How a run ended, as it travels.

    Units:  seconds of wall time.
    """

    number: int
    answer: Answer
    """It collects nothing: what the run has left is in a parcel."""

    seconds: float
    artifacts: Link | None
    fault: Exception | None
    """Why there are no artifacts, where what the run has left is none."""


class Outpost:
    """Does runs on its machine, one after the other."""

    def __init__(self, orders: Orders) -> None:
        """Do nothing yet: what is raised here would reach nobody as it is."""
        self._orders = orders
        self._kept = contextlib.ExitStack()

    def prepare(self) -> int:
        """Fetch code and input, and open the executor; return the process.

        Raises: BadInput if this machine is not what the recipes say, or has not the walls.
        """
        orders = self._orders
        # Ray's processes have SIGINT blocked, and a run would have it blocked too.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _search_as_a_child()
        self._folder = self._kept.enter_context(_private_folder())
        store = _scratch_store(self._folder / "input")
        context = Context(workspace=self._folder, store=store, agent="")
        _check_machine(context, orders)
        with store.transaction("code and input") as tx:
            self._known = parcel.unpack(tx, _fetched(orders.parts), self._folder)
        opened = open_local(
            context,
            orders.recipe,
            orders.conditions,
            is_pure=orders.is_pure,
            count=orders.count,
            jobs=1,
        )
        self._executor = self._kept.enter_context(opened)
        return os.getpid()

    def perform(self, jobs: Sequence[Job]) -> tuple[list[Came], list[bytes]]:
        """Do runs; return how each ended, and one parcel of what they have left."""
        self._executor.submit(jobs)
        came: list[Came] = []
        # A store for each batch: what has been sent is not kept.
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            store = _scratch_store(Path(name) / "output")
            with contextlib.closing(store):
                with store.transaction("artifacts", reads_all=True) as tx:
                    while len(came) < len(jobs):
                        for ended in self._executor.wait(None):
                            came.append(_collected(ended, tx))
                            ended.release()
                roots = [each.artifacts for each in came if each.artifacts is not None]
                return came, list(parcel.pack(store, roots, self._known.__contains__))

    def leave(self) -> None:
        """End what is left, and remove what it took."""
        self._kept.close()


def _check_machine(context: Context, orders: Orders) -> None:
    """See that this machine answers what the recipes ask.

    Raises: BadInput naming what differs.
    """
    recorded = orders.recipe.fields["environment"]
    lines = environment.differences(recorded, environment.describe_again(recorded))
    if context.software != orders.software:
        lines.append(f"research-os: {orders.software} then, {context.software} now")
    if lines:
        more = f"; and {len(lines) - _LINES_MAX} more" if len(lines) > _LINES_MAX else ""
        raise BadInput(
            f"--executor ray: the environment of {context.host} is not the one that the runs are"
            f" asked for (then: here, now: there): {'; '.join(lines[:_LINES_MAX])}{more}"
        )
    sandbox.check(orders.conditions.sandbox)


def _fetched(parts: Sequence[Any]) -> Iterator[bytes]:
    """Fetch the parts of a parcel, one after the other: all of them may be more than memory."""
    import ray

    for part in parts:
        yield ray.get(part)


def _scratch_store(path: Path) -> Store:
    store = Store.init(path)
    (path / "config.toml").write_text(_SETTINGS, "utf-8")
    return store


def _collected(ended: Ended, tx: Transaction) -> Came:
    artifacts, fault = None, None
    if ended.answer.error is None:
        try:
            artifacts = ended.answer.collect(tx)
        # What it is here that makes a run fail, it is there as well.
        except (*UNKEEPABLE, RecursionError) as error:
            fault = error
    return Came(
        number=ended.number,
        answer=replace(ended.answer, collect=collect_nothing),
        seconds=ended.seconds,
        artifacts=artifacts,
        fault=fault,
    )


def collect_nothing(tx: Transaction) -> Link:
    """Stand where there is nothing to collect: on the way, or of a run that left nothing."""
    raise AssertionError("nothing lies here")


def _search_as_a_child() -> None:
    """Search for modules where a child does, so that the environment is described as it has it.

    Ray puts the caller's folder first, and packages of its own, which it gets back last.
    """
    script = [sys.executable, "-P", "-s", "-B", "-c", _SHOW_PATH]
    variables = dict(environment.VARIABLES)
    done = subprocess.run(script, env=variables, capture_output=True, text=True, check=True)
    rays = [entry for entry in sys.path if Path(entry).name == "thirdparty_files"]
    sys.path[:] = done.stdout.removesuffix("\n").split("\0") + rays


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """Give a folder of this machine, gone at the end; what the dead have left goes on the way."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            _lock(left, held)
            remove_folder(left)
    with contextlib.ExitStack() as held:
        # Locked under a name that nobody sweeps: several outposts start at once.
        unlocked = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}")).resolve()
        _lock(unlocked, held)
        folder = unlocked.rename(unlocked.with_name(unlocked.name.removeprefix(".")))
        held.callback(remove_folder, folder)
        yield folder


def _lock(folder: Path, held: contextlib.ExitStack) -> None:
    """Take the lock of a folder, which ends with the process, however that ends.

    Raises: OSError if another process has it, or the folder is another user's.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    held.callback(os.close, handle)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
