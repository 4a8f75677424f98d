"""One trainer for every potential: best epoch by validation, exact continuation after a kill.

A training is a pure function of its arguments on a CPU: the order of batches and the dropout of an
epoch are seeded by (seed, epoch), so a checkpoint is the weights, the optimiser, the history and,
within an epoch, the number of steps done and the state of the random numbers; a run that was killed
and continued ends with the same weights as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gnnip.datasets.arrays import FrameArrays
from gnnip.errors import CheckpointError, ConfigError, ConvergenceError, DataError, GnnipError
from gnnip.files import atomic_path, read_json, write_json
from gnnip.graphs import GraphBatch, GraphStore
from gnnip.models import build, evaluate, predict, save
from gnnip.models.contract import Potential, TargetStatistics, choose_device
from gnnip.training.optimiser import Optimiser
from gnnip.training.progress import Progress
from gnnip.training.ranks import Ranks, local_device, open_ranks
from gnnip.training.results import SUBSETS, Labels, errors, write_history, write_predictions
from gnnip.training.schedule import Schedule
from gnnip.training.settings import Settings

if TYPE_CHECKING:
    from gnnip.training.compiled import CompiledEvaluation

RESULTS = ("model.safetensors", "model.json", "history.csv", "predictions.csv", "summary.json")
#: a training loss this many times its lowest value, so many epochs running, will not come back
DIVERGED_FACTOR, DIVERGED_EPOCHS = 100.0, 5
_EVALUATION_BATCH = 64

Stores = dict[tuple[Any, ...], GraphStore]


@dataclass
class _Run:
    """Everything that changes while a training runs; what a checkpoint holds.

    `step`, `sums` and `seconds` belong to the epoch that has begun: its steps done, what they add
    to `_Trainer.no_errors`, and the time they took.
    """

    epoch: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=list)
    seconds: float = 0.0
    best_epoch: int = 0
    best_loss: float = math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    wall_s: float = 0.0
    resumed: int = 0

    @property
    def place(self) -> str:
        """Return how far it has come, in words."""
        return f"epoch {self.epoch}" + (f", step {self.step}" if self.step else "")


def train(
    model_name: str,
    hyperparameters: Mapping[str, Any],
    arrays: FrameArrays,
    term: str,
    split: Mapping[str, NDArray[np.int64]],
    settings: Settings,
    folder: str | os.PathLike[str],
    progress: Callable[[str], object] | None = None,
    *,
    stores: Stores | None = None,
) -> dict[str, Any]:
    """Train one potential on one energy term and write its results into `folder`.

    Parameters
    ----------
    model_name, hyperparameters : as for `gnnip.models.build`.
    arrays : frames in eV and Angstrom.
    term : name of the energy term, or "total" for the sum of all.
    split : frame indices of "train", "validation" and "test" (which may be empty).
    progress : gets a line now and then; None shows a bar on a terminal, else prints the lines.
    stores : graphs to share between trainings of one process on the same frames.

    Returns
    -------
    The content of `summary.json`. The folder holds `model.safetensors` and `model.json` (best
    epoch), `history.csv`, `predictions.csv` (validation and test frames) and, last,
    `summary.json`. A folder that holds the results of the same training is left as it is. While it
    runs, `checkpoint.pt` holds the state; a call after a kill continues from it, and a checkpoint
    of another training is passed over. Checkpoints and the time limit fall between any two steps,
    so an epoch may be longer than both; results of less than one epoch are those of the weights as
    they are, with best_epoch 0 and an empty history.

    Raises
    ------
    ConfigError : unknown model, hyper-parameter or subset.
    DataError : labels that are not finite, unknown term, frames in two subsets, coinciding atoms.
    ConvergenceError : the loss was not finite before any epoch was completed.
    CheckpointError : a damaged checkpoint.
    """
    training: dict[str, Any] = {
        "model_name": model_name,
        "hyperparameters": hyperparameters,
        "arrays": arrays,
        "term": term,
        "split": split,
        "folder": folder,
    }
    with open_ranks(settings, training) as ranks:
        return train_rank(ranks, settings, **training, progress=progress, stores=stores)


def train_rank(
    ranks: Ranks,
    settings: Settings,
    model_name: str,
    hyperparameters: Mapping[str, Any],
    arrays: FrameArrays,
    term: str,
    split: Mapping[str, NDArray[np.int64]],
    folder: str | os.PathLike[str],
    progress: Callable[[str], object] | None = None,
    stores: Stores | None = None,
) -> dict[str, Any]:
    """Take part in a training as one of its processes; the first one writes. See `train`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts = _check_split(split, arrays.n_frames)
    used = np.concatenate(list(parts.values()))
    labels = _labels(arrays, term, used, settings)

    seed_everything(settings.seed, -1)
    model = build(model_name, **hyperparameters)
    identity = _identity(model, arrays, used, labels, parts, term, settings)
    if ranks.agree(ranks.first and _finished(folder, identity, settings)):
        return dict(read_json(folder / "summary.json"))
    _check_parallel(model, ranks)

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    torch.set_float32_matmul_precision("highest")
    device = choose_device(local_device(settings, ranks))
    dtype = getattr(torch, settings.dtype)
    model.to(device=device, dtype=dtype)

    subset = arrays.subset(used)
    model.check_species(subset.numbers)
    store = _store(subset, used, model.cutoff, device, dtype, stores)
    known, trained = model.parts()
    left, store_left = labels, store
    if known is not None:
        left = _labels_left(labels, known, subset, used, store)
        if trained.cutoff != model.cutoff:
            store_left = _store(subset, used, trained.cutoff, device, dtype, stores)
    store_left = store_left.with_labels(left.energy, left.forces, left.stress)
    bounds = np.cumsum([0, *(len(p) for p in parts.values())])
    rows = {name: torch.arange(bounds[k], bounds[k + 1]) for k, name in enumerate(SUBSETS)}
    train_rows = rows["train"].numpy()
    train_atoms = _atoms_of(subset.offsets, train_rows)
    statistics = TargetStatistics.measure(
        left.energy[train_rows],
        subset.numbers[train_atoms],
        np.concatenate([[0], np.cumsum(subset.n_atoms[train_rows])]),
        store_left.mean_neighbours,
        None if left.forces is None else left.forces[train_atoms],
    )
    model.calibrate(statistics)
    model.species = tuple(int(z) for z in np.unique(subset.numbers[train_atoms]))
    unseen = sorted({int(z) for z in np.unique(subset.numbers)} - set(model.species))
    if unseen:
        raise DataError(
            f"Validation or test frames hold the atomic numbers {unseen}, which no training frame "
            "has; split the frames in another way."
        )

    checkpoint = folder / "checkpoint.pt"
    trainer = _Trainer(trained, store_left, rows, settings, checkpoint, identity, ranks)
    if trainer.restore():
        trainer.run.resumed += 1
    ranks.wait()  # until all have read the checkpoint
    bar = Progress(settings.epochs, trainer.run.epoch, progress if ranks.first else _silent)
    bar.say(
        f"{model_name} on {term}: {model.n_parameters} parameters, {len(rows['train'])} training "
        f"frames, {store.mean_neighbours:.1f} neighbours per atom, {device}"
        + (f", {ranks.size} processes" if ranks.size > 1 else "")
        + (f", continued at {trainer.run.place}" if trainer.run.resumed else "")
    )
    if settings.compile:
        trainer.compile(bar)
    try:
        stopped = trainer.fit(bar)
    finally:
        bar.close()

    if not ranks.first:
        ranks.wait()  # until the files are written
        return dict(read_json(folder / "summary.json"))
    run = trainer.run
    trained.load_state_dict(run.best_weights)
    model.eval()
    model.training_record = {"term": term, "model": model_name, "seed": settings.seed}
    save(model, folder / "model")
    predicted = predict(
        model,
        store,
        batch_size=trainer.evaluation_batch,
        forces=trainer.forces,
        stress=trainer.stress,
    )
    by_name = {name: r.numpy() for name, r in rows.items()}
    write_history(folder / "history.csv", trainer.history_columns, run.history)
    write_predictions(folder / "predictions.csv", subset, used, by_name, labels, predicted)
    summary = {
        "model": model_name,
        "hyperparameters": asdict(model.hyperparameters),
        "term": term,
        "settings": asdict(settings),
        "best_epoch": run.best_epoch,
        "epochs_run": run.epoch,
        "stopped": stopped,
        **errors(labels, predicted, subset.n_atoms, by_name),
        "n_parameters": model.n_parameters,
        **{f"n_{name}": len(r) for name, r in rows.items()},
        "mean_neighbours": store.mean_neighbours,
        "wall_s": run.wall_s,
        "seconds_per_epoch": (
            float(np.median([h["seconds"] for h in run.history])) if run.history else None
        ),
        "peak_memory_mb": _peak_memory_mb(device),
        "compiled": trainer.compiled is not None,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "resumed": run.resumed,
        "identity": identity,
    }
    summary = json.loads(json.dumps(summary))  # as it will be read: lists for tuples
    write_json(folder / "summary.json", summary)
    if stopped != "time limit":
        checkpoint.unlink(missing_ok=True)
    ranks.wait()
    return summary


