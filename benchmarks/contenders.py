"""The contenders: our store as a tool among its peers, how each is found, and its folders."""

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.instruments import ROOT, Command, our_environment, seconds_of
from benchmarks.peers import DVC_PROGRAM, Borg, Dvc, Git, Restic
from benchmarks.tool import Place, Tool

_DRIVER: Final = ROOT / "benchmarks" / "ours.py"


class Ours:
    """Our store, by its driver."""

    is_durable = True

    def __init__(self, place: Place) -> None:
        self._place = place

    def version(self) -> str:
        """Say that it is the code beside this file."""
        return "this checkout"

    def create(self) -> None:
        """Make a store."""
        seconds_of(self._command("init"))

    def put(self, name: str) -> list[Command]:
        """Commit a snapshot of it and move its ref."""
        return [self._command("put", name, str(self._place.source / name))]

    def restore(self, name: str) -> list[Command]:
        """Write the newest snapshot."""
        is_file = (self._place.source / name).is_file()
        target = self._place.restored if is_file else self._place.restored / name
        return [self._command("restore", name, str(target))]

    def verify(self) -> list[Command]:
        """Hash every object, walk every link, verify the journal."""
        return [self._command("check")]

    def _command(self, verb: str, *words: str) -> Command:
        return Command(
            words=(sys.executable, str(_DRIVER), verb, str(self._place.repository), *words),
            folder=self._place.home,
            environment=our_environment(self._place.home),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A tool that may be here: how it is found, and how it is made."""

    program: str
    make: Callable[[Place], Tool]
    works_inside: bool = False
    """Whether it wants what it stores in its own folder, to do with as it pleases."""

    @property
    def is_installed(self) -> bool:
        """Whether its program can be started."""
        return shutil.which(self.program) is not None


CONTENDERS: Final[Mapping[str, Contender]] = {
    "ours": Contender(program=sys.executable, make=Ours),
    "restic": Contender(program="restic", make=Restic),
    "borg": Contender(program="borg", make=Borg),
    "git-durable": Contender(program="git", make=partial(Git, is_durable=True)),
    "git": Contender(program="git", make=partial(Git, is_durable=False)),
    "dvc": Contender(program=DVC_PROGRAM, make=Dvc, works_inside=True),
}


def make_place(contender: Contender, folder: Path, source: Path) -> Place:
    """Make a contender's folders below one; those of one that works inside hold each other."""
    inside = contender.works_inside
    source = folder / "work" if inside else source
    place = Place(
        source=source,
        repository=source / ".dvc" if inside else folder / "repository",
        home=folder / "home",
        restored=source / "restored" if inside else folder / "restored",
    )
    for path in (place.source, place.home, place.restored):
        path.mkdir(parents=True, exist_ok=True)
    return place
