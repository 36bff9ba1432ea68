"""The command ``ros``: which commands there are, and the way from an error to a status.

Owns the list of commands. Each has a file of its own name with one function of that name; only
the one that is called is imported, for start-up is what a person feels.
"""

import io
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from cli import exits
from cli.context import arguments, enter
from research.context import software_version

# In the order of a first day's work; the text is what `ros --help` shows.
COMMANDS: Final = {
    "init": "make a workspace with its store",
    "data": "add, list and verify dataset snapshots",
    "experiments": "list the experiments and their parameters",
    "run": "run an experiment, or answer from the store",
    "sweep": "run an experiment at every point of a grid",
    "replay": "run a run again and compare to the bit",
    "log": "browse history",
    "show": "show a run, or print one of its outputs",
    "tag": "give a run a label, or take it away",
    "note": "say something of a run",
    "name": "give a run another name",
    "diff": "show what differs between two runs",
    "checkout": "write a run's spec, metrics and artifacts to files",
    "trials": "count what was tried, and say what the best is worth",
    "promote": "write a disabled config for a run",
    "promotions": "list what was promoted, strategy by strategy",
    "refs": "list what each name points to",
    "journal": "list every move of every name",
    "fsck": "verify every object, link and move",
    "gc": "pack, and remove what no ref reaches",
    "stats": "count objects, runs and bytes",
    "doctor": "say what this machine can do",
}
_HELP: Final = (
    "git for quantitative research: every input and output of every run is an immutable object,"
    " so a run can be found, compared and run again to the bit."
)


class _LazyGroup(TyperGroup):
    """Imports a command's file when the command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"cli.{cmd_name}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(
    cls=_LazyGroup,
    name="ros",
    help=_HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"ros {software_version()}")
        raise typer.Exit


@app.callback()
def ros(
    folder: Annotated[
        Path | None,
        typer.Option("-C", metavar="DIR", help="run as if started in DIR"),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Take the options that stand before the command."""
    if folder is not None:
        enter(folder)


def main() -> None:
    """Run the command line; the only way out is a status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Asked to end, we end in order; under nohup we go on.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal cannot show is no reason to fail.
        sys.stdout.reconfigure(errors="replace")
    try:
        status = _run()
    except BaseException as error:
        status = exits.report(error)
        if isinstance(error, BrokenPipeError):
            # Whoever read us has gone; a second complaint at shutdown helps nobody.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def _run() -> int:
    """Run the command that the arguments name; return the status.

    Not by way of typer's own ``main``, which has another word for an interrupt and a closed pipe.
    """
    command = typer.main.get_command(app)
    status = 0
    try:
        with command.make_context("ros", arguments()) as called:
            command.invoke(called)
    except typer.Exit as leaving:
        status = leaving.exit_code
    sys.stdout.flush()
    return status
