"""`dvlite cache share`: users of a group with one cache, whatever their umasks."""

from __future__ import annotations

import codecs
import grp
import json
import os
import pwd
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dvlite.atomic import SHARED
from dvlite.cli.main import main
from tests.cache.conftest import LARGE, cache_of
from tests.repositories import Repository
from tests.torture.stage import import_everything

USAGE, PATH, CONFLICT, STORAGE = 2, 4, 5, 11
SMALL = {f"data/f{n}": b"%d" % n for n in range(100)}


def modes(folder: Path) -> dict[str, int]:
    return {str(path): stat.S_IMODE(path.lstat().st_mode) for path in (folder, *folder.rglob("*"))}


def test_what_is_there_gets_the_groups_rights_and_objects_stay_read_only(
    full: Repository, tmp_path: Path
) -> None:
    full.dvlite("cache", "move", str(tmp_path / "cache"))
    before = modes(tmp_path / "cache")
    group = grp.getgrgid(os.stat(tmp_path / "cache").st_gid).gr_name
    done = json.loads(full.dvlite("cache", "share", "--dry-run", "--json").out)
    assert done["group"] == group and done["changed"] > 5 and modes(tmp_path / "cache") == before
    full.dvlite("cache", "share")
    for path, mode in modes(tmp_path / "cache").items():
        if os.path.isdir(path):
            assert mode & SHARED == SHARED, path
        elif "/objects/" in path or "/packs/" in path:
            assert mode == 0o444, path
        else:
            assert mode & 0o060 == 0o060, path
    assert json.loads(full.dvlite("cache", "share", "--json").out)["changed"] == 0
    assert json.loads(full.dvlite("cache", "show", "--json").out)["group"] == group


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_what_comes_later_has_them_whatever_the_umask(
    full: Repository, tmp_path: Path, mask: int
) -> None:
    full.dvlite("cache", "move", str(tmp_path / "cache"))
    full.dvlite("cache", "share")
    before = os.umask(mask)
    try:
        full.write({**{f"new/{n}": b"new %d" % n for n in range(100)}, "big": b"big" + LARGE})
        full.dvlite("add", "new", "big")
        full.write({"few/a": b"a"})
        full.dvlite("add", "few")
        full.dvlite("push")
        full.dvlite("gc", "--yes")
    finally:
        os.umask(before)
    for path, mode in modes(tmp_path / "cache").items():
        wanted = SHARED if os.path.isdir(path) else mode >> 3 & 0o070
        assert mode & wanted == wanted, (path, oct(mode))
    # and what is no part of the cache has what the umask says
    assert (full.path / "big.dvl").stat().st_mode & 0o777 == 0o666 & ~mask & 0o644
    assert "ok" in full.dvlite("doctor", code=None).out


def test_a_cache_that_is_not_shared_has_what_the_umask_says(
    full: Repository, tmp_path: Path
) -> None:
    full.dvlite("cache", "move", str(tmp_path / "cache"))
    full.write({"few/a": b"a"})
    before = os.umask(0o077)
    try:
        full.dvlite("add", "few")
    finally:
        os.umask(before)
    packs = (tmp_path / "cache" / "objects").glob("*/*")
    assert any(path.stat().st_mode & 0o777 == 0o400 for path in packs)


def test_one_inside_of_the_repository_and_unknown_groups_are_refused(
    full: Repository, tmp_path: Path
) -> None:
    assert "cache move" in full.dvlite("cache", "share", code=CONFLICT).err
    full.dvlite("cache", "move", str(tmp_path / "cache"))
    assert "groupadd" in full.dvlite("cache", "share", "--group", "no such", code=USAGE).err
    assert not os.stat(cache_of(full).parent).st_mode & stat.S_ISGID


def test_a_folder_that_holds_other_things_is_not_given_to_the_group(
    full: Repository, tmp_path: Path
) -> None:
    private = tmp_path / "disk" / "letters" / "private"
    private.parent.mkdir(parents=True)
    private.write_bytes(b"mine")
    private.chmod(0o600)
    full.dvlite("config", "--local", "cache.dir", str(tmp_path / "disk"))
    full.dvlite("fetch")
    assert "holds other things" in full.dvlite("cache", "share", code=PATH).err
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    full.dvlite("cache", "move", str(tmp_path / "cache"))
    full.dvlite("cache", "share")


