"""Whatever is changed in a card, a spec, a description or an archive: a result or one sentence."""

from __future__ import annotations

import copy
import json
import shutil

import h5py
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnnip import models
from gnnip.config import papers
from gnnip.config.resolve import resolve
from gnnip.config.schema import Config
from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.store import read_frames, write_frames
from gnnip.errors import GnnipError
from gnnip.strict import validate
from gnnip.training.run import read_spec

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.floats(),
    st.text(max_size=6),
    st.lists(st.integers(-3, 9) | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(-3, 9), max_size=2),
    st.sampled_from([10**9, 10**30, "../x", "a b", 1e308, [[]], {"": {}}, [None], "nan", "\0"]),
)


def places(value, path=()):
    """Yield the path of everything in lists and mappings."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in list(parts):
        yield (*path, key)
        if isinstance(part, dict | list):
            yield from places(part, (*path, key))


@st.composite
def changed(draw, original):
    """Return a copy in which up to three values are others, gone, or called something else."""
    value = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        *path, key = draw(st.sampled_from(list(places(value))))
        place = value
        for step in path:
            place = place[step]
        how = draw(st.sampled_from(["other", "other", "gone", "renamed"]))
        if how == "renamed" and isinstance(place, dict):
            place[draw(st.text(max_size=5))] = place.pop(key)
        elif how == "gone" and len(value) > 1:
            del place[key]
        else:
            place[key] = draw(ODD)
    return value


@st.composite
def damaged(draw, content: bytes):
    """Return bytes with a piece cut out, doubled or replaced."""
    start = draw(st.integers(0, len(content) - 1))
    end = draw(st.integers(start, min(len(content), start + 64)))
    piece = draw(
        st.sampled_from([b"", content[start:end] * 2, b"\xff\xfe", b"\0" * 8, b"{[", b": "])
    )
    return content[:start] + piece + content[end:]


COUNTS = pytest.mark.parametrize("count", [4, pytest.param(50, marks=pytest.mark.slow)])


def try_many(count, strategy, check) -> None:
    """Check so many examples, the same in every run."""
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
    how = {"deadline": None, "database": None, "derandomize": True}

    @settings(max_examples=count, suppress_health_check=quiet, **how)
    @given(strategy)
    def run(example) -> None:
        check(example)

    run()


def sentence(read, *arguments) -> None:
    """Read, which may work; a complaint is one line with an end."""
    try:
        read(*arguments)
    except GnnipError as error:
        said = str(error)
        assert "\n" not in said, said
        assert len(said) < 2000, said


@COUNTS
def test_cards(count, tmp_path, root):
    text = (root / "docs/add_a_paper.md").read_text(encoding="utf-8")
    card = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    hyperparameters = {"species": [29], "cutoff": 4.0}  # its model is in a file of the example
    card["trainings"]["springs"] |= {"model": "pair", "hyperparameters": hyperparameters}
    place = tmp_path / "mine" / "card.yaml"
    place.parent.mkdir()

    def check(value) -> None:
        place.write_text(yaml.safe_dump(value), encoding="utf-8")
        sentence(resolve, "mine", "quick", Config(), tmp_path)

    check(card)
    resolve("mine", "quick", Config(), tmp_path)
    try_many(count, changed(card), check)


@COUNTS
def test_configs(count):
    config = Config(sources={"hfo2": "generate"}).model_dump()
    try_many(count, changed(config), lambda value: sentence(validate, Config, value, "config"))


@COUNTS
def test_text_of_a_card(count, tmp_path, root):
    content = (root / "papers/hoedl2022/card.yaml").read_bytes()
    path = tmp_path / "card.yaml"

    def check(value) -> None:
        path.write_bytes(value)
        sentence(papers.read_yaml, path)

    try_many(count, damaged(content), check)


@COUNTS
def test_specs(count, tmp_path):
    training = {
        "folder": "out",
        "data": "frames.h5",
        "model": "pair",
        "hyperparameters": {"species": [1, 8], "n_radial": 4, "cutoff": 3.0},
        "term": "total",
        "split": {"scheme": "random", "test_fraction": 0.2, "where": {"state": ["surface"]}},
        "settings": {"epochs": 1, "batch_size": 4, "learning_rate": 0.01, "seed": 1},
    }
    path = tmp_path / "spec.json"

    def check(value) -> None:
        path.write_text(json.dumps(value), encoding="utf-8")
        sentence(read_spec, path)

    try_many(count, changed({"trainings": [training, {**training, "folder": "b"}]}), check)


@COUNTS
def test_descriptions_of_potentials(count, tmp_path):
    model = models.build("pair", species=(1, 8), cutoff=3.0)
    model.species = (1, 8)
    weights, description = models.save(model, tmp_path / "model")
    original = json.loads(description.read_text(encoding="utf-8"))

    def check(value) -> None:
        description.write_text(json.dumps(value), encoding="utf-8")
        sentence(models.load, weights)

    try_many(count, changed(original), check)


@COUNTS
@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_bytes_of_potentials(count, name, tmp_path):
    models.save(models.build("pair", species=(1, 8), cutoff=3.0), tmp_path / "model")
    content = (tmp_path / name).read_bytes()

    def check(value) -> None:
        (tmp_path / name).write_bytes(value)
        sentence(models.load, tmp_path)

    try_many(count, damaged(content), check)


@pytest.fixture
def archive(tmp_path):
    frames = FrameArrays(
        np.random.default_rng(0).normal(size=(6, 3)),
        np.array([1, 1, 8, 1, 1, 8]),
        np.array([0, 3, 6]),
        {"total": np.array([-1.0, -2.0])},
        {"total": np.zeros((6, 3))},
        {"state": np.array(["a", "b"])},
        units={"positions": "Angstrom", "energies": "eV", "forces": "eV/Angstrom"},
    )
    path = tmp_path / "frames.h5"
    write_frames(path, frames, attributes={"title": "two"})
    return path


@COUNTS
def test_bytes_of_archives(count, archive):
    content = archive.read_bytes()

    def check(value) -> None:
        archive.write_bytes(value)
        sentence(read_frames, archive)

    try_many(count, damaged(content), check)


ARRAYS = ("positions", "numbers", "offsets", "energies/total", "forces/total", "metadata/state")
CONTENTS = (
    np.zeros(0),
    np.zeros((6, 2)),
    np.full(6, np.nan),
    np.full((6, 3), np.inf),
    np.array([0, 3, 5]),
    np.array([0, -3, 6]),
    np.array(["a", "b"], dtype="S1"),
    np.array(3),
    np.array([True, False]),
    np.full(6, 300),
)


@COUNTS
def test_contents_of_archives(count, archive, tmp_path):
    other = tmp_path / "other.h5"

    def check(change) -> None:
        name, content, units = change
        shutil.copy(archive, other)
        with h5py.File(other, "r+") as file:
            attributes = dict(file[name].attrs)
            del file[name]
            if content is not None:
                file[name] = content
                file[name].attrs.update(attributes if units is None else {"units": units})
        sentence(read_frames, other)

    contents = st.none() | st.sampled_from(CONTENTS)
    units = st.none() | st.sampled_from(["eV", "parsec", 3, ""])
    try_many(count, st.tuples(st.sampled_from(ARRAYS), contents, units), check)
