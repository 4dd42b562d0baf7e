"""Names of every kind survive add, push, clone, pull and reproduce unchanged."""

from __future__ import annotations

import os

import pytest

from tests.repositories import Repository, listing

NAMES = {
    "space": b"with space",
    "leading space": b" leading",
    "trailing space": b"trailing ",
    "only a space": b" ",
    "newline": b"new\nline",
    "trailing newline": b"newline\n",
    "tab": b"tab\there",
    "carriage return": b"return\r",
    "escape": b"\x1b[31mred",
    "leading dash": b"-rf",
    "long option": b"--help",
    "double dash": b"--",
    "double quote": b'double"quote',
    "single quote": b"single'quote",
    "backslash": b"back\\slash",
    "trailing backslash": b"backslash\\",
    "star": b"*",
    "question mark": b"what?",
    "brackets": b"[abc]",
    "trailing bracket": b"open[",
    "braces": b"{a,b}",
    "exclamation": b"!important",
    "hash": b"#comment",
    "percent": b"100%25%2F",
    "colon": b"C:colon",
    "pathspec magic": b":(top)x",
    "colon slash": b":!x",
    "at": b"@{u}",
    "tilde": b"~root",
    "dollar": b"$HOME",
    "pipe": b"a|b;c&d",
    "leading dot": b".hidden",
    "three dots": b"...",
    "trailing dot": b"dot.",
    "like git's": b".gitx",
    "composed": "\u00e9".encode(),
    "decomposed": "e\u0301".encode(),
    "emoji": "🤖👩‍👩‍👧".encode(),
    "right to left": "שלום\u202e txt.exe".encode(),
    "zero width": "zero\u200bwidth".encode(),
    "line separator": "line\u2028separator".encode(),
    "byte order mark": "\ufeffbom".encode(),
    "not UTF-8": b"latin-\xe9",
    "only high bytes": b"\xff\xfe\x80",
    "surrogate in UTF-8": b"\xed\xa0\x80",
    "long": b"n" * 251,
    "long, not ASCII": "ü".encode() * 125,
    "windows device": b"CON",
    "pointer-like inside": b"a.dvl.txt",
}
INSIDE_ONLY = {
    "255 bytes": b"x" * 255,
    "252 bytes": b"x" * 252,
    "git's ignore file": b".gitignore",
    "git's attributes": b".gitattributes",
}


each_name = pytest.mark.parametrize("name", [*map(os.fsdecode, NAMES.values())], ids=[*NAMES])


def all_names() -> list[str]:
    return [os.fsdecode(name) for name in (*NAMES.values(), *INSIDE_ONLY.values())]


def to_clone(repository: Repository) -> Repository:
    """What somebody else gets."""
    repository.commit()
    repository.share()
    clone = repository.clone("clone")
    clone.dvlite("pull")
    clone.dvlite("status", "--exit-code")
    assert clone.git("status", "--porcelain") == ""
    return clone


def test_all_names_inside_a_folder_survive(repository: Repository) -> None:
    for number, name in enumerate(all_names()):
        repository.write({f"data/{name}": b"%d" % number})
        repository.write({f"data/folders/{name}/{name}": b"inside %d" % number})
        (repository.path / "data" / "empty" / name).mkdir(parents=True)
    expected = repository.data()
    repository.dvlite("add", "data")
    clone = to_clone(repository)
    assert clone.data() == expected
    clone.dvlite("reproduce", "HEAD", "-o", str(clone.path.parent / "old"))
    assert listing(clone.path.parent / "old" / "data") == expected


def test_all_names_tracked_on_their_own_survive(repository: Repository) -> None:
    names = [os.fsdecode(name) for name in NAMES.values()]
    # two spellings of é are one name on macOS, so both cannot be tracked side by side
    names.remove("e\u0301")
    repository.write({name: b"%d" % number for number, name in enumerate(names)})
    repository.dvlite("add", "--", *names)
    expected = {name: listing(repository.path / name) for name in names}
    clone = to_clone(repository)
    assert {name: listing(clone.path / name) for name in names} == expected


@each_name
def test_a_tracked_name_is_ignored_by_git_and_its_pointer_is_not(
    repository: Repository, name: str
) -> None:
    repository.write({name: b"file", f"sub/{name}/inside": b"folder"})
    repository.dvlite("add", "--", name, f"sub/{name}")
    staged = repository.git("diff", "--cached", "--name-only", "-z").split("\0")
    assert {f"{name}.dvl", f"sub/{name}.dvl"} <= set(staged)
    # neither tracked nor shown as new: real git ignores exactly the data
    untracked = repository.git("ls-files", "-z", "--others", "--exclude-standard")
    assert untracked == ""
    repository.git("add", "--all")
    held = repository.git("ls-files", "-z").split("\0")
    assert name not in held
    assert f"sub/{name}/inside" not in held
    repository.dvlite("status", "--exit-code")


@each_name
def test_a_tracked_name_can_be_named_again_in_every_command(
    repository: Repository, name: str
) -> None:
    repository.write({name: b"one", "other": b"o"})
    repository.dvlite("add", "--", name, "other")
    repository.commit()
    repository.write({name: b"two"})
    repository.dvlite("add", "--", name)
    repository.dvlite("push", "--", name)
    (repository.path / name).unlink()
    repository.dvlite("checkout", "--", name)
    assert (repository.path / name).read_bytes() == b"two"
    repository.dvlite("status", "--exit-code", "--", name)
    repository.dvlite("status", "--json", "--", name)