@dataclass(frozen=True)
class _Errors:
    """Means over a subset: loss, absolute energy error (eV), RMSE of force components (eV/A)."""

    loss: float
    energy_mae: float
    force_rmse: float | None = None

    def __str__(self) -> str:
        """Return them as a progress line shows them."""
        energy = f"{self.energy_mae:.4g} eV"
        return energy if self.force_rmse is None else f"{energy} {self.force_rmse:.4g} eV/A"


@dataclass(frozen=True)
class _Share:
    """What one process does of a batch, perhaps nothing, and the structures and atoms of all."""

    batch: GraphBatch | None
    graphs: int
    atoms: int


class _Trainer:
    """The loop over epochs and what it keeps."""

    def __init__(
        self,
        model: Potential,
        store: GraphStore,
        rows: dict[str, Tensor],
        settings: Settings,
        path: Path,
        identity: str,
        ranks: Ranks,
    ) -> None:
        self.ranks = ranks
        self.model, self.store, self.rows, self.settings = model, store, rows, settings
        self.path, self.identity = path, identity
        self.forces, self.stress = settings.force_weight > 0, settings.stress_weight > 0
        self.trainable = [p for p in model.parameters() if p.requires_grad]
        # a force needs the memory of a backward pass, so evaluation takes steps like training's
        self.evaluation_batch = (
            min(_EVALUATION_BATCH, 2 * settings.batch_size)
            if self.forces or self.stress
            else _EVALUATION_BATCH
        )
        self.optimiser = Optimiser(model.parameters(), settings.optimiser, settings.weight_decay)
        self.schedule = Schedule(settings)
        self.average = (
            AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
            if settings.ema is not None
            else None
        )
        self.run = _Run()
        self.compiled: CompiledEvaluation | None = None
        self.random_state: dict[str, Tensor] = {}
        self.begun = self.saved = time.perf_counter()
        self.say: Callable[[str], object] = print

    @property
    def judged(self) -> Potential:
        """The model that is validated and saved."""
        return self.model if self.average is None else self.average.module  # type: ignore[return-value]

    def compile(self, bar: Progress) -> None:
        """Compile the steps, where that can be done; the time it takes counts as training."""
        from gnnip.training.compiled import compile_evaluation

        self.say, begun = bar.say, time.perf_counter()
        self.compiled = compile_evaluation(
            self.model,
            self.store,
            self.rows["train"],
            math.ceil(self.settings.batch_size / self.ranks.size),
            self.forces,
            self.stress,
            bar.say,
        )
        self.run.wall_s += time.perf_counter() - begun

    @property
    def history_columns(self) -> list[str]:
        """Names of the columns of `history.csv`."""
        energy = ["epoch", "train_loss", "train_mae_ev", "validation_mae_ev"]
        force = ["train_force_rmse_ev_per_a", "validation_force_rmse_ev_per_a"]
        return [*energy, *(force if self.forces else []), "learning_rate", "seconds"]

    def fit(self, bar: Progress) -> str:
        """Run the remaining epochs; return why it ended."""
        s, run = self.settings, self.run
        self.begun = time.perf_counter() - run.wall_s
        while run.epoch < s.epochs:
            rate = self.schedule.rate(run.epoch)
            up = self.ranks.agree(self.time_is_up())
            train = None if up else self.train_epoch(run.epoch)
            if train is None:
                self.checkpoint()
                return "time limit" if run.best_weights else self.judge_unfinished(bar)
            before = time.perf_counter()
            validation = self.validate()
            run.seconds += time.perf_counter() - before
            run.wall_s = time.perf_counter() - self.begun
            if not (math.isfinite(train.loss) and math.isfinite(validation.loss)):
                return self.diverged(bar, f"the loss of epoch {run.epoch + 1} is not finite")
            self.schedule.observe(validation.loss)
            run.epoch += 1
            if validation.loss < run.best_loss:
                run.best_loss, run.best_epoch = validation.loss, run.epoch
                run.best_weights = self.weights()
            run.history.append(
                {
                    "epoch": run.epoch,
                    "train_loss": train.loss,
                    "train_mae_ev": train.energy_mae,
                    "validation_mae_ev": validation.energy_mae,
                    **self.force_columns(train, validation),
                    "learning_rate": rate,
                    "seconds": run.seconds,
                }
            )
            run.step, run.sums, run.seconds = 0, [], 0.0
            losses = [h["train_loss"] for h in run.history]
            if min(losses[-DIVERGED_EPOCHS:]) > DIVERGED_FACTOR * min(losses):
                return self.diverged(bar, f"the loss rose {DIVERGED_FACTOR:.0f}-fold and stayed")
            bar.step(
                run.epoch,
                f"train {train}, validation {validation}, "
                f"best epoch {run.best_epoch}, {run.history[-1]['seconds']:.2f} s",
            )
            if run.epoch < s.epochs and self.ranks.agree(self.checkpoint_is_due()):
                self.checkpoint()
        return "epochs"

    def time_is_up(self) -> bool:
        """Tell whether the time limit has come, which it never does before the first step."""
        limit, run = self.settings.time_limit_s, self.run
        return limit is not None and bool(run.epoch or run.step) and run.wall_s >= limit

    def judge_unfinished(self, bar: Progress) -> str:
        """Take the weights as they are for the best when not one epoch fitted into the time."""
        loss = self.validate().loss
        if not math.isfinite(loss):
            return self.diverged(bar, "the validation loss is not finite")
        self.run.best_weights = self.weights()
        bar.say(f"the time limit came at {self.run.place}, before the end of the first epoch")
        return "time limit"

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the weights that are validated."""
        return {k: v.detach().clone() for k, v in self.judged.state_dict().items()}

    def force_columns(self, train: _Errors, validation: _Errors) -> dict[str, float]:
        """Return the columns that the history of a training on forces has besides."""
        if train.force_rmse is None or validation.force_rmse is None:
            return {}
        return {
            "train_force_rmse_ev_per_a": train.force_rmse,
            "validation_force_rmse_ev_per_a": validation.force_rmse,
        }

    def train_epoch(self, epoch: int) -> _Errors | None:
        """Pass over what is left of an epoch; return the mean errors on the way, or None when the
        time limit came first."""
        s, run = self.settings, self.run
        order = seed_everything(s.seed, epoch)
        shuffled = self.rows["train"][torch.randperm(len(self.rows["train"]), generator=order)]
        self.model.train()
        steps = math.ceil(len(shuffled) / s.batch_size)
        totals = self.no_errors()
        if run.step and self.ranks.first:
            totals += torch.tensor(run.sums, dtype=totals.dtype, device=totals.device)
            set_random_state(self.random_state, self.store.device)
        done, spent, begun = run.step, run.seconds, time.perf_counter()
        for share in self.shares(shuffled[done * s.batch_size :], s.batch_size):
            if not self.ranks.first:  # other random numbers than those of the first process
                seed_everything(s.seed, epoch, run.step, self.ranks.rank)
            # the first step of a warm-up must move
            at = epoch + (run.step + 1) / steps if s.warmup_epochs else epoch
            totals += self.train_step(share, self.schedule.rate(at))
            run.step += 1
            now = time.perf_counter()
            run.seconds, run.wall_s = spent + now - begun, now - self.begun
            if run.step == steps:
                break
            up = self.time_is_up()
            if decision := self.ranks.agree(2 * up + (up or self.checkpoint_is_due())):
                run.sums = self.ranks.sum(totals).tolist()
                self.random_state = random_state(self.store.device)
                if decision > 1:
                    return None
                self.checkpoint()
        return self.mean(totals, shuffled)

    def shares(self, rows: Tensor, size: int) -> Iterator[_Share]:
        """Yield what this process does of the structures `rows` in batches of `size`."""
        for start in range(0, len(rows), size):
            whole = rows[start : start + size]
            mine = self.ranks.share(whole)
            yield _Share(
                self.store.batch(mine) if len(mine) else None, len(whole), self.store.n_atoms(whole)
            )

    def train_step(self, share: _Share, rate: float) -> Tensor:
        """Move the weights by one batch; return what its errors add to `no_errors`."""
        self.optimiser.zero_grad()
        loss, error = self.loss(self.model, share, create_graph=True)
        if self.trainable and share.batch is not None:
            # the gradient for the positions, which forces have made leaves, is not wanted
            loss.backward(inputs=self.trainable)
        self.ranks.sum_gradients(self.trainable)
        if self.settings.clip is not None:
            nn.utils.clip_grad_norm_(self.trainable, self.settings.clip)
        self.optimiser.step(rate)
        if self.average is not None:
            self.average.update_parameters(self.model)
        return error

    def validate(self) -> _Errors:
        """Return the errors of the validation subset."""
        model, rows = self.judged, self.rows["validation"]
        model.eval()
        totals = self.no_errors()
        with torch.no_grad():
            for share in self.shares(rows, self.evaluation_batch):
                totals += self.loss(model, share, create_graph=False)[1]
        return self.mean(totals, rows)

    def evaluate(
        self, model: Potential, batch: GraphBatch, create_graph: bool
    ) -> dict[str, Tensor]:
        """Return energies and what else is trained on, compiled where that can be."""
        if self.compiled is not None:
            try:
                found = self.compiled(model, batch, create_graph)
            except GnnipError:
                raise
            except Exception as error:  # a size that the compiler fails on
                self.say(f"steps are no longer compiled: {type(error).__name__}")
                self.compiled = found = None
            if found is not None:
                return found
        return evaluate(model, batch, self.forces, self.stress, create_graph)

    def loss(self, model: Potential, share: _Share, create_graph: bool) -> tuple[Tensor, Tensor]:
        """Return what a share adds to the loss of its batch, and to the sums of `no_errors`."""
        s, batch = self.settings, share.batch
        if batch is None:
            return torch.zeros(()), self.no_errors()
        of_structures = batch.n_graphs / share.graphs
        of_atoms = batch.positions.shape[0] / share.atoms
        output = self.evaluate(model, batch, create_graph)
        assert batch.energy is not None
        difference = output["energy"].double() - batch.energy
        sums = [difference.detach().abs().sum()]
        if s.per_atom:
            difference = difference / batch.n_atoms
        loss = of_structures * s.energy_weight * self.penalty(difference)
        if self.forces:
            assert batch.forces is not None
            difference = output["forces"] - batch.forces
            sums.append(difference.detach().double().square().sum())
            loss = loss + of_atoms * s.force_weight * self.penalty(difference)
        if self.stress:
            assert batch.stress is not None
            difference = output["stress"] - batch.stress
            loss = loss + of_structures * s.stress_weight * self.penalty(difference)
        return loss, torch.stack([loss.detach().double() * share.graphs, *sums])

    def no_errors(self) -> Tensor:
        """Return the zeros that sums over batches start from: loss times structures, absolute
        energy errors and, with forces, square errors of force components."""
        return torch.zeros(3 if self.forces else 2, dtype=torch.float64, device=self.store.device)

    def mean(self, totals: Tensor, rows: Tensor) -> _Errors:
        """Turn sums over the structures `rows`, of all processes, into means."""
        sums = self.ranks.sum(totals).tolist()
        components = 3 * self.store.n_atoms(rows)
        return _Errors(
            sums[0] / len(rows),
            sums[1] / len(rows),
            math.sqrt(sums[2] / components) if self.forces else None,
        )

    def penalty(self, difference: Tensor) -> Tensor:
        """Mean of the chosen function of the errors."""
        if self.settings.loss == "mae":
            return difference.abs().mean()
        if self.settings.loss == "mse":
            return difference.square().mean()
        zero = torch.zeros_like(difference)
        return nn.functional.huber_loss(difference, zero, delta=self.settings.huber_delta)

    def diverged(self, bar: Progress, reason: str) -> str:
        """Keep the best epoch if there is one, else give up."""
        if not self.run.best_weights:
            raise ConvergenceError(
                f"The training diverged: {reason}; lower the learning rate (now "
                f"{self.settings.learning_rate:g}) or clip the gradient."
            )
        bar.say(f"diverged: {reason}; the best epoch, {self.run.best_epoch}, is kept")
        return "diverged"

    def checkpoint_is_due(self) -> bool:
        """Tell whether the last checkpoint is old."""
        return time.perf_counter() - self.saved >= self.settings.checkpoint_interval_s

    def checkpoint(self) -> None:
        """Write the state atomically."""
        if not self.ranks.first:
            return
        state = {
            "identity": self.identity,
            "run": vars(self.run),
            "random_state": self.random_state if self.run.step else {},
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state(),
            "average": None if self.average is None else self.average.state_dict(),
        }
        with atomic_path(self.path) as temporary:
            torch.save(state, temporary)
        self.saved = time.perf_counter()

    def restore(self) -> bool:
        """Continue from a checkpoint of the same training; return whether there was one."""
        if not self.path.exists():
            return False
        try:
            state = torch.load(self.path, map_location=self.store.device, weights_only=True)
            if state["identity"] != self.identity:
                return False
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.schedule.restore(state["schedule"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            self.run = _Run(**state["run"])
            self.random_state = state["random_state"]
        except Exception as error:
            raise CheckpointError(
                f"The checkpoint {self.path} is damaged; delete it to start this training again."
            ) from error
        return True


def seed_everything(seed: int, epoch: int, *more: int) -> torch.Generator:
    """Seed torch for an epoch (-1: the initial weights) and return a generator for the order."""
    digest = hashlib.sha256("/".join(map(str, (seed, epoch, *more))).encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.Generator().manual_seed(int.from_bytes(digest[7:14], "big"))


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return where the random numbers of the CPU and of a GPU stand."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Continue the random numbers from there."""
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)


