"""The `redirectd` command: its subcommands are imported when they are called, so that help is instant."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from redirectd import __version__
from redirectd.cli.streams import drop_output, is_of_output, open_closed, show_any_character
from redirectd.errors import RedirectdError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: dict[str, str] = {
    "init": "Write a commented redirectd.toml for what is found on this host.",
    "check": "Find everything that is wrong, all at once, each with its mend.",
    "demo": "Show the whole job on shipped real logs, in a folder of its own.",
    "ingest": "Read logs once.",
    "explain": "Show what each 301 and 183 in a log was read as, and why not.",
    "run": "Run the service: follow the sources, apply on schedule.",
    "status": "Show the service, its sources, what waits and what is installed.",
    "pending": "Show what waits for review.",
    "list": "Show all remaps.",
    "show": "Show remaps with their evidence.",
    "lookup": "Show what routing does with URIs, hop by hop.",
    "simulate": "Show what the plan would have done with the requests of a log.",
    "review": "Decide on one remap after another.",
    "approve": "Approve remaps: the next apply routes them.",
    "reject": "Reject remaps: they stay rejected on new sightings.",
    "revoke": "Take approvals back: the next apply no longer routes them.",
    "reopen": "Put decided remaps back to pending.",
    "plan": "Show what apply would change.",
    "apply": "Write the routing files from the approved remaps, reload and prove them.",
    "history": "Show the generations that were installed.",
    "rollback": "Install an earlier generation again.",
    "export": "Write remaps as CSV or JSON.",
    "import": "Read remaps from CSV or JSON.",
    "db": "Upgrade, show and prune the database.",
    "snippet": "Print the lines to paste into Kamailio's or Asterisk's configuration.",
}
"""Name to one line of help. Each is in `redirectd.cli.commands.NAME`, as `NAME_command`."""

_GC_THRESHOLD = 50_000
"""Objects made before a collection of garbage: tables of remaps make many that stay."""

_GC_START = 200_000
"""The same for the first collection: imports make 120,000 objects, which are not worth looking through."""

EPILOG = """\
Exit codes: 0 done; 1 failed; 2 wrong usage or configuration (and plan --exit-code with changes); 3 refused by a
safety limit or a hold; 4 installed, but not verified: rolled back.
"""


class LazyGroup(click.Group):
    """A group whose commands stay unimported until one of them is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command's module."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"redirectd.cli.commands.{cmd_name}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the table."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[click.shell_completion.CompletionItem]:
        """Names of commands from the table, so that completing imports nothing."""
        items = [
            click.shell_completion.CompletionItem(name, help=text)
            for name, text in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),  # told by what reads it, as all other faults
    help="The configuration file. Default: /etc/redirectd/redirectd.toml, then ./redirectd.toml, then built-in "
    "defaults (SQLite in /var/lib/redirectd, no sources, no targets, nobody trusted).",
)
@click.version_option(__version__, prog_name="redirectd")
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Keep SIP routing true to what the network says has moved for good.

    redirectd reads what Kamailio and Asterisk log, collects 301 Moved Permanently answers, lets you review them, and
    regenerates dispatcher and dialplan files.
    """
    from redirectd.cli.app import App

    ctx.obj = App(config)
    ctx.call_on_close(ctx.obj.close)


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process with the contract's exit code."""
    gc.set_threshold(_GC_START)
    gc.callbacks.append(_started)
    open_closed()
    show_any_character()
    code = run(args)
    gc.freeze()  # or the interpreter looks through all there is once more: a fifth of what `pending` takes
    sys.exit(code)


def _started(_phase: str, _info: dict[str, int]) -> None:
    """Collects garbage more often from the first collection on."""
    gc.callbacks.remove(_started)
    gc.set_threshold(_GC_THRESHOLD)


def run(args: Sequence[str] | None = None) -> int:
    """Runs the command line; every error becomes text on standard error here, and an exit code."""
    try:
        result = cli.main(args=args, prog_name="redirectd", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except RedirectdError as error:
        from redirectd.cli.output import show_error

        show_error(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("redirectd: stopped", err=True)
        return 130
    except BrokenPipeError:
        drop_output()  # the reader of our output (head, less) has gone: not our failure
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort: no traceback for people who didn't ask for one
        _show_unforeseen(error)
        return 1
    return result if isinstance(result, int) else 0


def _show_unforeseen(error: Exception) -> None:
    if not is_of_output(error):
        _show_defect(error)
        return
    from redirectd.cli.output import show_error

    show_error(RedirectdError("output", error.strerror or str(error), "make room, or send it elsewhere"))
    drop_output()


def _show_defect(error: Exception) -> None:
    if os.environ.get("REDIRECTD_DEBUG"):
        import traceback

        traceback.print_exc()
        return
    from redirectd.sip.text import printable

    click.echo(f"redirectd: {type(error).__name__}: {printable(str(error), 500)}", err=True)
    click.echo("  why:        this is a defect in redirectd", err=True)
    click.echo("  what to do: run it again with REDIRECTD_DEBUG=1 and report the traceback", err=True)
