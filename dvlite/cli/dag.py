"""`dvlite dag`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, json_option
from dvlite.cli.output import emit_json, name, note, say

if TYPE_CHECKING:
    from dvlite.pipeline.dag import Dag


@click.command()
@click.argument("targets", nargs=-1, metavar="[STAGE]...")
@click.option("--rev", "revision", metavar="REV", help="The pipeline at a revision.")
@click.option("--outs", "files", is_flag=True, help="Also the files between the stages.")
@click.option("--cells", is_flag=True, help="Every cell of a matrix, however many there are.")
@click.option("--mermaid", "form", flag_value="mermaid", help="As Mermaid, for Markdown pages.")
@click.option("--dot", "form", flag_value="dot", help="As DOT, for Graphviz.")
@click.option("--svg", "form", flag_value="svg", help="As an SVG picture.")
@click.option("-o", "--output", metavar="FILE", help="Write to a file, not to the terminal.")
@json_option
@common
def command(
    common: Common,
    targets: tuple[str, ...],
    revision: str | None,
    files: bool,
    cells: bool,
    form: str | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Show the graph of the pipeline's stages.

    STAGE: only these stages or outputs, and all that they need. More than 4 cells of one matrix are
    one box. A file's name tells its form: .svg, .mmd, .dot, else text.

    \b
    Examples:
      dvlite dag
      dvlite dag train --outs
      dvlite dag -o pipeline.svg
      dvlite dag --mermaid >> README.md
    """
    from dvlite.ops.pipelines import DagRequest, dag

    found = dag(common.project(), DagRequest(targets, revision or "", files, cells))
    if as_json:
        emit_json(_to_json(found))
        return
    if output is None:
        say(_drawn(found, form).rstrip("\n"))
        return
    from dvlite.atomic import publish

    endings = {"svg": "svg", "mmd": "mermaid", "mermaid": "mermaid", "dot": "dot", "gv": "dot"}
    chosen = form or endings.get(output.rpartition(".")[2].lower())
    publish(common.resolve(output), _drawn(found, chosen, plain=True).encode(), durable=False)
    note(f"wrote {name(output)}", quiet=common.quiet)


def _drawn(dag: Dag, form: str | None, plain: bool = False) -> str:
    if form == "svg":
        from dvlite.pipeline.dagsvg import draw_svg

        return draw_svg(dag)
    if form in ("mermaid", "dot"):
        from dvlite.pipeline.dag import dot, mermaid

        return mermaid(dag) if form == "mermaid" else dot(dag)
    import sys

    from dvlite.pipeline.dagtext import draw_text

    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    lines = draw_text(dag, ascii_only=not plain and encoding not in ("utf8", "utf16", "utf32"))
    return "\n".join(line if plain else name(line) for line in lines) + "\n"


def _to_json(dag: Dag) -> list[dict[str, Any]]:
    return [
        {
            "name": box.name,
            "kind": "file" if box.is_file else "stage",
            "cells": box.count,
            "needs": [dag.boxes[other].name for other in needed],
        }
        for box, needed in zip(dag.boxes, dag.needs, strict=True)
    ]
