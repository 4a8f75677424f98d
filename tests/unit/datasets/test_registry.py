import pytest
import yaml

from gnnip import datasets
from gnnip.datasets import registry, store
from gnnip.errors import DataError
from gnnip.files import sha256


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A registry with one archive, found from the current folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    archive = folder / "drops.h5"
    archive.write_bytes(b"0123456789")
    entry = {
        "title": "Drops",
        "file": "drops.h5",
        "sha256": sha256(archive),
        "bytes": 10,
        "n_frames": 4,
        "reference": "exact",
        "licence": "CC-BY-4.0",
        "made": {"rule": "assemble_dataset", "seed": 1},
    }
    (folder / "registry.yaml").write_text(yaml.safe_dump({"drops": entry}))
    monkeypatch.chdir(tmp_path)
    return archive


def test_names_and_description(shelf):
    assert datasets.names() == ["drops"]
    table = datasets.describe()
    assert table.loc[0, "name"] == "drops"
    assert table.loc[0, "frames"] == 4
    assert bool(table.loc[0, "present"])


def test_the_engine_is_named_with_its_version():
    made = {"engine": "xtb method=GFN1-xTB accuracy=1", "engine_version": "xtb 0.8.0", "gnnip": "1"}
    assert registry.engine({"made": made}) == "xtb 0.8.0"
    assert registry.engine({"made": {"gnnip": "0.1.0"}}) == "gnnip 0.1.0"
    assert registry.engine({"made": {}}) == ""


def test_good_archive_passes(shelf):
    assert registry.check_archive("drops") == shelf


def test_unknown_data_set_is_answered_with_the_nearest(shelf):
    with pytest.raises(DataError, match="'drop' is not in the registry, did you mean 'drops'"):
        registry.check_archive("drop")
    with pytest.raises(DataError, match="did you mean 'drops'"):
        datasets.load("dropz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"drops\.h5 is missing; restore it with 'git checkout"),
        (b"01234", "is truncated, 5 bytes where the registry says 10"),
        (b"0123456780", "does not have the registered checksum; restore"),
    ],
)
def test_archives_that_are_not_as_registered(shelf, content, message):
    shelf.unlink()
    if content is not None:
        shelf.write_bytes(content)
    with pytest.raises(DataError, match=message):
        registry.check_archive("drops")
    assert datasets.describe().loc[0, "present"] == (content is not None)


def test_damaged_registry(shelf):
    path = shelf.parent / "registry.yaml"
    path.write_text("drops: {file: drops.h5}")
    with pytest.raises(DataError, match="'drops' lacks sha256, bytes, n_frames"):
        datasets.names()
    path.write_text("drops: [")
    with pytest.raises(DataError, match="is not valid YAML"):
        datasets.names()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bytes": "ten"}, "bytes is 'ten'.*type int"),
        ({"bytes": True}, "bytes is True"),
        ({"n_frames": 4.0}, "n_frames is 4.0"),
        ({"sha256": 12}, "sha256 is 12.*type str"),
        ({"made": []}, "made is .*type dict"),
        ({"reference": None}, "reference is None"),
        ({"file": "../drops.h5"}, "only a name may stand there"),
        ({"kind": "movie"}, "of the kind 'movie'"),
    ],
)
def test_entries_of_another_type(shelf, change, said):
    path = shelf.with_name("registry.yaml")
    entries = yaml.safe_load(path.read_text())
    entries["drops"] |= change
    path.write_text(yaml.safe_dump(entries))
    with pytest.raises(DataError, match=said) as caught:
        registry.load_registry()
    assert "drops" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [("- a", "must hold a mapping"), ("a: 3", "'a' must hold a mapping"), ("a:", "lacks file")],
)
def test_a_registry_of_another_kind(shelf, text, said):
    shelf.with_name("registry.yaml").write_text(text)
    with pytest.raises(DataError, match=said):
        registry.load_registry()


@pytest.mark.parametrize(
    "name", ["../victim", "a b", "a;b", "A", "", "1a", ".a", "a/b", "a.b", "ä", "a\n", "-a"]
)
def test_names_that_no_data_set_may_have(shelf, name):
    with pytest.raises(DataError, match="cannot be called"):
        registry.check_name(name, "made.h5", replace=True)


def test_a_name_that_is_taken(shelf):
    registry.check_name("new", "made.h5")
    registry.check_name("drops", "made.h5", replace=True)
    registry.check_name("drops", shelf)
    shelf.with_name("stray.h5").touch()
    for name in ("drops", "stray"):
        with pytest.raises(DataError, match="already; say --replace"):
            registry.check_name(name, "made.h5")


def test_register_writes_what_the_file_says(shelf, made_frames):
    path = shelf.parent / "registry.yaml"
    path.write_text("# a comment that stays\n" + path.read_text())
    archive = shelf.parent / "new.h5"
    store.write_frames(archive, made_frames(), attributes={"seed": 3, "numpy": "2.0"})
    facts = {"title": "New", "reference": "exact", "licence": "MIT", "made": {"rule": "by hand"}}
    registry.register("new", archive, **facts)
    assert path.read_text().startswith("# a comment that stays\n")
    assert datasets.names() == ["drops", "new"]
    assert registry.check_archive("new") == archive
    entry = registry.find_entry("new")
    assert (entry["n_frames"], entry["n_atoms"]) == (3, 30)
    assert entry["made"] == {"rule": "by hand", "seed": 3, "numpy": "2.0"}
    assert len(datasets.load("new")) == 3
    with pytest.raises(DataError, match="must lie in"):
        registry.register("new", shelf.parent.parent / "new.h5", **facts)


def test_no_registry(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "registry.py"))
    with pytest.raises(DataError, match="was not found; run inside a checkout"):
        registry.registry_path()
