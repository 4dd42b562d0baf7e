"""`dvlite du` on small real repositories."""

from __future__ import annotations

import json
import random
import shutil
from typing import Any

from tests.repositories import Repository

EXIT_MISSING, EXIT_REMOTE = 6, 7
LARGE = random.Random(1).randbytes(300_000)


def measured(repository: Repository, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(repository.dvlite("du", "--json", *words).out)
    return found


def sizes(found: dict[str, Any], *keys: str) -> list[tuple[int, int]]:
    return [(found[key]["size"], found[key]["files"]) for key in keys]


def test_each_version_counts_in_full_and_each_content_once(repository: Repository) -> None:
    repository.add_and_commit({"data/large": LARGE, "data/copy": LARGE, "data/a": b"1"}, "data")
    repository.add_and_commit({"data/a": b"22"}, "data")
    found = measured(repository)
    assert sizes(found, "workspace", "history", "cached", "unique") == [
        (600_002, 3),
        (1_200_003, 6),
        (1_200_003, 6),
        (300_003, 3),
    ]
    assert sizes(found, "unnamed") == [(0, 0)]
    assert found["objects"]["size"] >= 300_003 and found["free"] > 0
    shown = repository.dvlite("du").out
    assert "deduplication saves" in shown and "(75 %)" in shown


def test_compression_counts_what_packs_save(repository: Repository) -> None:
    files = {f"data/f{n}": b"%d " % n * 1000 for n in range(200)}
    repository.add_and_commit(files, "data")
    found = measured(repository)
    assert found["packs"]["files"] == 2
    assert found["packs"]["size"] < found["unique"]["size"] / 3
    assert "compression saves" in repository.dvlite("du").out


def test_what_the_cache_does_not_hold_saves_nothing(repository: Repository) -> None:
    repository.add_and_commit({"data/a": b"one", "model": LARGE}, "data", "model")
    repository.add_and_commit({"data/a": b"three"}, "data")
    repository.share()
    clone = repository.clone("clone")
    assert sizes(measured(clone), "workspace", "cached") == [(300_005, 2), (0, 0)]
    clone.dvlite("pull")
    found = measured(clone)
    assert sizes(found, "history", "cached", "unique") == [
        (300_008, 3),
        (300_005, 2),
        (300_005, 2),
    ]


def test_what_no_version_names_is_told_apart(repository: Repository) -> None:
    repository.add_and_commit({"model": b"committed"}, "model")
    repository.write({"model": b"added, never committed"})
    repository.dvlite("add", "model")
    repository.write({"model": b"again"})
    repository.dvlite("add", "model")
    found = measured(repository)
    assert sizes(found, "unique", "unnamed") == [(14, 2), (22, 1)]
    assert "named by no version" in repository.dvlite("du").out


def test_the_remote_is_asked_only_on_demand(repository: Repository) -> None:
    repository.add_and_commit({"model": LARGE}, "model")
    assert measured(repository)["remote"] is None
    assert sizes(measured(repository, "--remote"), "remote") == [(0, 0)]
    repository.dvlite("push")
    found = measured(repository, "-r", "store")
    assert found["remote_name"] == "store" and found["remote"]["size"] > 300_000
    assert "remote store" in repository.dvlite("du", "--remote").out
    assert "no remote named nope" in repository.dvlite("du", "-r", "nope", code=EXIT_MISSING).err
    shutil.rmtree(repository.store)
    repository.store.write_bytes(b"a file")
    repository.dvlite("du", "--remote", code=EXIT_REMOTE)


def test_a_damaged_pointer_is_named_and_the_rest_measured(repository: Repository) -> None:
    repository.add_and_commit({"model": b"1234", "other": b"12"}, "model", "other")
    repository.write({"model.dvl": b"nonsense\n"})
    repository.commit("damaged")
    ran = repository.dvlite("du", "--json")
    assert sizes(json.loads(ran.out), "workspace", "history") == [(2, 1), (6, 2)]
    assert ran.err.count("warning: ") == 2 and "model.dvl" in ran.err


def test_a_repository_without_data_or_cache(repository: Repository) -> None:
    found = measured(repository)
    assert sizes(found, "workspace", "history", "cache") == [(0, 0)] * 3
    repository.git("checkout", "--quiet", "--orphan", "empty")
    assert repository.dvlite("du").out.startswith("workspace")