def _silent(line: str) -> None:
    pass


def _check_parallel(model: Potential, ranks: Ranks) -> None:
    if ranks.size > 1 and any(type(m).__name__.startswith("BatchNorm") for m in model.modules()):
        raise ConfigError(
            f"The potential '{model.architecture}' normalises over whole batches, which several "
            "processes do not see; set processes to 1."
        )


def _check_split(
    split: Mapping[str, NDArray[np.int64]], n_frames: int
) -> dict[str, NDArray[np.int64]]:
    for name in split:
        if name not in SUBSETS:
            raise ConfigError(f"A split has the subsets {', '.join(SUBSETS)}, not '{name}'.")
    parts = {n: np.asarray(split.get(n, ()), dtype=np.int64) for n in SUBSETS}
    for name in ("train", "validation"):
        if len(parts[name]) == 0:
            raise DataError(f"The split has no {name} frames, at least one is needed.")
    everything = np.concatenate(list(parts.values()))
    if everything.min() < 0 or everything.max() >= n_frames:
        raise DataError(f"The split names frames outside 0..{n_frames - 1}; make it again.")
    values, counts = np.unique(everything, return_counts=True)
    if counts.max() > 1:
        raise DataError(
            f"The split holds frame {values[counts.argmax()]} more than once, so errors would be "
            "measured on training data; make it again."
        )
    return parts


