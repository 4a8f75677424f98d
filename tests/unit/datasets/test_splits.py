import numpy as np
import pytest

from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.splits import make_split
from gnnip.errors import ConfigError, DataError

SIZES = (20, 32, 47, 76, 100, 139, 190, 237)


def catalogue(sizes=SIZES, replicas=4, temperatures=(200, 150, 100, 50), frames=10):
    """The metadata of a data set; one atom per frame is enough."""
    rows = [
        (n, t, f"n{n:03d}-r{r}")
        for n in sizes
        for r in range(replicas)
        for t in temperatures
        for _ in range(frames)
    ]
    size, temperature, trajectory = (np.array(c) for c in zip(*rows, strict=True))
    count = len(rows)
    return FrameArrays(
        positions=np.zeros((count, 3)),
        numbers=np.ones(count, dtype=int),
        offsets=np.arange(count + 1),
        energies={"atomic": np.zeros(count)},
        metadata={
            "n_molecules": size,
            "temperature_k": temperature.astype(float),
            "trajectory": trajectory,
        },
    )


def check_parts(split):
    together = np.concatenate(list(split.values()))
    assert len(np.unique(together)) == len(together), "the parts overlap"
    assert list(split) == ["train", "validation", "test"]
    for part in split.values():
        assert len(part) > 0
        assert (np.diff(part) > 0).all()
    return together


def test_random_split_is_the_papers():
    split = make_split(catalogue(), "random", seed=0)
    assert len(check_parts(split)) == 1280
    assert {k: len(v) for k, v in split.items()} == {"train": 922, "validation": 102, "test": 256}


def test_trajectory_split_shares_no_trajectory():
    frames = catalogue()
    split = make_split(frames, "trajectory", seed=0)
    assert len(check_parts(split)) == 1280
    names = {k: set(frames.metadata["trajectory"][v]) for k, v in split.items()}
    assert not names["train"] & names["test"]
    assert not names["train"] & names["validation"]
    assert not names["validation"] & names["test"]
    sizes = {k: set(frames.metadata["n_molecules"][v]) for k, v in split.items()}
    assert sizes["test"] == set(SIZES)
    assert sizes["train"] == set(SIZES)
    assert {k: len(v) for k, v in split.items()} == {"train": 800, "validation": 160, "test": 320}


def test_size_split_trains_small_and_tests_large():
    frames = catalogue()
    split = make_split(frames, "size", seed=0)
    check_parts(split)
    size = frames.metadata["n_molecules"]
    assert size[split["train"]].max() == 100
    assert size[split["validation"]].max() <= 100
    assert set(size[split["test"]]) == {139, 190, 237}
    trajectory = frames.metadata["trajectory"]
    assert not set(trajectory[split["train"]]) & set(trajectory[split["validation"]])


def test_size_split_borders_can_be_moved():
    frames = catalogue(sizes=(20, 32))
    split = make_split(frames, "size", 0, largest_train_size=20, smallest_test_size=32)
    check_parts(split)
    assert set(frames.metadata["n_molecules"][split["test"]]) == {32}


@pytest.mark.parametrize("scheme", ["random", "trajectory", "size"])
def test_seed_decides(scheme):
    frames = catalogue()
    one, two, three = (make_split(frames, scheme, seed)["train"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, three)


@pytest.mark.parametrize("scheme", ["random", "trajectory"])
def test_subset_is_even_over_the_ensembles(scheme):
    frames = catalogue()
    chosen = check_parts(make_split(frames, scheme, 3, max_frames=320))
    assert len(chosen) == 320
    keys = np.stack([frames.metadata["n_molecules"], frames.metadata["temperature_k"]], axis=1)
    _, counts = np.unique(keys[chosen], axis=0, return_counts=True)
    assert len(counts) == 32
    assert (counts == 10).all()
    other = check_parts(make_split(frames, "random", 4, max_frames=320))
    assert set(other) == set(chosen), "the subset must not depend on seed or scheme"


def test_fewer_training_frames_hold_out_the_same_ones():
    frames = catalogue()
    whole = make_split(frames, "random", 3)
    few, more = (make_split(frames, "random", 3, train_frames=n) for n in (25, 100))
    assert (len(few["train"]), len(more["train"])) == (25, 100)
    assert set(few["train"]) < set(more["train"]) < set(whole["train"])
    for part in ("validation", "test"):
        np.testing.assert_array_equal(few[part], whole[part])
    with pytest.raises(DataError, match="gives 922 training frames and 1000 are asked for"):
        make_split(frames, "random", 3, train_frames=1000)


def test_sizes_can_be_chosen():
    frames = catalogue()
    chosen = check_parts(make_split(frames, "random", 0, sizes=[20, 47]))
    assert set(frames.metadata["n_molecules"][chosen]) == {20, 47}


def test_mistakes_are_named():
    frames = catalogue(sizes=(20,), replicas=1)
    with pytest.raises(ConfigError, match="did you mean 'trajectory'"):
        make_split(frames, "trajectories", 0)
    with pytest.raises(ConfigError, match=r"no option 'test_fractoin', did you mean 'test_frac"):
        make_split(frames, "random", 0, test_fractoin=0.1)
    with pytest.raises(DataError, match="trajectory split leaves no validation frames out of 40"):
        make_split(frames, "trajectory", 0)
    with pytest.raises(DataError, match="size split leaves no validation"):
        make_split(frames, "size", 0)


def sets_of_atoms(rows):
    """Frames of (atoms, trajectory), without a count of molecules."""
    atoms, names = zip(*rows, strict=True)
    return FrameArrays(
        positions=np.zeros((sum(atoms), 3)),
        numbers=np.ones(sum(atoms), dtype=int),
        offsets=np.concatenate([[0], np.cumsum(atoms)]),
        energies={"total": np.zeros(len(rows))},
        metadata={"trajectory": np.array(names)},
    )


def test_without_molecules_the_atoms_are_the_size():
    rows = [(n, f"{n}-{r}") for n in (3, 4) for r in range(9) for _ in range(2)]
    frames = sets_of_atoms(rows)
    split = make_split(frames, "trajectory", 0)
    assert len(check_parts(split)) == 36
    # of nine trajectories a quarter, rounded down
    assert {k: len(v) for k, v in split.items()} == {"train": 24, "validation": 4, "test": 8}
    assert set(frames.n_atoms[split["test"]]) == {3, 4}
    small = make_split(frames, "size", 0, largest_train_size=3, smallest_test_size=4)
    assert set(frames.n_atoms[small["test"]]) == {4}
    assert set(frames.n_atoms[check_parts(make_split(frames, "random", 0, sizes=[3]))]) == {3}


def test_where_every_size_is_one_trajectory_the_sizes_are_held_out():
    frames = sets_of_atoms([(n, f"molecule{n}") for n in (3, 4, 5) for _ in range(5)])
    split = make_split(frames, "trajectory", 0)
    check_parts(split)
    assert [len(set(frames.n_atoms[part])) for part in split.values()] == [1, 1, 1]


def test_a_trajectory_with_several_sizes_stays_together():
    rng = np.random.default_rng(0)
    rows = [(int(rng.integers(3, 6)), f"run{r}") for r in range(8) for _ in range(6)]
    frames = sets_of_atoms(rows)
    for seed in range(5):
        split = make_split(frames, "trajectory", seed)
        check_parts(split)
        parts = [set(frames.metadata["trajectory"][part]) for part in split.values()]
        assert sum(map(len, parts)) == len(set.union(*parts))