def test_folders_above_that_the_group_cannot_enter_are_told(
    full: Repository, tmp_path: Path
) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    full.dvlite("cache", "move", str(tmp_path / "closed" / "cache"))
    assert f"cannot enter {tmp_path / 'closed'}" in full.dvlite("cache", "share").err


def test_doctor_finds_what_lacks_rights(full: Repository, tmp_path: Path) -> None:
    full.dvlite("cache", "move", str(tmp_path / "cache"))
    full.dvlite("cache", "share")
    (tmp_path / "cache" / "objects").chmod(0o700)
    said = full.dvlite("doctor", code=1).out
    assert f"lacks rights in {tmp_path / 'cache' / 'objects'}" in said
    full.dvlite("cache", "share")
    assert "lacks rights" not in full.dvlite("doctor", code=None).out


# -- real users ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the system, with a home and a umask. `dvlite` runs in a process forked from this
    one: the user need not be able to read this checkout, or Python's own files."""

    name: str
    home: Path
    mask: int

    def dvlite(self, *words: str, code: int = 0) -> str:
        return self._fork(lambda: _main(list(words)), code)

    def run(self, *words: str, folder: str = "work") -> str:
        return self._fork(lambda: os.execvp(words[0], words), 0, folder)

    def _fork(self, action: Callable[[], object], code: int, folder: str = "work") -> str:
        with tempfile.TemporaryFile() as said:
            child = os.fork()
            if not child:
                try:
                    self._become(said.fileno(), folder)
                    action()
                finally:
                    os._exit(99)
            ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            said.seek(0)
            text = said.read().decode()
        assert ended == code, text
        return text

    def _become(self, said: int, folder: str) -> None:
        me = pwd.getpwnam(self.name)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.stdout = sys.stderr = open(1, "w", closefd=False)  # noqa: SIM115 - until the end
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for variable in [one for one in os.environ if one.startswith(("GIT_", "DVLITE_", "XDG_"))]:
            del os.environ[variable]
        os.environ.update(HOME=str(self.home), LC_ALL="C.UTF-8")
        os.initgroups(self.name, me.pw_gid)
        os.setgid(me.pw_gid)
        os.setuid(me.pw_uid)
        os.umask(self.mask)
        os.chdir(self.home / folder if folder else self.home)

    def start(self, store: Path) -> None:
        """A repository of their own, with a common remote."""
        self.run("git", "config", "--global", "user.name", self.name, folder="")
        self.run("git", "config", "--global", "user.email", "x@example.org", folder="")
        self.run("git", "init", "--quiet", "work", folder="")
        self.dvlite("init")
        self.dvlite("remote", "add", "store", str(store), "--default")

    def add(self, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            path = self.home / "work" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            shutil.chown(path.parent, self.name)
        self.dvlite("add", *sorted({name.split("/")[0] for name in files}))
        self.run("git", "commit", "--quiet", "-a", "-m", "data")


def _main(words: list[str]) -> None:
    code: object = 0
    try:
        main(words)
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    os._exit(int(str(code or 0)))


@pytest.fixture
def people() -> Iterator[tuple[Person, Person, Path]]:
    """Two users of one group, the second with the strictest umask, and a folder for the cache."""
    if os.getuid() or not all(map(shutil.which, ("useradd", "groupadd"))):
        pytest.skip("NOT TESTED: a cache that several users share (needs root, to add users)")
    import_everything()
    for encoding in ("ascii", "utf-8", "latin-1"):
        codecs.lookup(encoding)
    base = Path(tempfile.mkdtemp(prefix="dvlite-people-"))
    base.chmod(0o755)
    key = secrets.token_hex(3)
    group = f"dvl-{key}"
    found = []
    subprocess.run(["groupadd", group], check=True)
    try:
        for number, mask in ((1, 0o022), (2, 0o077)):
            name = f"dvl{number}-{key}"
            home = base / f"home{number}"
            command = ["useradd", "--user-group", "--groups", group, "--create-home"]
            subprocess.run([*command, "--home-dir", str(home), name], check=True)
            found.append(Person(name, home, mask))
        (base / "srv").mkdir()
        os.chown(base / "srv", -1, grp.getgrnam(group).gr_gid)
        (base / "srv").chmod(0o2775)
        yield found[0], found[1], base / "srv"
    finally:
        for one in found:
            subprocess.run(["userdel", one.name], check=True)
        subprocess.run(["groupdel", group], check=True)
        shutil.rmtree(base)


@pytest.mark.root
def test_two_users_share_a_cache(people: tuple[Person, Person, Path]) -> None:
    first, second, srv = people
    cache = srv / "cache"
    (srv / "store").mkdir(mode=0o2777)
    (srv / "store").chmod(0o2777)
    for one in (first, second):
        one.start(srv / "store" / one.name)
    first.add({**SMALL, "model": b"model" + LARGE})
    first.dvlite("cache", "move", str(cache))
    first.dvlite("cache", "share", "--group", srv.group())
    # what the second one has comes in, into folders of the first one
    second.add({**SMALL, "model": b"model" + LARGE, "own": b"own" + LARGE})
    before = {path.name for path in cache.glob("objects/*/*")}
    second.dvlite("cache", "move", str(cache))
    assert {path.name for path in cache.glob("objects/*/*")} > before
    second.add({**{f"more/{n}": b"more %d" % n for n in range(80)}, "big": b"big" + LARGE})
    second.dvlite("push")
    # the first one reads what the second one added, and adds beside it
    first.add({"big": b"big" + LARGE, **{f"more/{n}": b"more %d" % n for n in range(80)}})
    first.dvlite("push")
    for one in (first, second):
        for name in ("big", "model"):
            (one.home / "work" / name).unlink()
        one.dvlite("checkout")
        assert (one.home / "work" / "big").read_bytes() == b"big" + LARGE
        one.dvlite("fsck")
        assert "lacks rights" not in one.dvlite("doctor", code=0)
    for path in cache.rglob("*"):
        found = path.stat()
        assert path.group() == srv.group(), path
        wanted = SHARED if path.is_dir() else found.st_mode >> 3 & 0o070
        assert found.st_mode & wanted == wanted, (path, oct(found.st_mode))
        if path.parent.parent.name == "objects" or path.parent.name == "packs":
            assert not found.st_mode & 0o222, path


@pytest.mark.root
def test_only_the_owner_shares_and_only_with_a_group_of_theirs(
    people: tuple[Person, Person, Path],
) -> None:
    first, second, srv = people
    srv.chmod(0o777)  # what is made in a shared folder is shared from the beginning
    for one in (first, second):
        one.start(srv)
    first.add({"model": b"model" + LARGE})
    first.dvlite("cache", "move", str(srv / "cache"))
    said = first.dvlite("cache", "share", "--group", "root", code=STORAGE)
    assert "usermod -aG root" in said
    second.dvlite("config", "--local", "cache.dir", str(srv / "cache"))
    assert "belongs to another user" in second.dvlite("cache", "share", code=STORAGE)
    assert "cannot be written to" in second.dvlite(
        "cache", "move", "--keep-old", str(first.home / "work" / ".." / "x"), code=STORAGE
    )


@pytest.mark.root
def test_hard_links_to_another_users_objects_give_way_to_the_next_type(
    people: tuple[Person, Person, Path],
) -> None:
    first, second, srv = people
    for one in (first, second):
        one.start(srv / "store")
    first.add({"model": b"model" + LARGE})
    first.dvlite("cache", "move", str(srv / "cache"))
    first.dvlite("cache", "share", "--group", srv.group())
    second.dvlite("config", "--local", "cache.dir", str(srv / "cache"))
    second.dvlite("config", "--local", "cache.link", "hardlink,symlink")
    second.add({"model": b"model" + LARGE})
    second.dvlite("checkout", "--relink")
    model = second.home / "work" / "model"
    assert model.read_bytes() == b"model" + LARGE
    assert model.is_symlink() or model.stat().st_nlink > 1