def _labels(arrays: FrameArrays, term: str, used: NDArray[np.int64], settings: Settings) -> Labels:
    terms = arrays.terms if term == "total" and term not in arrays.terms else (term,)
    energies = np.sum([arrays.energy(t) for t in terms], axis=0)[used].astype(np.float64)
    bad = ~np.isfinite(energies)
    if bad.any():
        raise DataError(
            f"The energy '{term}' of frame {used[bad.argmax()]} (and of {bad.sum() - 1} others) is "
            "not finite; remove the frames or label them again."
        )
    forces = stress = None
    if settings.force_weight > 0:
        total = np.sum([arrays.force(t) for t in terms], axis=0)
        forces = total[_atoms_of(arrays.offsets, used)].astype(np.float64)
    if settings.stress_weight > 0:
        stress = np.sum([arrays.stress(t) for t in terms], axis=0)[used].astype(np.float64)
        if arrays.cells is None or arrays.pbc is None or not arrays.pbc[used].all():
            raise DataError(
                "Stress needs frames that are periodic in all directions, and some are not; set "
                "stress_weight to 0 or choose other frames."
            )
    for name, values in (("Forces", forces), ("Stresses", stress)):
        if values is not None and not np.isfinite(values).all():
            raise DataError(
                f"{name} of the term '{term}' are not finite; remove those frames or label them "
                "again."
            )
    return Labels(energies, forces, stress)


