"""`dvlite stage`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, json_option
from dvlite.cli.output import emit_json, name, note, say, table

if TYPE_CHECKING:
    from dvlite.pipeline.stage import Stage


@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Define and list the stages of the pipeline.

    A stage is a command with what it reads and makes; dvlite.yaml holds them all
    (docs/pipelines.md). dvlite run runs those whose inputs changed.

    \b
    Examples:
      dvlite stage add train -d train.py -d data -p lr -o model.pt python train.py
      dvlite stage list
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_command)


@command.command("add", context_settings={"ignore_unknown_options": True})
@click.argument("stage_name", metavar="NAME")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND...")
@click.option("-d", "--deps", multiple=True, metavar="PATH", help="It reads this; repeatable.")
@click.option("-p", "--params", multiple=True, metavar="[FILE:]KEY,...", help="Parameters.")
@click.option("-o", "--outs", multiple=True, metavar="PATH", help="It makes this; repeatable.")
@click.option("-O", "--outs-no-cache", multiple=True, metavar="PATH", help="The same, kept by git.")
@click.option("--outs-persist", multiple=True, metavar="PATH", help="Not removed before a run.")
@click.option("-m", "--metrics", multiple=True, metavar="PATH", help="A file of metrics.")
@click.option("-M", "--metrics-no-cache", multiple=True, metavar="PATH", help="The same, in git.")
@click.option("--plots", multiple=True, metavar="PATH", help="Points to draw, or an image.")
@click.option("--plots-no-cache", multiple=True, metavar="PATH", help="The same, kept by git.")
@click.option("-w", "--wdir", metavar="DIR", help="Run it there; paths count from there.")
@click.option("--desc", metavar="TEXT", help="What it is for.")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="An environment variable.")
@click.option("--always-changed", is_flag=True, help="Run it every time.")
@click.option("-f", "--force", is_flag=True, help="Replace the stage of that name.")
@common
def add_command(
    common: Common, stage_name: str, words: tuple[str, ...], wdir: str | None, **options: Any
) -> None:
    """Add a stage to dvlite.yaml.

    COMMAND is what a shell gets; quote it as a whole if it has pipes or variables. The other lines
    and comments of dvlite.yaml stay.

    \b
    Examples:
      dvlite stage add prepare -d raw -o clean python prepare.py raw clean
      dvlite stage add train -d clean -p lr,net.depth -o model.pt -M score.json "python train.py"
    """
    import shlex

    from dvlite.ops.stageadd import NewStage, add_stage

    line = words[0] if len(words) == 1 else shlex.join(words)
    new = NewStage(
        stage_name,
        (line,) if line.strip() else (),
        options["deps"],
        options["params"],
        tuple(_outs(options)),
        wdir or "",
        options["desc"] or "",
        tuple(_env(options["env"])),
        options["always_changed"],
        options["force"],
    )
    add_stage(common.project(), new)
    note(f"added the stage {name(stage_name)} to dvlite.yaml, which is staged", quiet=common.quiet)
    note("next: dvlite run", quiet=common.quiet)


def _outs(options: dict[str, Any]) -> Any:
    from dvlite.ops.stageadd import NewOut
    from dvlite.pipeline.stage import OutKind

    for option, kind in (("outs", OutKind.DATA), ("metrics", OutKind.METRIC)):
        yield from (NewOut(path, kind) for path in options[option])
        yield from (NewOut(path, kind, cached=False) for path in options[f"{option}_no_cache"])
    yield from (NewOut(path, persist=True) for path in options["outs_persist"])
    yield from (NewOut(path, OutKind.PLOT) for path in options["plots"])
    yield from (NewOut(path, OutKind.PLOT, cached=False) for path in options["plots_no_cache"])


def _env(given: tuple[str, ...]) -> Any:
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--env")
        yield key, value


@command.command("list")
@click.argument("targets", nargs=-1, metavar="[STAGE]...")
@click.option("--rev", "revision", metavar="REV", help="The pipeline at a revision.")
@click.option("--names", is_flag=True, help="Only names, one a line, for scripts.")
@json_option
@common
def list_command(
    common: Common,
    targets: tuple[str, ...] = (),
    revision: str | None = None,
    names: bool = False,
    as_json: bool = False,
) -> None:
    """List the stages and what they make.

    \b
    Examples:
      dvlite stage list
      dvlite stage list train --json
    """
    from dvlite.ops.pipelines import stages

    found = stages(common.project(), targets, revision or "").stages
    if as_json:
        emit_json([_to_json(stage) for stage in found.values()])
    elif names:
        for one in found:
            say(name(one))
    else:
        table([(name(one), _about(stage)) for one, stage in found.items()])
        if not found:
            note("there are no stages: dvlite stage add", quiet=common.quiet)


def _about(stage: Stage) -> str:
    made = ", ".join(name(out.path) for out in stage.outs)
    about = name(stage.desc) if stage.desc else f"makes {made}" if made else "makes nothing"
    return about + (" (frozen)" if stage.frozen else "")


def _to_json(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "commands": list(stage.commands),
        "wdir": stage.wdir,
        "desc": stage.desc,
        "deps": [{"path": dep.path, "revision": dep.revision or None} for dep in stage.deps],
        "params": [{"file": param.file, "keys": list(param.keys)} for param in stage.params],
        "outs": [
            {
                "path": out.path,
                "kind": out.kind.value,
                "cached": out.cached,
                "persist": out.persist,
            }
            for out in stage.outs
        ],
        "env": dict(stage.env),
        "frozen": stage.frozen,
        "always_changed": stage.always_changed,
        "line": stage.line,
    }


@command.command("schema")
@common
def schema_command(common: Common) -> None:
    """Print the JSON Schema of dvlite.yaml, for editors.

    \b
    Examples:
      dvlite stage schema > .vscode/dvlite.schema.json
    """
    from dvlite.pipeline.schema import schema

    emit_json(schema())
