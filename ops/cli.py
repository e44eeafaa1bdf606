"""The command `bridge`. What a command needs is imported when it runs, so that each starts at once."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they would print local variables, secrets among them
)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"bridge {version('bridge')}")
        raise typer.Exit


@app.callback()
def bridge(
    asked: Annotated[
        bool, typer.Option("--version", help="Shows the version.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """A middleware between a bot's users and human agents in Salesforce."""


@app.command()
def serve(
    workers: Annotated[int | None, typer.Option(help="Worker processes, instead of WORKERS.")] = None,
    bind: Annotated[str | None, typer.Option(help="HOST:PORT, instead of HOST and PORT.", metavar="HOST:PORT")] = None,
) -> None:
    """Runs the service from its settings."""
    from bridge.ops.settings_check import settings_or_exit

    environ = {**os.environ, **_overrides(workers, bind)}
    environ.pop("GUNICORN_CMD_ARGS", None)
    settings_or_exit(environ)
    configuration = Path(__file__).resolve().with_name("gunicorn_conf.py")
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", "gunicorn", "-c", str(configuration)], environ)


def _overrides(workers: int | None, bind: str | None) -> dict[str, str]:
    """The options as variables, under both prefixes: so they are checked as any setting, and beat it."""
    from bridge.settings.sources import PREFIXES

    given = {} if workers is None else {"WORKERS": str(workers)}
    given |= {} if bind is None else _host_and_port(bind)
    return {prefix + name: text for prefix in PREFIXES for name, text in given.items()}


def _host_and_port(bind: str) -> dict[str, str]:
    host, colon, port = bind.rpartition(":")
    if not colon or not host:
        raise typer.BadParameter("is not written HOST:PORT, as 0.0.0.0:8080", param_hint="--bind")
    return {"HOST": host.strip("[]"), "PORT": port}


@app.command()
def sandbox(
    serve: Annotated[bool, typer.Option("--serve", help="Stay up, and say how to talk to it.")] = False,
) -> None:
    """Plays a conversation through the whole service, with every remote service simulated."""
    import bridge.ops.patched  # noqa: F401 - before anything opens a socket
    from bridge.ops.demo.sandbox import run

    raise typer.Exit(run(serve=serve))


@app.command()
def simulate(port: Annotated[int, typer.Option(help="Where to listen, on loopback.")] = 8090) -> None:
    """Runs the simulator of every remote service."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "bridge.ops.simulator", "--port", str(port)])


@app.command()
def dump(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of tables.")] = False,
) -> None:
    """Shows the actors of the services that run on this host."""
    from bridge.ops.dump import show, socket_folder

    folder = socket_folder()
    if not show(folder, as_json=as_json):
        typer.echo(f"No service runs on this host: there is no socket in {folder} (OPS_SOCKET_DIR).", err=True)
        raise typer.Exit(1)


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Smaller numbers, in less than two minutes.")] = False,
    json: Annotated[Path | None, typer.Option(help="Where the figures go, instead of ops/bench/.build.")] = None,
    page: Annotated[Path | None, typer.Option(help="Writes the table as Markdown, too.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="webhooks, relay, workers, connects or crowd.")] = None,
) -> None:
    """Measures the whole service on this machine, on loopback alone, and says which goals it reaches."""
    from bridge.ops.bench.report import LAST
    from bridge.ops.bench.run import run

    run(quick=quick, path=json or LAST, only=only or [], page=page)


migrate = typer.Typer(help="Moving from the service that this one replaces.", no_args_is_help=True)
app.add_typer(migrate, name="migrate")


@migrate.command("check")
def check_migration(
    manifest: Annotated[Path, typer.Argument(help="KEY=value lines, or: kubectl get deployment NAME -o json")],
) -> None:
    """Says what will behave differently with the old service's settings; 1 where the service would not start."""
    from bridge.errors import SettingsError
    from bridge.ops.migration.manifest import read_manifest
    from bridge.ops.migration.report import report

    try:
        lines, starts = report(read_manifest(manifest))
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    typer.echo("\n".join(lines))
    raise typer.Exit(0 if starts else 1)


dead = typer.Typer(help="Messages that could not be delivered: look, send again, drop.", no_args_is_help=True)
app.add_typer(dead, name="dead")
Names = Annotated[list[str] | None, typer.Argument(help="The names that `list` shows; none: every letter.")]


@dead.command("list")
def list_dead(
    names: Names = None, texts: Annotated[bool, typer.Option("--texts", help="The texts, too.")] = False
) -> None:
    """Shows dead letters, one on a line, with the reason."""
    from bridge.ops.dead_letters import show

    if not show(names or [], texts=texts):
        typer.echo("There is no dead letter.")


@dead.command("send")
def send_dead(names: Names = None) -> None:
    """Sends them again; one that goes through is forgotten."""
    from bridge.ops.dead_letters import send_again

    raise typer.Exit(1 if send_again(names or []) else 0)


@dead.command("drop")
def drop_dead(names: Annotated[list[str], typer.Argument(help="The names that `list` shows, or `all`.")]) -> None:
    """Forgets them."""
    from bridge.ops.dead_letters import drop

    typer.echo(f"{drop([] if names == ['all'] else names)} dropped")


@app.command()
def settings() -> None:
    """Prints every setting: its name, meaning, default, and whether it is required."""
    from bridge.ops.settings_table import settings_table

    typer.echo(settings_table())


def main() -> None:
    """The entry point."""
    app()


if __name__ == "__main__":
    main()