def _atoms_of(offsets: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.diff(offsets)[frames]
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.repeat(offsets[frames] - begins, counts) + np.arange(counts.sum())


def _store(
    subset: FrameArrays,
    used: NDArray[np.int64],
    cutoff: float,
    device: torch.device,
    dtype: torch.dtype,
    stores: Stores | None,
) -> GraphStore:
    key = (_hash(subset.positions, subset.numbers, used), cutoff, str(device), dtype)
    if stores is not None and key in stores:
        return stores[key]
    store = GraphStore.from_flat(
        subset.positions,
        subset.numbers,
        subset.offsets,
        cutoff,
        cells=subset.cells,
        pbc=subset.pbc,
        frames=used,
        device=device,
        dtype=dtype,
    )
    if stores is not None:
        stores[key] = store
    return store


def _labels_left(
    labels: Labels,
    known: Potential,
    subset: FrameArrays,
    used: NDArray[np.int64],
    store: GraphStore,
) -> Labels:
    """Return the labels less what the known part of a potential predicts: what is left to learn.

    Its terms are then evaluated once, not in every step.
    """
    if known.cutoff != store.cutoff:
        store = _store(subset, used, known.cutoff, store.device, store.dtype, None)
    found = predict(
        known,
        store,
        batch_size=_EVALUATION_BATCH // 4,
        forces=labels.forces is not None,
        stress=labels.stress is not None,
    )
    return Labels(
        labels.energy - found["energy"],
        None if labels.forces is None else labels.forces - found["forces"],
        None if labels.stress is None else labels.stress - found["stress"],
    )


def _identity(
    model: Potential,
    arrays: FrameArrays,
    used: NDArray[np.int64],
    labels: Labels,
    parts: Mapping[str, NDArray[np.int64]],
    term: str,
    settings: Settings,
) -> str:
    """Digest of all that decides the result."""
    choices = {
        "model": model.architecture,
        "hyperparameters": asdict(model.hyperparameters),
        "settings": settings.binding(),
        "term": term,
        "frames": _hash(
            arrays.positions,
            arrays.numbers,
            arrays.offsets,
            labels.energy,
            used,
            *(a for a in (labels.forces, labels.stress, arrays.cells, arrays.pbc) if a is not None),
        ),
        "split": {name: _hash(part) for name, part in parts.items()},
    }
    return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()


def _hash(*values: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for value in values:
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _finished(folder: Path, identity: str, settings: Settings) -> bool:
    """Tell whether the folder holds the complete results of this training."""
    if not all((folder / name).exists() for name in RESULTS):
        return False
    summary = read_json(folder / "summary.json")
    if summary.get("identity") != identity:
        return False
    limit = settings.time_limit_s
    cut = summary["stopped"] == "time limit" and (limit is None or summary["wall_s"] < limit)
    return not cut


def _peak_memory_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
