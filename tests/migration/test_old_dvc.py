"""What DVC 1 and 2 left behind, and what nobody should have: made by hand, no DVC is needed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.repositories import Repository

PARTIAL = 12
OUTSIDE = ("/etc/passwd", "../outside", "../../outside", ".git/config", ".dvlite/config.toml", ".")


@pytest.fixture
def old(repository: Repository) -> Repository:
    """A project of dvlite in a repository that DVC 2 has set up."""
    repository.write({".dvc/config": b"", ".dvc/.gitignore": b"/config.local\n/tmp\n/cache\n"})
    return repository


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def put(repository: Repository, digest: str, data: bytes, layout: str = "") -> Path:
    """Into the cache, as DVC 2 does it, or in another layout."""
    path = repository.path / ".dvc/cache" / layout / digest[:2] / digest[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def put_folder(repository: Repository, files: Mapping[str, bytes]) -> str:
    """A manifest with its files; its name."""
    items = [{"md5": md5(data), "relpath": name} for name, data in files.items()]
    for data in files.values():
        put(repository, md5(data), data)
    return put_manifest(repository, items)


def put_manifest(repository: Repository, items: Any) -> str:
    data = json.dumps(items, sort_keys=True).encode()
    digest = md5(data) + ".dir"
    put(repository, digest, data)
    return digest


def dvc_file(repository: Repository, name: str, digest: str, more: str = "") -> None:
    path = os.path.basename(name)
    text = f"outs:\n- md5: {digest}\n  size: 1\n  path: {path}\n{more}"
    repository.write({f"{name}.dvc": text.encode()})


def imported(repository: Repository, *words: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """Path -> item."""
    ran = repository.dvlite("import-dvc", "--json", *words, code=code)
    return {one["path"]: one for one in json.loads(ran.out)["items"]}


def refused(repository: Repository, path: str) -> str:
    """The reason why a path was not taken."""
    found = imported(repository, code=PARTIAL)
    assert found[path]["state"] == "not taken", found
    assert not list(repository.path.rglob("*.dvl"))
    return str(found[path]["reason"])


def test_text_that_was_hashed_with_other_line_ends_is_taken(old: Repository) -> None:
    windows, unix = b"one\r\ntwo\r\n", b"one\ntwo\n"
    put(old, md5(unix), windows)
    dvc_file(old, "text", md5(unix))
    binary = b"\0\r\n" * 10
    put(old, md5(binary), binary)
    dvc_file(old, "binary", md5(binary))
    # text at its beginning, and longer than the blocks in which DVC normalised
    long = b"line\r\n" * 400_000
    blocks = [long[at : at + 2**20].replace(b"\r\n", b"\n") for at in range(0, len(long), 2**20)]
    put(old, md5(b"".join(blocks)), long)
    dvc_file(old, "long", md5(b"".join(blocks)))
    assert {one["state"] for one in imported(old).values()} == {"taken"}
    old.dvlite("checkout")
    assert (old.read("text"), old.read("binary"), old.read("long")) == (windows, binary, long)


def test_line_ends_make_no_difference_for_what_dvc_3_wrote(old: Repository) -> None:
    windows, unix = b"one\r\n", b"one\n"
    put(old, md5(unix), windows, "files/md5")
    dvc_file(old, "text", md5(unix), "  hash: md5\n")
    assert "something else" in refused(old, "text")


def test_a_folder_with_names_that_yaml_would_change_is_taken(old: Repository) -> None:
    files = {"no": b"1", "2024-01-01": b"2", "sub/~": b"3", "sub/ü": b"4", "empty": b""}
    dvc_file(old, "no", put_folder(old, files))
    put(old, "12345678901234567890123456789012", b"")
    found = imported(old)
    assert (found["no"]["state"], found["no"]["files"]) == ("taken", 5)
    old.dvlite("checkout")
    for name, data in files.items():
        assert old.read(f"no/{name}") == data


def test_wdir_executables_uncached_and_frozen_imports(old: Repository) -> None:
    put(old, md5(b"#!"), b"#!")
    old.write(
        {
            "sub/run.dvc": f"wdir: ../other\nouts:\n- path: run\n  md5: {md5(b'#!')}\n"
            "  isexec: true\n  persist: true\n".encode()
        }
    )
    put(old, md5(b"theirs"), b"theirs")
    origin = (
        "frozen: true\ndeps:\n- path: data.xml\n  repo:\n    url: https://example.org/r\n"
        "    rev_lock: abc123\n"
    )
    dvc_file(old, "theirs", md5(b"theirs"), origin)
    dvc_file(old, "metric", md5(b"never cached"), "  cache: false\n")
    found = imported(old, code=PARTIAL)
    assert found["other/run"]["state"] == found["theirs"]["state"] == "taken"
    assert found["theirs"]["notes"] == [
        "imported by DVC from https://example.org/r data.xml at abc123; dvlite does not update it"
    ]
    assert "cache: false" in found["metric"]["reason"]
    old.dvlite("checkout")
    assert os.access(old.path / "other/run", os.X_OK)


def test_a_lockfile_of_dvc_1_is_read(old: Repository) -> None:
    put(old, md5(b"out"), b"out")
    lock = f"train:\n  cmd: x\n  outs:\n  - path: out\n    md5: {md5(b'out')}\n"
    old.write({"dvc.lock": lock.encode()})
    assert imported(old)["out"]["state"] == "taken"


# -- hostile repositories --------------------------------------------------------------------------


@pytest.mark.parametrize("path", OUTSIDE)
def test_an_output_outside_the_repository_is_refused(old: Repository, path: str) -> None:
    put(old, md5(b"x"), b"x")
    old.write({"x.dvc": f"outs:\n- md5: {md5(b'x')}\n  path: {path}\n".encode()})
    refused(old, path)


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../../x", "a//x", ".git/hooks/x", "a/.GIT/x", ""]
)
def test_a_manifest_that_leads_out_of_its_folder_is_refused(old: Repository, name: str) -> None:
    dvc_file(old, "data", put_folder(old, {name: b"x"}))
    assert "forbidden name" in refused(old, "data")


@pytest.mark.parametrize(
    "items",
    [
        {"md5": "x"},
        [1],
        [{"relpath": "a"}],
        [{"relpath": "a", "md5": "../../../../etc/passwd"}],
        [{"relpath": "a", "md5": md5(b"")}, {"relpath": "a/b", "md5": md5(b"")}],
        [{"relpath": "a", "md5": md5(b"")}, {"relpath": "a", "md5": md5(b"")}],
        [{"relpath": "/".join(["a"] * 300), "md5": md5(b"")}],
    ],
)
def test_a_manifest_of_a_wrong_form_is_refused(old: Repository, items: Any) -> None:
    put(old, md5(b""), b"")
    dvc_file(old, "data", put_manifest(old, items))
    assert refused(old, "data")


def test_a_huge_manifest_is_not_read(old: Repository) -> None:
    digest = "0" * 32 + ".dir"
    with put(old, digest, b"").open("r+b") as stream:
        stream.truncate(1 << 40)
    dvc_file(old, "data", digest)
    assert "more than dvlite reads" in refused(old, "data")


def test_content_under_a_wrong_name_is_refused(old: Repository) -> None:
    for size in (10, 300_000):
        put(old, md5(b"right" * size), b"wrong" * size)
        dvc_file(old, f"model{size}", md5(b"right" * size))
    assert "something else" in refused(old, "model10")
    assert "something else" in refused(old, "model300000")
    tmp = old.path / ".git/dvlite/cache/tmp"
    assert not tmp.exists() or not list(tmp.iterdir())


def test_a_link_in_the_cache_is_not_followed(old: Repository, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    path = put(old, md5(b"secret"), b"")
    path.unlink()
    path.symlink_to(tmp_path / "secret")
    dvc_file(old, "stolen", md5(b"secret"))
    assert "not in DVC's cache" in refused(old, "stolen")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"a: &a [x, x]\nb: &b [*a, *a]\nouts: [*b, *b]\n", "anchors"),
        (b"outs: " + b"[" * 100_000, "nested too deeply"),
        (b"outs: !!python/object/apply:os.system [id]\n", "tag"),
        (b"outs:\n- path: a\n  path: b\n", "twice"),
        (b"outs: {a: 1}\n", "is no list"),
        (b"outs:\n- md5: ../../x\n  path: a\n", "not a digest"),
        (b"outs:\n- [a]\n", "mapping is missing"),
        (b"just text\n", "mapping is missing"),
        (b"a: b\n---\nc: d\n", "several documents"),
        (b"\xff\xfe\n", "not UTF-8"),
        (b"outs: [\n", "not valid YAML"),
        (b"", "mapping is missing"),
    ],
)
def test_yaml_that_is_no_file_of_dvc_is_refused(old: Repository, text: bytes, says: str) -> None:
    old.write({"bad.dvc": text})
    assert says in refused(old, "bad.dvc")


def test_one_bad_output_does_not_stop_the_others(old: Repository) -> None:
    put(old, md5(b"good"), b"good")
    dvc_file(old, "good", md5(b"good"))
    dvc_file(old, "lost", md5(b"lost"))
    old.write({"bad.dvc": b"["})
    found = imported(old, code=PARTIAL)
    assert {path: one["state"] for path, one in found.items()} == {
        "bad.dvc": "not taken",
        "good": "taken",
        "lost": "not taken",
    }
    put(old, md5(b"lost"), b"lost")
    (old.path / "bad.dvc").unlink()
    assert {path: one["state"] for path, one in imported(old).items()} == {
        "good": "tracked",
        "lost": "taken",
    }


def test_what_dvlite_or_git_has_there_stays(old: Repository) -> None:
    old.add_and_commit({"model": b"mine", "folder/x": b"x"}, "model", "folder")
    put(old, md5(b"model"), b"model")
    dvc_file(old, "model", md5(b"model"))
    dvc_file(old, "inside", md5(b"model"), "wdir: folder\n")
    put(old, md5(b"code"), b"code")
    dvc_file(old, "code.py", md5(b"code"))
    before = old.read("model.dvl")
    found = imported(old, code=PARTIAL)
    assert "other content" in found["model"]["reason"]
    assert "inside folder" in found["folder/inside"]["reason"]
    assert found["code.py"]["state"] == "in git"
    assert old.read("model.dvl") == before


def test_a_mapping_that_was_tampered_with_is_refused(old: Repository) -> None:
    for text in (b"", b"dvlite imported 2\n", b"dvlite imported 1\nmd5:../x file\n"):
        old.write({".dvlite/imported": text})
        assert old.dvlite("import-dvc", "--history", code=9 if b"2" in text else 8).err


def test_nothing_is_written_behind_a_link(old: Repository, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (old.path / "link").symlink_to(tmp_path / "elsewhere")
    put(old, md5(b"x"), b"x")
    dvc_file(old, "x", md5(b"x"), "wdir: link\n")
    assert "behind a symbolic link" in refused(old, "link/x")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_colleague_who_has_only_the_remote_restores_old_commits_and_pushes(
    old: Repository, tmp_path: Path
) -> None:
    put(old, md5(b"one"), b"one")
    dvc_file(old, "model", md5(b"one"))
    old.git("add", "-A")
    first = old.commit("one")
    put(old, md5(b"two"), b"two")
    dvc_file(old, "model", md5(b"two"))
    old.commit("two")
    imported(old, "--history")
    old.commit("imported")
    old.share()
    clone = old.clone("colleague")
    clone.dvlite("pull")
    assert clone.read("model") == b"two"
    clone.dvlite("get", f"{first}:model", "-o", str(tmp_path / "got"))
    assert (tmp_path / "got").read_bytes() == b"one"
    clone.add_and_commit({"new": b"new"}, "new")
    assert "missing" not in clone.dvlite("push").err
    other = old.clone("third")
    other.dvlite("fetch", "--all-commits")
    other.dvlite("reproduce", first, "-o", str(tmp_path / "old"), "-r", "store")
    assert (tmp_path / "old/model").read_bytes() == b"one"


def test_an_import_that_ended_before_git_was_told_goes_on(old: Repository) -> None:
    put(old, md5(b"model"), b"model")
    dvc_file(old, "model", md5(b"model"))
    old.write({"model": b"model"})
    imported(old)
    old.git("reset", "-q")
    (old.path / ".gitignore").unlink()
    (old.path / ".git/dvlite/top/base").unlink()
    assert imported(old)["model"]["state"] == "tracked"
    assert "model.dvl" in old.git("diff", "--cached", "--name-only")
    assert json.loads(old.dvlite("status", "--json").out)["clean"]
