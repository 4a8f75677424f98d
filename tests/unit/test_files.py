"""Whatever a file holds is read, or named in one sentence; a write that fails loses nothing."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from gnnip.errors import DataError
from gnnip.files import (
    atomic_path,
    make_folder,
    read_csv,
    read_hdf5,
    read_json,
    read_text,
    read_yaml,
    write_json,
    write_text,
)


def complaint(read, *arguments) -> str:
    with pytest.raises(DataError) as caught:
        read(*arguments)
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(".")
    return said


LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "\n".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]"
    for old, new in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe{\x00", "no text in UTF-8 (byte 0 is 0xff)"),
        (b'{"a": "\xe4"}', "byte 7 is 0xe4"),
        (b"[" * 100_000, "more than 100 deep"),
        (b"[" * 101 + b"]" * 101, "more than 100 deep"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' twice"),
        (b"1" * 5000, "not valid JSON"),
        (b"", "not valid JSON (line 1)"),
        (b'{"a": 1}\n{"a": 2}', "not valid JSON (line 2)"),
        (b"{'a': 1}", "not valid JSON"),
        (b"[1]", "must hold a mapping (key: value), found a list"),
        (b'"text"', "found 'text'"),
        (b"null", "found None"),
    ],
)
def test_json_that_cannot_be_read(tmp_path, content, said):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    found = complaint(read_json, path, dict)
    assert said in found
    assert found.startswith(str(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: \x85\n\xff", "no text in UTF-8"),
        (b"[" * 100_000, "more than 100 deep"),
        (b"- " * 2000 + b"1", "more than 100 deep"),
        (b"a: &a [*a]", "more than 100 deep"),
        (LAUGHS.encode(), "stands for more than 1000000 values"),
        (b"a: {b: 1, c: 2, b: 3}", "line 1 is not valid YAML: the key 'b' stands twice"),
        (b"a: 2020-13-45", "a value that YAML does not know (month must be in 1..12)"),
        (b"a: !!int one", "a value that YAML does not know"),
        (b"a: !!timestamp one", "a value that YAML does not know"),
        (b"a: " + b"9" * 5000, "a value that YAML does not know"),
        (b"? [1]\n: 2", "not valid YAML: found unhashable key"),
        (b"a: 1\n---\nb: 2", "line 2 is not valid YAML"),
        (b"a: !!python/object:os.system x", "not valid YAML: could not determine a constructor"),
        (b"a\x00: 1", "not valid YAML"),
        (b"a: 1\n\tb: 2", "line 2 is not valid YAML"),
        (b"- a", "must hold a mapping (key: value), found a list"),
        (b"3", "found 3"),
    ],
)
def test_yaml_that_cannot_be_read(tmp_path, content, said):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    assert said in complaint(read_yaml, path)


def test_what_may_stand_in_yaml(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n")
    assert read_yaml(path) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}
    path.write_bytes(b"# nothing\n")
    assert read_yaml(path) == {}


def test_what_is_no_file(tmp_path):
    assert "is a folder" in complaint(read_text, tmp_path)
    assert "does not exist" in complaint(read_json, tmp_path / "a.json")
    assert "no name of a file" in complaint(read_yaml, "a\0b")
    (tmp_path / "a").write_text("1\n", encoding="utf-8")
    assert "cannot be read: Not a directory" in complaint(read_text, tmp_path / "a" / "b")
    (tmp_path / "loop").symlink_to("loop")
    assert "cannot be read" in complaint(read_text, tmp_path / "loop")


@pytest.mark.parametrize("damage", ["cut", "text", "folder", "no key", "type", "missing"])
def test_hdf5_that_is_not_what_it_should_be(tmp_path, damage):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(100.0)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "text":
        path.write_text("x", encoding="utf-8")
    elif damage in ("folder", "missing"):
        path.unlink()
        if damage == "folder":
            path.mkdir()

    def read() -> None:
        with read_hdf5(path, "make it again") as file:
            file["y" if damage == "no key" else "x"][()]
            int(file["x"].attrs.get("n", "many" if damage == "type" else 1))

    assert "make it again" in complaint(read)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n3,4", "is cut off"),
        ("a,b\n1,2\n", "(2 rows expected, 1 found)"),
        ("a,b\n1,2\n3,4\n5,6\n", "(2 rows expected, 3 found)"),
        ("a,b\n1,2,3\n4,5\n6\n", "rows expected"),
        ("a,b\n1,2,3,4\n1,2,3,4,5\n", "is no table"),
    ],
)
def test_tables_that_are_not_whole(tmp_path, text, said):
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    assert said in complaint(read_csv, path, 2)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("kept", encoding="utf-8")
    assert "Is a directory" in complaint(write_text, tmp_path, "x")
    assert "is a file, and a folder is needed" in complaint(write_text, tmp_path / "file/x", "x")
    assert "choose a shorter name" in complaint(write_text, tmp_path / ("x" * 300), "x")
    assert "Could not write" in complaint(write_text, "/proc/none/x", "x")
    assert "No space left" in complaint(write_text, "/dev/full", "x" * 100_000)
    assert "is a file" in complaint(make_folder, tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]
    write_text("/dev/null", "x")
    assert not Path("/dev/null").is_file()
    write_text(tmp_path / ("ü" * 120), "a name of 240 bytes")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_who_may_read(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_json(tmp_path / "below" / "a.json", {})
    finally:
        os.umask(before)
    assert (tmp_path / "below" / "a.json").stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_the_folder_of_another_user(tmp_path):
    (tmp_path / "theirs").mkdir(mode=0o755)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            write_text(tmp_path / "theirs" / "a", "x")
        except DataError as error:
            os._exit(0 if "Permission denied; choose a place" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_file_is_the_old_or_the_new_one(tmp_path):
    path = tmp_path / "a"
    write_text(path, "old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half", encoding="utf-8")
            raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        fail()
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["a"]
