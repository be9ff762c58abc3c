"""The command `vmlab`: what commands there are, and the one place where errors become messages and exit statuses."""

import contextlib
import os
import resource
import sys
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import typer.main

from vmlab import __version__
from vmlab.cli import shells
from vmlab.cli.commands import Commands, Group
from vmlab.errors import HostError, Interrupted, VmlabError
from vmlab.runtime.interrupt import be_interrupted

if TYPE_CHECKING:
    from collections.abc import Mapping

_INTERRUPTED = 130
_GO_ON = ("up", "down", "rebuild", "fs")
_DESCRIPTORS = 1 << 16

_STATUSES = """\b
Exit statuses:
  0    done
  1    vmlab itself failed: a bug, with its traceback in the log
  2    usage
  3    the topology file is wrong
  4    the host cannot: a precondition is missing, it does not fit
  5    libvirt refused
  6    a guest did not follow, or not in time
  7    a workload could not run, or its output was not understood
  8    it ran, and what was tested failed or missed its reference
  9    busy: another vmlab holds the bed
  10   plan --detailed-exitcode: changes are pending
  130  interrupted; the next `up` or `down` goes on from there
`exec` and `ssh` end with the command's own status (`exec`: the worst).

\b
Options can be given as VMLAB_OPTION in the environment, too (VMLAB_ACCEL=tcg): vmlab help environment.
"""

_SECTIONS: "Mapping[str, Mapping[str, str]]" = {
    "Topology files": {
        "validate": "files.validate",
        "schema": "files.schema",
        "graph": "files.graph",
        "plan": "files.plan",
    },
    "Beds": {
        "up": "beds.up",
        "down": "beds.down",
        "rebuild": "beds.rebuild",
        "snapshot": "snapshots.app",
        "list": "beds.list_",
        "status": "beds.status",
        "export": "export.export",
    },
    "Nodes": {
        "ssh": "nodes.ssh",
        "exec": "nodes.exec_",
        "cp": "nodes.cp",
        "console": "nodes.console",
        "gdb": "nodes.gdb",
        "power": "nodes.power",
    },
    "What goes wrong": {"collect": "collecting.collect", "fault": "faults.app"},
    "Lustre": {"lnet": "lnet.app", "fs": "filesystems.app"},
    "Measuring": {
        "run": "measuring.run",
        "workloads": "measuring.workloads",
        "results": "results.results",
        "nightly": "nightly.nightly",
        "submit": "submit.submit",
        "expected": "expected.app",
    },
    "This host": {
        "gc": "hosts.gc",
        "completion": "shells.completion",
        "help": "helps.help_",
        "image": "images.app",
        "warm": "warm.app",
        "host": "hosts.app",
        "sriov": "sriov.app",
    },
}


class Root(Group):
    """Commands by topic in the help, loaded when they are asked for; errors of the tree as messages."""

    def __init__(self, *, commands: Any, **settings: Any) -> None:
        lazy: Any = Commands(_SECTIONS.values())  # Typer asks for a dict, and any mapping will do
        super().__init__(commands=commands or lazy, **settings)

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all, in the order of the help."""
        del ctx
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands into the help."""
        del ctx
        width = max(map(len, self.commands))
        for section, members in _SECTIONS.items():
            limit = formatter.width - 6 - width
            rows = [(name.ljust(width), self.commands[name].get_short_help_str(limit)) for name in members]
            with formatter.section(section):
                formatter.write_dl(rows)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except VmlabError as error:
            from vmlab.report.errors import tell

            tell(error, sys.stderr)
            raise typer.Exit(error.status) from error
        except (KeyboardInterrupt, typer.Abort) as error:
            from vmlab.report.errors import tell_interrupted

            changing = ctx.invoked_subcommand in _GO_ON
            goes_on = "the next `vmlab up` or `vmlab down` goes on from here" if changing else ""
            tell_interrupted(error.message if isinstance(error, Interrupted) else goes_on, sys.stderr)
            raise typer.Exit(_INTERRUPTED) from error


app = typer.Typer(
    name="vmlab",
    cls=Root,
    no_args_is_help=True,
    add_completion=False,  # `vmlab completion` does it; Typer's options for it would slow every command down
    # Rich takes longer to print the help than all else together.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=_STATUSES,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vmlab {__version__}")
        raise typer.Exit


@app.callback()
def vmlab(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Test beds for the Lustre parallel file system, of KVM guests.

    \b
      vmlab up ha-topology.yaml     bring a bed up
      vmlab run ha rdma             measure on it
      vmlab down ha                 take it down
    """
    from vmlab.runtime.log import tell_warnings

    del version
    _begin_log()
    tell_warnings(_warn)


def _warn(line: str) -> None:
    from vmlab.values.printable import one_line

    typer.echo(f"vmlab: warning: {one_line(line)}", err=True)


@cache
def _begin_log() -> None:
    from vmlab.runtime.log import open_log

    open_log()


def main() -> NoReturn:
    """Run the command line of this process and end it."""
    be_interrupted()
    _have_descriptors()
    os.environ.setdefault("LIBVIRT_DEBUG", "error")  # what its client warns of it raises, too: one line is enough
    try:
        if shells.asked():
            shells.answer(typer.main.get_command(app))
        app(prog_name="vmlab")
    except SystemExit as done:
        status = done.code if isinstance(done.code, int) else 1
    except Exception:  # noqa: BLE001 (whatever it is: the user gets one line, the log the traceback)
        from vmlab.report.errors import tell_bug

        tell_bug(sys.stderr)
        status = 1
    _leave(status)


def _have_descriptors() -> None:
    """As many open files as we may have, within reason: the usual 1024 is for programs that use `select`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _leave(status: int) -> NoReturn:
    """End at once. Threads that still wait for libvirt or a guest are not waited for.

    Nor does Python take apart all that was imported, which is a fifth of what a short command costs.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # whoever read has read enough
    except OSError as error:
        sys.stderr.write(f"vmlab: standard output: {error.strerror}\n")
        status = status or HostError.status
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(status)