def test_a_similar_name_beside_a_tracked_one_is_not_ignored(repository: Repository) -> None:
    """A pattern of .gitignore stands for the tracked name alone."""
    repository.write({"*": b"star", "what?": b"q", "[ab]": b"b", "plain": b"p"})
    repository.dvlite("add", "--", "*", "what?", "[ab]")
    repository.write({"whatx": b"x", "a": b"a", "sub/*": b"s", "sub/plain": b"p"})
    untracked = set(repository.git("ls-files", "-z", "--others", "--exclude-standard").split("\0"))
    assert {"whatx", "a", "plain", "sub/*", "sub/plain"} <= untracked


@pytest.mark.parametrize("length", [252, 253, 255])
def test_a_name_too_long_for_a_pointer_is_refused_with_the_way_out(
    repository: Repository, length: int
) -> None:
    name = "n" * length
    repository.write({name: b"x", f"folder/{name}": b"x"})
    before = repository.work_files()
    ran = repository.dvlite("add", name, code=4)
    assert f"has {length} bytes; on its own a tracked name has at most 251" in ran.err
    assert "hint: put it into a folder and add the folder\n" in ran.err
    assert repository.work_files() == before
    repository.dvlite("add", "folder")
    repository.dvlite("status", "--exit-code")


def test_deeply_nested_folders_survive(repository: Repository) -> None:
    path = "/".join(["data", *["d"] * 200])
    repository.write({f"{path}/file": b"deep"})
    expected = repository.data()
    repository.dvlite("add", "data")
    assert to_clone(repository).data() == expected


def test_a_path_longer_than_the_system_takes_is_no_obstacle(repository: Repository) -> None:
    """4,096 bytes is the limit of a path given to the system, not of a file's place: folders are
    entered one by one."""
    repository.write({"data/a": b"a"})
    folder = os.open(repository.path / "data", os.O_RDONLY)
    for name in ["n" * 250] * 20:
        os.mkdir(name, dir_fd=folder)
        inner = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    descriptor = os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=folder)
    os.write(descriptor, b"deep down")
    os.close(descriptor)
    os.close(folder)
    repository.dvlite("add", "data")
    repository.dvlite("status", "--exit-code")
    repository.dvlite("rm", "--delete", "data")
    assert not (repository.path / "data").exists()


def test_links_exec_bits_and_empty_folders_survive(repository: Repository) -> None:
    repository.write(
        {"data/a/file": b"x", "data/run": b"#!", "data/a/b/run.sh": b"#!", "tool": b"#"}
    )
    for name in ("data/run", "data/a/b/run.sh", "tool"):
        os.chmod(repository.path / name, 0o755)
    (repository.path / "data/empty/a/b").mkdir(parents=True)
    for link, target in {
        "data/to-file": "a/file",
        "data/to-folder": "a",
        "data/a/up": "../run",
        "data/a/b/twice-up": "../../run",
        "data/a/to-self": ".",
        "data/dangling": "not/there",
        "data/loop": "loop",
        "data/odd": os.fsdecode(b"\xff new\nline"),
    }.items():
        (repository.path / link).symlink_to(target)
    expected = repository.data()
    repository.dvlite("add", "data", "tool")
    clone = to_clone(repository)
    assert clone.data() == expected
    assert (clone.path / "tool").stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/etc/passwd", "a symbolic link to an absolute path"),
        ("../../outside", "a symbolic link that leads out of the tracked folder"),
        ("..", ""),
        ("../code.py", "a symbolic link that leads out of the tracked folder"),
        ("sub/../../../x", "a symbolic link with '..' behind a name"),
    ],
)
def test_links_out_of_the_folder_are_refused_with_the_reason(
    repository: Repository, target: str, reason: str
) -> None:
    repository.write({"data/sub/file": b"x"})
    place = "data/sub/link" if target == ".." else "data/link"
    (repository.path / place).symlink_to(target)
    if not reason:
        repository.dvlite("add", "data")
        return
    before = repository.work_files()
    ran = repository.dvlite("add", "data", code=4)
    assert f"{place}: {reason}" in ran.err
    assert repository.work_files() == before


@pytest.mark.parametrize("folder", ["data", "data/sub", "data/sub/deeper"])
def test_only_an_empty_folder_is_tracked_and_comes_back(
    repository: Repository, folder: str
) -> None:
    (repository.path / folder).mkdir(parents=True)
    expected = repository.data()
    repository.dvlite("add", "data")
    assert to_clone(repository).data() == expected


def test_names_that_differ_only_in_case_or_form_survive_inside_a_folder(
    repository: Repository,
) -> None:
    repository.write({"data/A": b"1", "data/a": b"2", "data/\u00e9": b"3", "data/e\u0301": b"4"})
    expected = repository.data()
    assert len(expected) == 5
    ran = repository.dvlite("add", "data")
    assert "warning: " in ran.err
    assert to_clone(repository).data() == expected


def test_output_shows_odd_names_without_letting_them_move_the_cursor(
    repository: Repository,
) -> None:
    name = os.fsdecode(b"\x1b[2J\n\xff")
    repository.write({name: b"x"})
    ran = repository.process("add", "--", name)
    assert '"\\033[2J\\n\\377"' in ran.out
    ran = repository.process("status", "-v")
    assert "\x1b" not in ran.out
    ran = repository.process("add", "--", name + "nothing", code=4)
    assert "\x1b" not in ran.err
    assert all(line.startswith(("error: ", "hint: ", "  ")) for line in ran.err.splitlines())
