"""Scripts that a stage's commands run but that are not among its dependencies.

Owns recognising them. A stage whose code is no dependency does not run again when the code changes:
the most common way in which a pipeline silently goes stale.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator

from dvlite.pipeline.stage import Stage
from dvlite.project import Project

_INTERPRETER = re.compile(
    r"(python|pypy|bash|sh|zsh|dash|Rscript|julia|node|perl|ruby|lua)[0-9.]*\Z"
)
# options of interpreters that take a word
_WITH_WORD = {"-W", "-X", "-e", "-c", "-o"}
_ENDS = {"&&", "||", ";", "|", "&"}


def forgotten_scripts(project: Project, stage: Stage) -> list[str]:
    """Project paths of scripts that exist and neither are dependencies nor lie in one."""
    deps = [dep.path for dep in stage.deps]
    made = [out.path for out in stage.outs]
    found: dict[str, None] = {}
    for command in stage.commands:
        for word in _scripts(command):
            path = os.path.normpath(os.path.join(stage.wdir, word))
            known = any(path == one or path.startswith(one + "/") for one in (*deps, *made))
            inside = not path.startswith("..") and not os.path.isabs(path)
            if inside and not known and os.path.isfile(project.absolute(path)):
                found[path] = None
    return list(found)


def _scripts(command: str) -> Iterator[str]:
    """The words that could be scripts, as seen from the folder of the stage."""
    try:
        lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:  # quotes that do not end: the shell will say so
        return
    at_start = True
    for at, word in enumerate(words):
        if word in _ENDS:
            at_start = True
        elif at_start and not re.match(r"\w+=", word):
            at_start = False
            if _INTERPRETER.match(os.path.basename(word)):
                yield from _script_of(words[at + 1 :])
            elif word.startswith("./"):
                yield word


def _script_of(words: list[str]) -> Iterator[str]:
    """What an interpreter runs: `-m package.module`, or the first word that is no option."""
    rest = iter(words)
    for word in rest:
        if word in _ENDS:
            return
        if word == "-m":
            module = next(rest, "").replace(".", "/")
            yield from (f"{module}.py", f"{module}/__main__.py")
            return
        if word in _WITH_WORD:
            if word in ("-c", "-e"):
                return
            next(rest, "")
        elif not word.startswith("-"):
            yield word
            return
