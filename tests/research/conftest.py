"""A workspace to experiment in, and short words for what a test does there."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest

from research import workspace
from research.context import Context, create_experiment_context
from research.errors import RunFailed
from research.experiments import recipe, runs
from research.experiments import run as runner
from research.experiments.recipe import Request
from research.experiments.run import Performed
from research.experiments.runs import RunManifest
from rosdb import Link, ObjectId


@dataclass(frozen=True)
class Bench:
    """A workspace and what a test does in it, in few words."""

    context: Context

    @property
    def folder(self) -> Path:
        return self.context.workspace

    @property
    def store(self) -> Any:
        return self.context.store

    def write(self, name: str, text: str) -> Path:
        """Write a file beside the experiments."""
        path = self.context.experiments_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), "utf-8")
        return path

    def experiment(self, name: str, run: str = "return {}", head: str = "", spec: str = "") -> None:
        """Write an experiment: the body of its ``run``, what stands above, more of its spec."""
        self.write(
            f"{name}.py",
            f"from research import ExperimentSpec\n{dedent(head)}\n"
            f"DEFAULT_SPEC = ExperimentSpec(experiment_id={name!r}, {spec})\n\n\n"
            f"def run(spec, output_dir):\n{indent(dedent(run).strip(), '    ')}\n",
        )

    def run(
        self,
        name: str,
        *,
        force: bool = False,
        called: str | None = None,
        dataset: str | None = None,
        seed: int | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> Performed:
        request = self.request(name, parameters, dataset, seed)
        return runner.run(self.context, request, name=called, force=force)

    def failure(self, name: str, **options: Any) -> RunManifest:
        """Run an experiment that fails; return its run."""
        with pytest.raises(RunFailed) as caught:
            self.run(name, **options)
        return self.manifest(self.store.resolve(caught.value.run_id))

    def manifest(self, run_id: ObjectId) -> RunManifest:
        return runs.read_run(self.store, run_id)

    def fingerprint(self, name: str, **options: Any) -> Link:
        """Ask for the recipe of a run, and run nothing."""
        request = self.request(name, **options)
        with self.store.transaction("look") as tx:
            found = recipe.build(self.context, tx, request)
            tx.abandon()
        return found.recipe

    @staticmethod
    def request(
        name: str,
        parameters: dict[str, Any] | None = None,
        dataset: str | None = None,
        seed: int | None = None,
    ) -> Request:
        overrides = list((parameters or {}).items())
        return Request(experiment_id=name, overrides=overrides, dataset=dataset, seed=seed)

    def statuses(self, run_id: ObjectId) -> list[str]:
        """List the statuses of a run in the order in which the journal has them."""
        found = []
        for move in self.store.journal(f"runs/{run_id}"):
            record = self.store.get_record(move.new)
            found.append(record.fields["status"] if record.schema == "status/v1" else "pending")
        return found


def make_bench(folder: Path) -> Bench:
    workspace.init(folder, bare=False)
    return Bench(context=create_experiment_context(folder))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Give a new workspace."""
    made = make_bench(tmp_path / "workspace")
    yield made
    made.store.close()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Give a workspace that nobody changes, with one run of each of three experiments.

    They are called ``sma``, ``gamma`` and ``momentum``; ``broken`` failed.
    """
    made = make_bench(tmp_path_factory.mktemp("finished") / "workspace")
    made.experiment("broken", "raise ValueError('it is broken')")
    made.run("sma_crossover", called="sma")
    made.run("gamma_signal_sanity", called="gamma")
    made.run("momentum_example", called="momentum")
    with pytest.raises(RunFailed):
        made.run("broken", called="broken")
    return made


@pytest.fixture
def copied(finished: Bench, tmp_path: Path) -> Iterator[Bench]:
    """Give a copy of the finished workspace, to be changed and damaged."""
    finished.store.close()
    shutil.copytree(finished.folder, tmp_path / "copied")
    made = Bench(context=create_experiment_context(tmp_path / "copied"))
    yield made
    made.store.close()


@pytest.fixture
def new_bench(tmp_path: Path) -> Callable[[str], Bench]:
    """Give a function that makes a workspace of a name."""
    return lambda name: make_bench(tmp_path / name)


@pytest.fixture(scope="session")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Bench]:
    """Give a function that makes a new workspace: for a test that needs one an example."""
    return lambda: make_bench(tmp_path_factory.mktemp("bench") / "workspace")
