"""Hostile repositories: whatever is committed, commands on it harm nobody.

Each attack is a function that makes the repository what a hostile author would commit. All commands
that somebody would try on it are run. None writes outside the work tree or into git's own files,
runs anything, shows a secret, or fails in another way than documented.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dvlite.storage.oid import hash_bytes, hash_tree
from dvlite.storage.tree import Kind, encode, make_tree
from tests.attacks.hostile import (
    EVIL,
    arm,
    check_words,
    executed,
    file,
    folder,
    plant,
    plant_entries,
    pointer,
    put_all,
    raw_tree,
    surroundings,
)
from tests.repositories import Repository

USAGE, PROJECT, PATH, CONFLICT, MISSING = 2, 3, 4, 5, 6
REMOTE, CORRUPT, NEWER, STORAGE, PARTIAL = 7, 8, 9, 11, 12
Arrange = Callable[[Repository], None]

# What somebody does with a repository that they were sent. Reports first: they change nothing.
COMMANDS = (("status",), ("ls", "-R"), ("checkout",), ("checkout", "--force"))
MORE_COMMANDS = (
    *COMMANDS[:2],
    ("diff",),
    ("log",),
    ("du",),
    ("doctor",),
    ("config", "--json"),
    ("get", "data", "-o", "../got"),
    *COMMANDS[2:],
    ("pull",),
    ("push",),
)
_DOCUMENTED = frozenset(range(13))


@dataclass(frozen=True, slots=True)
class Attack:
    """`code`: of `dvlite checkout`. `says`: part of what it says."""

    arrange: Arrange
    code: int
    says: str


ATTACKS: list[Attack] = []


def attack(code: int, says: str = "") -> Callable[[Arrange], Arrange]:
    def note(arrange: Arrange) -> Arrange:
        ATTACKS.append(Attack(arrange, code, says))
        return arrange

    return note


def named(arrange: Arrange, name: str) -> Arrange:
    arrange.__name__ = name
    return arrange


# -- names in trees --------------------------------------------------------------------------------

FORBIDDEN = (
    b"..",
    b".",
    b"",
    b"/etc/cron.d/x",
    b"../victim/x",
    b"sub/../../x",
    b"a/b",
    b".git",
    b".GIT",
    b".git.",
    b".git . .",
    b".Git::$INDEX_ALLOCATION",
    b".git:stream",
    b"git~1",
    b"GIT~1",
    ".g\u200cit".encode(),
    "\ufeff.GI\u206aT".encode(),
    ".git\u202e".encode(),
    b".dvlite",
    b".DVLITE ",
    b"n" * 256,
)


def _with_name(name: bytes) -> Arrange:
    def arrange(r: Repository) -> None:
        plant_entries(r, file(b"good"), file(name, kind=Kind.EXEC))

    return named(arrange, f"a_tree_with_the_name_{name[:24]!r}")


for _name in FORBIDDEN:
    attack(CORRUPT, "forbidden name")(_with_name(_name))


def _with_folder(name: bytes) -> Arrange:
    def arrange(r: Repository) -> None:
        hooks = encode(make_tree([file(b"pre-commit", kind=Kind.EXEC)]))
        inner = encode(make_tree([folder(b"hooks", hash_tree(hooks), len(EVIL), 1)]))
        put_all(r, [hooks, inner])
        plant_entries(r, folder(name, hash_tree(inner), len(EVIL), 1))

    return named(arrange, f"hooks_in_a_folder_named_{name!r}")


for _name in (b".git", b".Git", "\u200d.git".encode(), b"git~1"):
    attack(CORRUPT, "forbidden name")(_with_folder(_name))


# -- links in trees --------------------------------------------------------------------------------


def _with_link(target: bytes) -> Arrange:
    def arrange(r: Repository) -> None:
        plant_entries(r, file(b"good"), file(b"link", target, Kind.LINK), extra=[target])

    return named(arrange, f"a_tree_with_a_link_to_{target[:24]!r}")


for _target in (
    b"/etc/passwd",
    b"../victim",
    b"..",
    b"./../victim",
    b"good/../../victim",
    b"a\0b",
    b"",
    b"x" * 4096,
):
    attack(CORRUPT, "symbolic link")(_with_link(_target))


@attack(CORRUPT, "not in order")
def a_link_and_a_folder_of_one_name(r: Repository) -> None:
    """What is in the folder would be written to where the link leads."""
    inner = encode(make_tree([file(b"evil")]))
    put_all(r, [inner])
    entries = [file(b"a", b"../victim", Kind.LINK), folder(b"a", hash_tree(inner), len(EVIL), 1)]
    plant(r, raw_tree(entries), 9 + len(EVIL), 2, extra=[b"../victim"])


@attack(CORRUPT, "symbolic link")
def a_link_through_a_link(r: Repository) -> None:
    """`up` stays inside; `out` starts from where it leads."""
    deep = encode(make_tree([file(b"up", b"..", Kind.LINK), file(b"out", b"up/../..", Kind.LINK)]))
    put_all(r, [deep])
    plant_entries(r, folder(b"sub", hash_tree(deep), 10, 2), extra=[b"..", b"up/../.."])


@attack(0)
def links_in_a_circle(r: Repository) -> None:
    """Harmless: nobody follows them."""
    a, b = file(b"a", b"b", Kind.LINK), file(b"b", b"a", Kind.LINK)
    plant_entries(r, a, b, file(b"self", b"self", Kind.LINK), extra=[b"a", b"b", b"self"])


# -- trees that are none ---------------------------------------------------------------------------


def _raw(name: str, code: int, says: str, make: Callable[[], bytes]) -> None:
    def arrange(r: Repository) -> None:
        plant(r, make(), len(EVIL), 1)

    attack(code, says)(named(arrange, name))


_GOOD = raw_tree([file(b"a")])
_raw("a_name_twice", CORRUPT, "not in order", lambda: raw_tree([file(b"a"), file(b"a")]))
_raw("names_out_of_order", CORRUPT, "not in order", lambda: raw_tree([file(b"b"), file(b"a")]))
_raw("a_kind_that_is_none", CORRUPT, "unknown kind", lambda: _GOOD[:16] + b"\x09" + _GOOD[17:])
_raw("four_billion_entries", CORRUPT, "claims", lambda: _GOOD[:8] + b"\xff" * 4 + _GOOD[12:])
_raw("more_folders_than_entries", CORRUPT, "claims", lambda: _GOOD[:12] + b"\x02" + _GOOD[13:])
_raw("bytes_after_the_names", CORRUPT, "", lambda: _GOOD + b"\0")
_raw("a_tree_of_zeros", CORRUPT, "not a tree", lambda: bytes(5000))
_raw("a_tree_of_a_later_version", CORRUPT, "format version", lambda: _GOOD[:7] + b"\2" + _GOOD[8:])


# -- counts that lie, and listings that explode ----------------------------------------------------


@attack(CORRUPT, "were said")
def a_pointer_that_says_less_than_there_is(r: Repository) -> None:
    """The space on disk would not be looked for."""
    plant(r, encode(make_tree([file(b"a"), file(b"b")])), 0, 0)


@attack(CORRUPT, "were said")
def a_folder_that_says_less_than_there_is(r: Repository) -> None:
    inner = encode(make_tree([file(b"a")]))
    put_all(r, [inner])
    plant_entries(r, folder(b"sub", hash_tree(inner), 0, 0))


@attack(CORRUPT, "were said")
def a_file_with_a_false_size(r: Repository) -> None:
    plant_entries(r, file(b"a")._replace(size=7))


@attack(STORAGE, "MiB free")
def a_pointer_of_nine_exabytes(r: Repository) -> None:
    pointer(r, "data", hash_bytes(EVIL), 9 * 10**18, kind="file")
    plant_entries(r, file(b"a")._replace(size=9 * 10**18))


def _bomb(r: Repository, levels: int, leaf: bytes, size: int, files: int) -> tuple[bytes, int, int]:
    """100 folders in each of 100 folders in each …; all of one level are the same."""
    trees, limit = [leaf], 2**63
    for _ in range(levels):
        oid = hash_tree(trees[-1])
        entries = [folder(b"%02d" % n, oid, size, files) for n in range(100)]
        size, files = (100 * size) % limit, (100 * files) % limit
        trees.append(encode(make_tree(entries)))
    put_all(r, trees)
    return hash_tree(trees[-1]), size, files


@attack(CORRUPT, "name each other so often")
def a_bomb_of_empty_folders(r: Repository) -> None:
    """20 levels of 100 identical folders, in 100 KB."""
    pointer(r, "data", *_bomb(r, 20, encode(make_tree([])), 0, 0))


@attack(STORAGE, "room for")
def a_bomb_of_empty_files(r: Repository) -> None:
    """The same, of 10^10 files that take no space."""
    if not os.statvfs(r.path).f_files:
        pytest.skip("this file system does not count files")
    put_all(r, [])
    leaf = encode(make_tree([file(b"a", b"")]))
    pointer(r, "data", *_bomb(r, 5, leaf, 0, 1))


@attack(CORRUPT, "a part of a split folder is empty")
def a_bomb_of_parts_of_nothing(r: Repository) -> None:
    """A folder split 32 times, into 256 parts each time, none of which holds a name."""
    data = encode(make_tree([]))
    trees = [data]
    for _ in range(32):
        parts = [folder(b"%02x" % n, hash_tree(data), 0, 0) for n in range(256)]
        data = encode(make_tree([one._replace(kind=Kind.PART) for one in parts]))
        trees.append(data)
    put_all(r, trees)
    pointer(r, "data", hash_tree(data), 0, 0)


@attack(CORRUPT, "nested too deeply")
def a_thousand_nested_folders(r: Repository) -> None:
    data = encode(make_tree([file(b"a")]))
    trees = [data]
    for _ in range(1000):
        data = encode(make_tree([folder(b"d", hash_tree(data), len(EVIL), 1)]))
        trees.append(data)
    put_all(r, trees)
    pointer(r, "data", hash_tree(data), len(EVIL), 1)


# -- pointers --------------------------------------------------------------------------------------


def _pointer(
    name: str, text: bytes, code: int = CORRUPT, says: str = "not a valid pointer"
) -> None:
    def arrange(r: Repository) -> None:
        r.write({"data.dvl": text})
        r.git("add", "-f", "data.dvl")

    attack(code, says)(named(arrange, f"a_pointer_{name}"))


_HEAD = b"dvlite: 1\nkind: file\n"
_OID = b"oid: blake3:" + b"0" * 64 + b"\n"
_pointer("of_a_gigabyte_of_keys", _HEAD + b"k: v\n" * 100_000, says="too large")
_pointer("of_many_keys", _HEAD + b"".join(b"k%d: v\n" % n for n in range(6000)))
_pointer("with_nul", _HEAD + _OID + b"size: 1\0\nfiles: 1\n")
_pointer("with_a_negative_size", _HEAD + _OID + b"size: -1\nfiles: 1\n")
_pointer("with_a_huge_size", _HEAD + _OID + b"size: " + b"9" * 5000 + b"\nfiles: 1\n")
_pointer("with_arabic_digits", _HEAD + _OID + "size: ١\nfiles: 1\n".encode())
_pointer("with_escape_codes", b"dvlite: 1\n\x1b[2J\x1b]0;owned\x07: x\n")
_pointer("with_c1_codes", "dvlite: 1\n\u009b2J\u202e: x\n".encode())
_pointer("of_invalid_utf_8", b"dvlite: 1\nkind: \xff\xfe\n", says="not text")
_pointer("with_a_path", _HEAD + b"oid: ../../../etc/passwd\nsize: 1\nfiles: 1\n")
_pointer("of_another_hash", _HEAD + b"oid: md5:" + b"0" * 32 + b"\nsize: 1\nfiles: 1\n")
_pointer("of_a_later_version", b"dvlite: 2\n", NEWER, "format version 2")
_pointer("with_a_key_twice", _HEAD + _OID + _OID, says="twice")


def _tracked_as(name: str) -> None:
    def arrange(r: Repository) -> None:
        r.write({f"{name}.dvl": _HEAD + _OID + b"size: 1\nfiles: 1\n"})
        r.git("add", "-f", f"{name}.dvl")

    attack(PATH)(named(arrange, f"a_pointer_for_{name!r}"))


for _text in (".git", ".GIT", ".git.", ".g\u200cit", "git~1", ".dvlite", "..", "."):
    _tracked_as(_text)


@attack(PATH, "is a symbolic link; a pointer is a file")
def a_pointer_that_is_a_link(r: Repository) -> None:
    (r.path / "data.dvl").symlink_to("/etc/passwd")
    r.git("add", "data.dvl")


@attack(PATH, "is not a file")
def a_pointer_that_is_a_fifo(r: Repository) -> None:
    """Opening it would wait for ever."""
    plant_entries(r, file(b"a"))
    r.git("add", "data.dvl")
    (r.path / "data.dvl").unlink()
    os.mkfifo(r.path / "data.dvl")


# -- links that git brings -------------------------------------------------------------------------


@attack(PATH, "symbolic link")
def a_link_in_the_place_of_a_folder(r: Repository) -> None:
    plant_entries(r, file(b"thesis", kind=Kind.EXEC))
    (r.path / "data").symlink_to("../victim/tmp")
    r.git("add", "-f", "data", "data.dvl")


@attack(PATH, "symbolic link")
def a_link_to_hooks_in_the_place_of_a_folder(r: Repository) -> None:
    plant_entries(r, file(b"pre-commit", kind=Kind.EXEC))
    (r.path / "data").symlink_to(".git/hooks")
    r.git("add", "-f", "data", "data.dvl")


@attack(PATH, "behind a symbolic link")
def a_link_above_a_pointer(r: Repository) -> None:
    plant_entries(r, file(b"a"))
    (r.path / "sub").mkdir()
    (r.path / "data.dvl").rename(r.path / "sub" / "tmp.dvl")
    r.git("add", "-f", "sub/tmp.dvl")
    (r.path / "sub" / "tmp.dvl").rename(r.path.parent / "victim" / "tmp.dvl")
    (r.path / "sub").rmdir()
    (r.path / "sub").symlink_to("../victim")


@attack(PROJECT, ".dvlite is a symbolic link")
def a_project_s_folder_that_is_a_link(r: Repository) -> None:
    """`victim/tmp` would be taken for unfinished things of before, and emptied."""
    (r.path / ".dvlite").rename(r.path / "moved")
    (r.path / ".dvlite").symlink_to("../victim")


@attack(PROJECT, "config.toml is a symbolic link")
def settings_that_are_a_link(r: Repository) -> None:
    (r.path / ".dvlite" / "config.toml").unlink()
    (r.path / ".dvlite" / "config.toml").symlink_to("../../victim/config.toml")


@attack(PATH, "behind a symbolic link")
def a_scratch_folder_that_is_a_link(r: Repository) -> None:
    plant_entries(r, file(b"a"))
    shutil.rmtree(r.path / ".dvlite" / "tmp", ignore_errors=True)
    (r.path / ".dvlite" / "tmp").symlink_to("../../victim/tmp")
    r.git("add", "-f", ".dvlite/tmp")


@attack(0)
def a_list_of_old_names_that_is_a_fifo(r: Repository) -> None:
    os.mkfifo(r.path / ".dvlite" / "imported")


# -- names that only look dangerous ----------------------------------------------------------------

ODD = (
    b"-rf",
    b"--force",
    b"C:",
    b"a\\..\\..\\b",
    b"con",
    b"$(touch executed)",
    b"`touch executed`",
    b"~",
    b"*",
    b"a\nb",
    b"a\rb",
    b"\x1b[31mred",
    b"\xff\xfe",
    "caf\u00e9".encode(),
    "cafe\u0301".encode(),
    b"A",
    b"a",
    b"digits.gitignore",
)


@attack(0)
def odd_names(r: Repository) -> None:
    plant_entries(r, *sorted(file(name) for name in ODD))


def _option(name: str) -> None:
    def arrange(r: Repository) -> None:
        plant_entries(r, file(b"a"))
        (r.path / "data.dvl").rename(r.path / f"{name}.dvl")
        r.git("--literal-pathspecs", "add", "-f", "--", f"{name}.dvl")

    attack(0)(named(arrange, f"tracked_data_named_{name!r}"))


for _text in ("--output=executed", "-c", ":(top)x", "\x1b[2Jx", "a\nhint: run this", "HEAD"):
    _option(_text)


# -- settings --------------------------------------------------------------------------------------


def _settings(name: str, text: str, code: int = PROJECT, says: str = "") -> None:
    def arrange(r: Repository) -> None:
        (r.path / ".dvlite" / "config.toml").write_bytes(("dvlite = 1\n" + text).encode())

    attack(code, says)(named(arrange, f"settings_{name}"))


_settings("with_a_huge_number", "core.jobs = " + "9" * 5000, says="not valid TOML")
_settings("that_nest", "a." * 5000 + "b = 1")
_settings("that_nest_in_arrays", "a = " + "[" * 5000, says="not valid TOML")
_settings("of_two_megabytes", "# " + "x" * (2 << 20), says="larger than")
_settings("with_an_escape_code_in_a_url", '[remote.a]\nurl = "s3://b\\u001b[2J"', says="control")
_settings("with_a_line_end_in_a_url", '[remote.a]\nurl = "s3://b\\r\\nhint: x"', says="control")
_settings("with_an_option_for_a_name", '[remote.-oProxyCommand]\nurl = "/x"', says="cannot name")
_settings("with_a_path_for_a_name", '[remote."../x"]\nurl = "/x"', says="cannot name")
_settings("of_a_private_cache", '[cache]\ndir = "../victim"', 0)
_settings("that_fetch", "[core]\nfetch_on_checkout = true\nmerge_fetch = true", 0)


# -- they are run ----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ATTACKS, ids=[case.arrange.__name__ for case in ATTACKS])
def test_harms_nobody(repository: Repository, case: Attack) -> None:
    _try(repository, case, COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize("case", ATTACKS, ids=[case.arrange.__name__ for case in ATTACKS])
def test_harms_nobody_whatever_is_tried(repository: Repository, case: Attack) -> None:
    _try(repository, case, MORE_COMMANDS)


def _try(repository: Repository, case: Attack, commands: tuple[tuple[str, ...], ...]) -> None:
    arm(repository)
    case.arrange(repository)
    before = surroundings(repository)
    inside = set(_tree(repository.path / "data"))
    for words in commands:
        ran = repository.dvlite(*words, code=None)
        check_words(ran)
        assert ran.code in _DOCUMENTED, (words, ran)
        if words == ("checkout",):
            assert ran.code == case.code, ran
            assert case.says in ran.out + ran.err, ran
            if case.code:
                assert set(_tree(repository.path / "data")) == inside
        now = {name: what for name, what in surroundings(repository).items() if name[:3] != "got"}
        assert now == before, words
    assert not executed(repository)


def _tree(path: Path) -> list[str]:
    return [] if path.is_symlink() else [str(one) for one in path.rglob("*")]


def test_the_corpus_is_large_and_each_attack_is_there_once() -> None:
    names = [case.arrange.__name__ for case in ATTACKS]
    assert len(names) == len(set(names)) >= 60


def test_odd_names_are_what_they_are(repository: Repository) -> None:
    odd_names(repository)
    repository.dvlite("checkout")
    assert set(os.listdir(os.fsencode(repository.path / "data"))) == set(ODD)
    repository.dvlite("status", "--exit-code", code=None)


@pytest.mark.parametrize("tree", [False, True], ids=["file", "folder"])
@pytest.mark.parametrize("target", ["../victim/tmp", "../victim/tmp/thesis", "/", "nowhere", "."])
def test_a_link_is_replaced_when_forced_and_what_it_leads_to_stays(
    repository: Repository, tree: bool, target: str
) -> None:
    arm(repository)
    names = ("data/a", "data") if tree else ("data", "data")
    repository.add_and_commit({names[0]: b"mine"}, "data")
    moved = repository.path / "data"
    moved.rename(repository.path.parent / "moved")
    moved.symlink_to(target)
    before = surroundings(repository)
    repository.dvlite("checkout", code=PATH)
    assert moved.is_symlink()
    repository.dvlite("checkout", "--force")
    assert not moved.is_symlink() and repository.read(names[0]) == b"mine"
    assert surroundings(repository) == before
    repository.dvlite("status", "--exit-code")


def test_a_false_size_is_told_and_add_corrects_it(repository: Repository) -> None:
    repository.add_and_commit({"model": b"12345"}, "model")
    true = repository.read("model.dvl")
    repository.write({"model.dvl": true.replace(b"size: 5", b"size: 6")})
    ran = repository.dvlite("status", "--exit-code", code=1)
    assert "its pointer says 6 bytes in 1 files" in ran.out + ran.err
    repository.dvlite("add", "model")
    assert repository.read("model.dvl") == true
    repository.dvlite("status", "--exit-code")


def test_init_does_not_write_where_a_link_leads(repository: Repository) -> None:
    arm(repository)
    (repository.path / ".dvlite").rename(repository.path.parent / "aside")
    (repository.path / ".dvlite").symlink_to("../victim")
    (repository.path.parent / "victim" / "config.toml").unlink()
    before = surroundings(repository)
    check_words(repository.dvlite("init", code=PROJECT))
    assert surroundings(repository) == before


@pytest.mark.parametrize("name", [".gitattributes", ".gitignore"])
def test_a_list_of_git_s_that_is_a_link_is_not_written_to(
    repository: Repository, name: str
) -> None:
    arm(repository)
    target = repository.path.parent / "victim" / "profile"
    target.write_bytes(b"alias\n")
    (repository.path / name).unlink(missing_ok=True)
    (repository.path / name).symlink_to(target)
    repository.write({"model": b"m"})
    for words in (("add", "model"), ("install",), ("init",)):
        check_words(repository.dvlite(*words, code=None))
    assert target.read_bytes() == b"alias\n" and (repository.path / name).is_symlink()
