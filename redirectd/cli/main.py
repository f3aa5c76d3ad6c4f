"""The `redirectd` command: its subcommands are imported when they are called, so that help is instant.

Errors of the command line have the one style of all errors: where, why, what to do.
"""

from __future__ import annotations

import gc
import importlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from redirectd import __version__
from redirectd.cli.output import drop_output, is_of_output, open_closed, show_any_character
from redirectd.errors import RedirectdError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


_NOT_ONE_OF = re.compile(r"(.*) is not one of (.*)\.?", re.DOTALL)


class CommandGroup(click.Group):
    """A group that shows the whole text of each command, and knows what a misspelt one was meant to be."""

    def command_texts(self) -> dict[str, str]:
        """Name to the first sentence of its help."""
        return {name: (one.help or "").partition("\n\n")[0] for name, one in self.commands.items()}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, nothing of it cut."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, " ".join(text.split())) for name, text in self.command_texts().items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does. Raises UsageError for a command that is not there."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            from redirectd.cli.output import did_you_mean
            from redirectd.sip.text import printable

            what_to_do = f"{did_you_mean(name, self.list_commands(ctx))} see '{ctx.command_path} --help'"
            raise UsageError(f"{ctx.command_path} {printable(name, 60)}", "there is no such command", what_to_do)
        return super().resolve_command(ctx, args)


def as_usage_error(error: click.ClickException) -> RedirectdError:
    """An error of click's own in the style of all others."""
    from redirectd.cli.output import did_you_mean
    from redirectd.sip.text import printable

    context = error.ctx if isinstance(error, click.UsageError) else None
    where = context.command_path if context else "redirectd"
    more = f"see '{where} --help'"
    why = printable(re.sub(r"^Error: ", "", error.format_message()).rstrip("."), 500)
    if isinstance(error, click.NoSuchOption):
        known = [name for one in context.command.get_params(context) for name in one.opts] if context else []
        near = did_you_mean(error.option_name, [name for name in known if name.startswith("-")])
        why = f"there is no such option: {printable(error.option_name, 60)}"
        more = f"{near} {more}" if near.startswith("did") else more
    elif isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter) and error.param:
        name = (
            max(error.param.opts, key=len) if isinstance(error.param, click.Option) else error.param.human_readable_name
        )
        where = f"{where} {name}"
        why = printable(error.message.rstrip("."), 500)
        found = _NOT_ONE_OF.fullmatch(error.message)
        if found and isinstance(error.param.type, click.Choice):
            why = f"there is no such value: {printable(found[1].strip(chr(39)), 60)}"
            more = did_you_mean(found[1].strip("'"), list(map(str, error.param.type.choices)))
    return UsageError(where, f"{why[:1].lower()}{why[1:]}", more)


COMMANDS: dict[str, str] = {
    "init": "Write a commented redirectd.toml for what is found on this host.",
    "check": "Check the whole setup and say how to fix each problem.",
    "demo": "Show the whole job on shipped real logs, in a folder of its own.",
    "ingest": "Read logs once.",
    "explain": "Show what each 301 and 183 in a log was read as, and why not.",
    "run": "Run the service: follow the sources, apply on schedule.",
    "status": "Show what runs, what waits, what is wrong and what to do.",
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
    "events": "Show what happened, from a cursor on.",
    "history": "Show the generations that were installed.",
    "rollback": "Install an earlier generation again.",
    "export": "Write remaps as CSV or JSON.",
    "import": "Read remaps from CSV or JSON.",
    "console": "Run the REST API for review, or make and revoke its tokens.",
    "notify": "Try out who is notified.",
    "db": "Upgrade, show and prune the database.",
    "db-target": "Print or run the SQL for a target's table.",
    "snippet": "Print the lines to paste into Kamailio's or Asterisk's configuration.",
    "help": "Show the help of redirectd or of one of its commands.",
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


class LazyGroup(CommandGroup):
    """A group whose commands stay unimported until one of them is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command's module."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        module = importlib.import_module(f"redirectd.cli.commands.{name}")
        command: click.Command = getattr(module, f"{name}_command")
        return command

    def command_texts(self) -> dict[str, str]:
        """The table, so that help imports nothing."""
        return COMMANDS

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
    type=click.Path(path_type=Path, readable=False),  # reported by what reads it, as all other faults
    help="The configuration file. Default: /etc/redirectd/redirectd.toml, then ./redirectd.toml, then built-in "
    "defaults (SQLite in /var/lib/redirectd, no sources, no targets, nobody trusted).",
)
@click.option("--no-pager", is_flag=True, help="Never show output through $PAGER.")
@click.version_option(__version__, prog_name="redirectd")
@click.pass_context
def cli(ctx: click.Context, config: Path | None, *, no_pager: bool) -> None:
    """Keep SIP routing true to what the network says has moved for good.

    redirectd reads what Kamailio and Asterisk log, collects 301 Moved Permanently answers, lets you review them, and
    regenerates dispatcher and dialplan files. On a terminal, output longer than a screen is shown through $PAGER.
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
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        return _show(as_usage_error(error), args)
    except RedirectdError as error:
        return _show(error, args)
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


def _show(error: RedirectdError, args: Sequence[str] | None) -> int:
    """Shows an error, wrong usage as JSON too where that was asked for; gives its exit code."""
    from redirectd.cli.output import emit_json, error_json, show_error

    given = sys.argv[1:] if args is None else args
    if isinstance(error, UsageError) and "--json" in given:
        emit_json({"error": error_json(error), "exit_code": error.exit_code})
    show_error(error)
    return error.exit_code


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
