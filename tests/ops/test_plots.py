"""`dvlite plots`: what is drawn of which revision, and the files that come out."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

from tests.repositories import Repository

OLD, NEW = b"step,loss\n0,1\n1,0.5\n", b"step,loss\n0,2\n1,0.25\n"
PAGE = "dvlite_plots/index.html"


def columns(repository: Repository, *words: str) -> dict[str, list[str]]:
    """Revision -> the cells of the last column."""
    found = json.loads(repository.dvlite("plots", *words, "--json").out)
    return {
        one["revision"]: one["columns"][-1]["cells"]
        for plot in found["plots"]
        for one in plot["data"]
    }


def lost(repository: Repository, *words: str) -> list[dict[str, Any]]:
    return list(json.loads(repository.dvlite("plots", *words, "--json").out)["lost"])


def two_versions(repository: Repository) -> None:
    """One file in git, one in dvlite, one in a folder of dvlite; two versions of each."""
    for data in (OLD, NEW):
        repository.write({"in_git.csv": data, "cached.csv": data, "runs/a.csv": data})
        repository.dvlite("add", "cached.csv", "runs")
        repository.git("add", "in_git.csv")
        repository.commit()


def forget_cache(repository: Repository) -> None:
    shutil.rmtree(repository.path / ".git" / "dvlite" / "cache")


def test_content_comes_from_git_from_the_cache_and_from_tracked_folders(
    repository: Repository,
) -> None:
    two_versions(repository)
    for path in ("in_git.csv", "cached.csv", "runs/a.csv", "runs"):
        found = columns(repository, "show", path, "--rev", "HEAD~1", "--rev", "HEAD")
        assert found == {"HEAD~1": ["1", "0.5"], "HEAD": ["2", "0.25"]}


def test_diff_compares_head_with_the_workspace(repository: Repository) -> None:
    two_versions(repository)
    repository.write({"in_git.csv": OLD})
    assert list(columns(repository, "diff", "--targets", "in_git.csv")) == ["HEAD", "workspace"]
    three = columns(repository, "diff", "HEAD~1", "HEAD", "workspace", "--targets", "in_git.csv")
    assert list(three.values()) == [["1", "0.5"], ["2", "0.25"], ["1", "0.5"]]


def test_what_is_missing_is_named_and_the_rest_is_drawn(repository: Repository) -> None:
    two_versions(repository)
    repository.share()
    forget_cache(repository)
    ran = repository.dvlite("plots", "show", "cached.csv", "in_git.csv", "--rev", "HEAD")
    assert "HEAD: cached.csv: not in the cache (--fetch, or dvlite fetch --rev HEAD)" in ran.err
    page = repository.read(PAGE).decode()
    assert "not in the cache" in page
    assert page.count('class="line') == 1
    assert columns(repository, "show", "cached.csv", "--rev", "HEAD~1", "--fetch")
    assert not lost(repository, "show", "cached.csv", "--rev", "HEAD~1")


def test_a_file_that_is_only_a_pointer_here_says_how_to_have_it(repository: Repository) -> None:
    two_versions(repository)
    (repository.path / "cached.csv").unlink()
    (why,) = lost(repository, "show", "cached.csv")
    assert why["reason"] == "not in the workspace (dvlite checkout)"


def test_links_out_of_the_project_show_nothing(repository: Repository) -> None:
    secret = repository.path.parent / "secret.csv"
    secret.write_text("user,password\na,hunter2\n")
    (repository.path / "link.csv").symlink_to(secret)
    repository.git("add", "link.csv")
    repository.commit()
    (why,) = lost(repository, "show", "link.csv")
    assert "leads out of the project" in why["reason"]
    repository.dvlite("plots", "show", "link.csv")
    repository.dvlite("plots", "show", "link.csv", "--rev", "HEAD", "-o", "at_head.html")
    assert b"hunter2" not in repository.read(PAGE) + repository.read("at_head.html")


def test_the_page_svg_and_png_are_written_and_git_sees_none_of_them(
    repository: Repository,
) -> None:
    repository.write({"in_git.csv": OLD})
    repository.git("add", "in_git.csv")
    repository.commit()
    ran = repository.dvlite(
        "-C", ".", "plots", "show", "in_git.csv", "--svg", "--png", "-x", "step"
    )
    assert "1 plot" in ran.out
    assert repository.read(PAGE).startswith(b"<!doctype html>")
    assert b"<svg" in repository.read("dvlite_plots/in_git.csv.svg")
    assert repository.read("dvlite_plots/in_git.csv.png").startswith(b"\x89PNG")
    assert repository.git("status", "--porcelain") == ""


def test_templates_of_plots_and_pages(repository: Repository) -> None:
    repository.write(
        {
            "in_git.csv": OLD,
            ".dvlite/plots/mine.yaml": b'kind: scatter\ntitle: "{y} of {path}"\n',
            "page.html": b"<h1>Ours</h1>{{plots}}",
        }
    )
    words = ("plots", "show", "in_git.csv", "-t", "mine", "-y", "loss", "-o", "out.html")
    repository.dvlite(*words, "--page-template", "page.html")
    page = repository.read("out.html").decode()
    assert "<h1>Ours</h1>" in page
    assert "loss of in_git.csv" in page
    assert 'data-kind="point"' in page


def test_what_cannot_be_is_refused_with_a_way_out(repository: Repository) -> None:
    repository.write({"in_git.csv": OLD, "bad.yaml": b"- 1\n", "folder/x": b""})
    (repository.path / "away.html").symlink_to(repository.path.parent / "elsewhere.html")
    for words, code, says in (
        (["code.py"], 4, "code.py cannot be drawn"),
        ([], 4, "declares no plots"),
        (["../in_git.csv"], 4, "outside the project"),
        (["in_git.csv", "-t", "nope"], 4, "no plot template nope"),
        (["in_git.csv", "-t", "./bad.yaml"], 8, "is no template"),
        (["in_git.csv", "-o", "folder"], 4, "is a folder"),
        (["in_git.csv", "-o", "none/x.html"], 4, "there is no folder"),
        (["in_git.csv", "-o", "away.html"], 5, "is a symbolic link"),
        (["in_git.csv", "--page-template", "in_git.csv"], 8, "has no {{plots}}"),
        (["in_git.csv", "--rev", "nope"], 6, "git knows no commit nope"),
    ):
        ran = repository.dvlite("plots", "show", *words, code=code)
        assert says in ran.err
        assert re.search(r"^hint: |outside", ran.err, re.M)
