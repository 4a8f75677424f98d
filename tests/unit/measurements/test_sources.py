"""What a measurement reads: its data sets, and every potential with its test frames."""

import numpy as np
import pytest
import torch
from made_up_trainings import frames_of, sources, training, water_clusters

from gnnip import kinds, models
from gnnip.errors import DataError
from gnnip.files import read_csv
from gnnip.measurements.kinds import KINDS
from gnnip.units import HARTREE


@pytest.fixture
def water():
    clusters = water_clusters(5, 0.1, np.random.default_rng(0))
    pushes = np.random.default_rng(1).normal(size=(60, 3))
    return frames_of(clusters, {"total": pushes}, total=HARTREE * np.arange(5.0))


def pair():
    model = models.build("pair", species=(1, 8), cutoff=4.0)
    torch.nn.init.constant_(model.coefficients, 0.1)
    return model


def test_a_potential_is_tested_on_the_data_sets_that_are_stated(water, tmp_path):
    own = training(tmp_path, pair(), [1, 3], "own")
    other = training(tmp_path, pair(), [2], "other", dataset="second")
    both = sources(tmp_path, [own, other], frames=water, second=water)
    # when they are those that were learned from, each has its own
    found = [(p.about["group"], p.about["dataset"], p.frames.tolist()) for p in both.potentials()]
    assert found == [("own", "frames", [1, 3]), ("other", "second", [2])]
    # another one is tested as a whole, on every potential
    transfer = sources(tmp_path, [own], frames=water, imported=water)
    found = [(p.about["dataset"], p.frames.tolist()) for p in transfer.potentials()]
    assert found == [("frames", [1, 3]), ("imported", [0, 1, 2, 3, 4])]
    thinned = [p.frames.tolist() for p in transfer.potentials(max_frames=2)]
    assert thinned == [[1, 3], [0, 4]]


def test_graphs_are_built_once_for_potentials_of_one_cutoff(water, tmp_path):
    trainings = [training(tmp_path, pair(), [1, 3], seed=seed) for seed in (0, 1)]
    trainings.append(training(tmp_path, pair(), [2], seed=2))
    first, second, third = sources(tmp_path, trainings, frames=water).potentials()
    assert first.store is second.store
    assert third.store is not second.store
    assert [p.about["seed"] for p in (first, second, third)] == [0, 1, 2]
    assert "dataset" not in first.about


@pytest.mark.parametrize("kind", ["symmetry_audit", "force_audit", "local_forces", "charge_probe"])
def test_predictions_without_test_frames_are_refused(kind, water, tmp_path):
    found = sources(tmp_path, [training(tmp_path, pair(), [])], frames=water)
    with pytest.raises(DataError, match="holds no test frames"):
        kinds.work(KINDS[kind].function)(found, KINDS[kind]())


def test_missing_and_empty_tables_are_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv does not exist: run the workflow to the end"):
        read_csv(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(DataError, match=r"a\.csv is empty: delete it"):
        read_csv(tmp_path / "a.csv")
