"""Receipts: what happens to files that were copied, changed, damaged or are just being made."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from gnnip import files, locks, receipts
from gnnip.errors import DataError
from gnnip.files import read_json, sha256, write_json

TABLE = Path("results/a/table.csv")
RECEIPT = Path("results/.receipts/results/a/table.csv.json")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A folder with one finished job, whose input is a minute older than its outputs."""
    monkeypatch.chdir(tmp_path)
    receipts._read_memory.cache_clear()
    TABLE.parent.mkdir(parents=True)
    Path("data.txt").write_text("data", encoding="utf-8")
    TABLE.write_text("a,b\n1,2\n", encoding="utf-8")
    Path("results/a/table.json").write_text("{}", encoding="utf-8")
    set_age("data.txt", 60)
    receipts.write_receipt([str(TABLE), "results/a/table.json", "results/a"], ["data.txt"])
    return tmp_path


def set_age(path: str | Path, seconds: float) -> int:
    stamp = os.stat(path).st_mtime_ns - int(seconds * 1e9)
    os.utime(path, ns=(stamp, stamp))
    return stamp


def settle(gone: tuple[Path, ...] = ()) -> list[str]:
    said: list[str] = []
    assert receipts.settle(said.append) == set(map(str, gone))
    return said


def test_same_bytes_get_their_time_stamp_back_and_are_read_once(monkeypatch):
    made = TABLE.stat().st_mtime_ns
    assert settle() == []
    set_age(TABLE, -3600)
    assert settle() == []
    assert TABLE.stat().st_mtime_ns == made
    # also not by the next process
    receipts._read_memory.cache_clear()
    monkeypatch.setattr(receipts, "sha256", lambda path: pytest.fail(f"{path} was read"))
    assert settle() == []


@pytest.mark.parametrize("text", ["", "a,b\n1,3\n"])
def test_other_bytes_move_out_of_the_way_whatever_their_time_stamp(text):
    made = TABLE.stat()
    TABLE.write_text(text, encoding="utf-8")
    os.utime(TABLE, ns=(made.st_atime_ns, made.st_mtime_ns))
    assert settle(gone=(TABLE,)) == [
        f"{TABLE} is not what its job had made ({len(text)} bytes, 8 expected): it is made again "
        "as soon as it is needed; what was found there is now table.csv.changed."
    ]
    assert not TABLE.exists()
    assert Path(f"{TABLE}.changed").read_text(encoding="utf-8") == text
    assert Path("results/a/table.json").exists()
    # what is missing is named by Snakemake
    assert settle(gone=(TABLE,)) == []


def test_nothing_is_touched_while_another_snakemake_is_at_work():
    TABLE.write_text("half", encoding="utf-8")
    with locks.hold_workflow():
        assert settle() == []
    assert TABLE.exists()
    assert settle(gone=(TABLE,)) != []


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"results/a/table.csv": {"sha256": "0"}}', '{"made_of": ["results/a/table.csv"]}'],
)
def test_a_damaged_receipt_is_removed_with_a_sentence(text):
    RECEIPT.write_text(text, encoding="utf-8")
    assert settle() == [
        f"The receipt {RECEIPT} was damaged and is removed; time stamps decide instead."
    ]
    assert settle() == []
    assert TABLE.exists()


def test_a_file_that_cannot_be_read_is_named(monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    set_age(TABLE, -1)
    monkeypatch.setattr(receipts, "sha256", refuse)
    assert settle() == [f"{TABLE} cannot be compared with its receipt (Permission denied)."]


def test_the_newest_receipt_of_a_file_counts():
    # the rule once made the file among others, now on its own
    Path("results/a/first.csv").write_text("1", encoding="utf-8")
    TABLE.write_text("new", encoding="utf-8")
    receipts.write_receipt(["results/a/first.csv", str(TABLE)])
    assert settle() == []
    assert TABLE.read_text(encoding="utf-8") == "new"


def test_time_stamps_recorded_are_not_older_than_those_of_the_inputs():
    newest = set_age("data.txt", -3600)
    receipts.write_receipt([str(TABLE)], ["data.txt"])
    assert settle() == []
    assert TABLE.stat().st_mtime_ns == newest
    assert read_json(RECEIPT)[str(TABLE)]["sha256"] == sha256(TABLE)


def test_what_was_made_of_other_inputs_is_older_than_they_are():
    """Whatever the clock said when the input was made again, and the run was killed."""
    first = Path("results/first.txt")
    first.write_text("one", encoding="utf-8")
    receipts.write_receipt([str(first)])
    receipts.write_receipt([str(TABLE)], [str(first), "data.txt"])
    made = read_json(RECEIPT)[str(TABLE)]["modified_ns"]
    # the same again, and by a clock that had gone back
    for text, older in (("one", False), ("two", True), ("two", True), ("one", False)):
        first.write_text(text, encoding="utf-8")
        set_age(first, 3600)
        receipts.write_receipt([str(first)])
        assert settle() == []
        assert (TABLE.stat().st_mtime_ns < first.stat().st_mtime_ns) == older
        assert older or TABLE.stat().st_mtime_ns == made
    # a receipt of before says nothing of inputs
    receipt = read_json(RECEIPT)
    assert sorted(receipt.pop("made_of")) == ["data.txt", str(first)]
    first.write_text("two", encoding="utf-8")
    receipts.write_receipt([str(first)])
    write_json(RECEIPT, receipt)
    assert settle() == []
    assert TABLE.stat().st_mtime_ns == made


@pytest.mark.parametrize("place", ["results", ".snakemake"])
def test_a_folder_that_cannot_be_written_is_named(monkeypatch, place):
    write = files._temporary

    def refuse(path):
        if path.parent == Path(place):
            raise OSError(errno.EROFS, "Read-only file system")
        return write(path)

    monkeypatch.setattr(files, "_temporary", refuse)
    with pytest.raises(DataError, match=rf"^Could not write {re.escape(place)}: Read-only file"):
        settle()


def test_records_of_snakemake_lie_among_the_results(project):
    own = Path(".snakemake/metadata/@nested")
    own.mkdir(parents=True)
    (own / "record").write_text("{}", encoding="utf-8")
    for _ in range(2):
        settle()
        assert Path(".snakemake/metadata").is_symlink()
        assert (own / "record").resolve().is_relative_to(project / "results")
        assert (own / "record").read_text(encoding="utf-8") == "{}"


def test_content_decides_about_files_that_no_job_makes(monkeypatch):
    Path("more.txt").write_text("more", encoding="utf-8")
    both = receipts.content_hash("data.txt", "more.txt")
    set_age("data.txt", -3600)
    assert receipts.content_hash("data.txt", "more.txt", "missing.txt") == both
    Path("data.txt").write_text("DATA", encoding="utf-8")
    set_age("data.txt", 7200)
    changed = receipts.content_hash("data.txt", "more.txt")
    assert changed != both
    # remembered by the next process, and damaged memory is no harm
    memory = receipts._MEMORY
    for text in (memory.read_text(encoding="utf-8"), "{", "[]", '{"data.txt": 1}'):
        memory.write_text(text, encoding="utf-8")
        receipts._read_memory.cache_clear()
        with monkeypatch.context() as patch:
            if "more.txt" in text:
                patch.setattr(receipts, "sha256", lambda path: pytest.fail(f"{path} was read"))
            assert receipts.content_hash("data.txt", "more.txt") == changed
