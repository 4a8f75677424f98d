"""What a measurement reads: data sets and trained potentials, each with its own test frames."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gnnip.errors import DataError
from gnnip.measurements.selection import spread_evenly, terms_of
from gnnip.training.outputs import read_predictions

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays
    from gnnip.graphs import GraphStore
    from gnnip.models.contract import Potential


@dataclass(frozen=True)
class Training:
    """A finished training.

    folder : where its files are.  group, cell, seed : its place in the card.  keys : the values of
    the group's matrix.  dataset : name of the data set that it was trained on.
    """

    folder: Path
    group: str
    cell: str
    seed: int
    dataset: str
    keys: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return group/cell/seed-n, which names the potential in tables of dynamics."""
        return f"{self.group}/{self.cell}/seed-{self.seed}"

    @property
    def model(self) -> Path:
        """Return the file of the weights."""
        return self.folder / "model.safetensors"

    @property
    def about(self) -> dict[str, Any]:
        """Return group, cell and seed, as columns of a table."""
        return {"group": self.group, "cell": self.cell, "seed": self.seed}

    def test_frames(self) -> np.ndarray:
        """Return the numbers of its test frames, ascending; DataError when it has none."""
        table = read_predictions(self.folder)
        frames = np.sort(table.loc[table["subset"] == "test", "frame"].to_numpy(dtype=int))
        if not len(frames):
            raise DataError(
                f"{self.folder / 'predictions.csv'} holds no test frames; train again with a test "
                "set."
            )
        return frames


@dataclass(frozen=True)
class Trained:
    """A potential and the frames of one data set that it is tested on.

    frames : their numbers in the data set.  test : the frames.  store : their graphs.
    about : group, cell and seed of the training, and the data set where there are several.
    """

    training: Training
    model: Potential
    frames: np.ndarray
    test: FrameArrays
    store: GraphStore
    about: Mapping[str, Any]

    @property
    def terms(self) -> tuple[str, ...]:
        """Return the energy terms of the frames whose sum the potential learned."""
        return terms_of(self.test, str(self.model.training_record["term"]))


@dataclass(frozen=True)
class Sources:
    """Data sets by name, trained potentials, trajectories of dynamics by the name of what moved the
    atoms, and where the work is done.

    When the data sets are those that the trainings learned from, each potential is tested on its
    own. Otherwise, as where a card states another one, each is tested on all of them: on the test
    frames of its own and on all frames of the others.
    """

    datasets: Mapping[str, Path]
    trainings: Sequence[Training] = ()
    trajectories: Mapping[str, Path] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 1

    @classmethod
    def read(cls, values: Mapping[str, Any], device: str = "cpu", threads: int = 1) -> Sources:
        """Build from the plain values that `gnnip.config.pipeline` gives a job."""
        return cls(
            {name: Path(path) for name, path in values["datasets"].items()},
            [Training(**{**t, "folder": Path(t["folder"])}) for t in values["trainings"]],
            {name: Path(path) for name, path in values["trajectories"].items()},
            device,
            threads,
        )

    def arrays(self, dataset: str | None = None) -> FrameArrays:
        """Return the frames of a data set (eV, Angstrom); of the first one by default."""
        return load_frames(self.datasets[dataset or next(iter(self.datasets))])

    def tested(self, training: Training) -> list[str]:
        """Return the data sets that the potential of a training is tested on."""
        learned = {t.dataset for t in self.trainings}
        return [training.dataset] if learned == set(self.datasets) else list(self.datasets)

    def potentials(self, max_frames: int | None = None) -> Iterator[Trained]:
        """Yield each potential with its frames in a data set, evenly thinned out to `max_frames`.

        DataError for predictions without test frames.
        """
        from gnnip.models import load

        # one test set of a data set at a time: large ones fill the memory
        stores: dict[str, tuple[Any, GraphStore]] = {}
        for training in self.trainings:
            model = load(training.model, device=self.device)
            for dataset in self.tested(training):
                arrays = self.arrays(dataset)
                frames = np.arange(arrays.n_frames)
                if dataset == training.dataset:
                    frames = training.test_frames()
                if max_frames is not None:
                    frames = spread_evenly(frames, max_frames)
                test = arrays.subset(frames)
                key = (model.cutoff, model.dtype, frames.tobytes())
                if dataset not in stores or stores[dataset][0] != key:
                    stores.pop(dataset, None)
                    stores[dataset] = (key, _graphs(test, model))
                about = training.about
                if len(self.datasets) > 1:
                    about["dataset"] = dataset
                yield Trained(training, model, frames, test, stores[dataset][1], about)


def _graphs(frames: FrameArrays, model: Potential) -> GraphStore:
    from gnnip.graphs import GraphStore

    return GraphStore.from_frames(frames, model.cutoff, device=str(model.device), dtype=model.dtype)


@functools.lru_cache(maxsize=2)
def load_frames(path: Path) -> FrameArrays:
    """Return the frames of an archive (eV, Angstrom); read once."""
    from gnnip.datasets.store import load_arrays

    return load_arrays(path)
