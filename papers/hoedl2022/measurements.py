"""What is measured for hoedl2022 alone; eV, Angstrom, fs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gnnip.errors import DataError
from gnnip.files import read_json
from gnnip.measurements.selection import spread_evenly
from gnnip.measurements.timing import in_one_thread, interleave
from hoedl2022 import hot, ion_pair

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays
    from gnnip.measurements.sources import Sources, Training
    from hoedl2022 import kinds

#: Angstrom: far beyond every cutoff, and by how much everything is shifted
FAR = 60.0
#: who receives, from whom: the pairs of the map of attention
CONTACTS = ("H(N) from O", "O from H(N)", "H(C) from O", "H(N) from N", "all")


def measure_ion_pair(sources: Sources, options: kinds.IonPair) -> pd.DataFrame:
    """Return the energy of the ion pair at all points of `ion_pair.points`, less the first one's.

    Columns: potential (group/cell/seed-n, reference, or wB97X where its table was made),
    coordinate, x_a (Angstrom), energy_ev; NaN where the reference finds no solution.
    """
    from ase.calculators.calculator import CalculationFailed

    from gnnip.models import load
    from gnnip.models.calculator import PotentialCalculator
    from gnnip.reference import make_calculator

    def energy(calculator: Any, atoms: Any) -> float:
        try:
            return float(calculator.get_potential_energy(atoms))
        except CalculationFailed:
            return np.nan

    points, parts = ion_pair.points(), []
    for training in sources.trainings:
        calculator = PotentialCalculator(load(training.model).double())
        energies = [energy(calculator, atoms) for _, _, atoms in points]
        parts.append(ion_pair.relative(energies).assign(potential=training.name))
    # ions that part need a fresh start at every point
    energies = [energy(make_calculator(options.reference), atoms) for _, _, atoms in points]
    parts.append(ion_pair.relative(energies).assign(potential="reference"))
    if ion_pair.TABLE.exists():
        parts.append(pd.read_csv(ion_pair.TABLE).assign(potential="wB97X"))
    return pd.concat(parts, ignore_index=True)[["potential", "coordinate", "x_a", "energy_ev"]]


def count_broken_bonds(sources: Sources, options: kinds.HotBonds) -> pd.DataFrame:
    """Return the table of `hot.counted` of every potential, and the reference's where there is."""
    from gnnip.models import load

    starts = hot.read_starts()
    parts = []
    if hot.TABLE.exists():
        known = pd.read_csv(hot.TABLE)
        parts.append(known[known["time_fs"] <= options.duration])
    for training in sources.trainings:
        result = hot.run(load(training.model), starts, hot.HOT, options.duration)
        parts.append(hot.counted(training.name, result, starts))
    return pd.concat(parts, ignore_index=True)


def measure_training_speed(sources: Sources, options: kinds.TrainingSpeed) -> pd.DataFrame:
    """Return seconds per configuration of training steps and of evaluations, one row each.

    Columns: group, work (training or evaluation), seconds (the least of the repeats: other programs
    only add), n_parameters, batch_size, threads, hardware (with the load, if there was any).
    Closed-form fits have no training step. DataError where a GPU is asked for and there is none.
    """
    if options.gpu:
        return _training_speed(sources, options)
    table: pd.DataFrame = in_one_thread(_training_speed, sources, options)
    return table


def _training_speed(sources: Sources, options: kinds.TrainingSpeed) -> pd.DataFrame:
    import torch

    device = "cpu"
    if options.gpu:
        if not torch.cuda.is_available():
            raise DataError(
                "The speed on a GPU was asked for, and torch sees none on this machine."
            )
        device = "cuda"
    torch.set_num_threads(1)
    jobs: dict[tuple[str, str], Callable[[], object]] = {}
    sizes = {}
    for training in sources.trainings:
        model, calls = _calls(sources, training, options, device)
        sizes[training.group] = model.n_parameters
        jobs |= {(training.group, work): call for work, call in calls.items()}
    seconds, machine = interleave(jobs, options.repeats)
    if options.gpu:
        machine = torch.cuda.get_device_name()
    rows = [
        {
            "group": group,
            "work": work,
            "seconds": min(found) / (options.batch_size if work == "training" else 1),
            "n_parameters": sizes[group],
            "batch_size": options.batch_size,
        }
        for (group, work), found in seconds.items()
    ]
    return pd.DataFrame(rows).assign(threads=1, hardware=machine)


def _calls(
    sources: Sources, training: Training, options: kinds.TrainingSpeed, device: str
) -> tuple[Any, dict[str, Callable[[], object]]]:
    """Return a step of the training and the evaluation of one configuration, as functions."""
    import torch

    from gnnip.graphs import GraphStore
    from gnnip.models import build, evaluate, load
    from gnnip.training.optimiser import OPTIMISERS

    model = load(training.model, device=device)
    if model.architecture == "jat" and options.jat:
        stated = {**model.hyperparameters.__dict__, **options.jat}
        model = build("jat", **stated).to(device=device, dtype=model.dtype)
    arrays = sources.arrays(training.dataset)
    chosen = training.test_frames()
    chosen = np.resize(chosen, options.batch_size)
    frames = arrays.subset(chosen)
    store = GraphStore.from_frames(frames, model.cutoff, device=device, dtype=model.dtype)
    batch, one = store.batch(torch.arange(len(chosen))), store.batch(torch.arange(1))
    labels = torch.as_tensor(np.asarray(frames.force("total")), dtype=model.dtype).to(device)

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def evaluation() -> None:
        evaluate(model, one, forces=options.forces)
        wait()

    if read_json(training.folder / "summary.json")["stopped"] == "fit":
        return model, {"evaluation": evaluation}
    optimiser = OPTIMISERS["adam"](model.parameters())

    def step() -> None:
        found = evaluate(model, batch, forces=options.forces, create_graph=True)
        error = found["forces"] - labels if options.forces else found["energy"]
        optimiser.zero_grad()
        error.square().mean().backward(inputs=optimiser.parameters)
        optimiser.step(1e-9)
        wait()

    return model, {"training": step, "evaluation": evaluation}


def measure_authors_network(sources: Sources, options: kinds.AuthorsNetwork) -> pd.DataFrame:
    """Return the errors of the authors' network on every frame of the data set.

    Columns: frame, force_mae_ev_per_a, force_rmse_ev_per_a, force_mean_ev_per_a (mean size of a
    component of the reference), force_rms_ev_per_a, energy_error_ev (its mean subtracted: the
    network was trained on forces alone). No row where the weights are not there.
    """
    from pathlib import Path

    from gnnip.graphs import GraphStore
    from gnnip.models import predict
    from gnnip.models.jat.published import read_published

    names = ("mae", "rmse", "mean", "rms")
    columns = ["frame", *(f"force_{name}_ev_per_a" for name in names), "energy_error_ev"]
    if not Path(options.weights).exists():
        print(f"{options.weights} is not there: nothing is measured")
        return pd.DataFrame(columns=columns)
    model, frames = read_published(options.weights), sources.arrays()
    store = GraphStore.from_frames(frames, model.cutoff, dtype=model.dtype)
    found = predict(model, store, batch_size=4, forces=True)
    true = frames.force("total")
    off = found["energy"] - frames.energy("total")
    rows = []
    for frame in range(frames.n_frames):
        atoms = frames.atom_slice(frame)
        error, size = (found["forces"] - true)[atoms], true[atoms]
        values = (
            np.abs(error).mean(),
            np.sqrt(np.square(error).mean()),
            np.abs(size).mean(),
            np.sqrt(np.square(size).mean()),
            (off - off.mean())[frame],
        )
        rows.append([frame, *map(float, values)])
    return pd.DataFrame(rows, columns=columns)


def tabulate_attention(sources: Sources, options: kinds.Attention) -> pd.DataFrame:
    """Return the mean attention weight of the pairs of `CONTACTS` in one test frame.

    Over layers and heads, by distance. Columns: group, weights (trained, or untrained: as the same
    network starts), contact, distance_a (middle of a bin), attention, pairs.
    """
    import torch

    from gnnip.models import build

    parts = []
    for one in sources.potentials(max_frames=1):
        torch.manual_seed(0)
        untrained = build("jat", **one.model.hyperparameters.__dict__).to(one.model.dtype)
        batch = one.store.batch(torch.arange(1))
        graph, r = batch.adjacency, batch.edge_lengths().numpy()
        masks = _contacts(one.test, graph.source.numpy(), graph.target.numpy())
        bins = np.floor(r / options.bin_width).astype(int)
        for words, model in (("trained", one.model), ("untrained", untrained)):
            with torch.no_grad():
                alpha = torch.stack([a.mean(1) for a in model.attention(batch)]).mean(0).numpy()
            for contact, mask in masks.items():
                table = pd.DataFrame({"bin": bins[mask], "attention": alpha[mask]})
                means = table.groupby("bin")["attention"].agg(["mean", "size"]).reset_index()
                parts.append(
                    pd.DataFrame(
                        {
                            "group": one.training.group,
                            "weights": words,
                            "contact": contact,
                            "distance_a": (means["bin"] + 0.5) * options.bin_width,
                            "attention": means["mean"],
                            "pairs": means["size"],
                        }
                    )
                )
    return pd.concat(parts, ignore_index=True)


def _contacts(frames: FrameArrays, source: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    """Return which edges belong to each of `CONTACTS`; hydrogens by the atom that they are bound
    to."""
    positions, numbers, cell, _ = frames.structure(0)
    assert cell is not None
    bound = np.zeros(len(numbers), dtype=int)
    for i, j in hot.bonds(numbers, positions, cell):
        for hydrogen, other in ((i, j), (j, i)):
            if numbers[hydrogen] == 1:
                bound[hydrogen] = numbers[other]
    of_nitrogen, of_carbon = ((numbers == 1) & (bound == z) for z in (7, 6))
    oxygen, nitrogen = numbers == 8, numbers == 7
    masks = (
        of_nitrogen[target] & oxygen[source],
        oxygen[target] & of_nitrogen[source],
        of_carbon[target] & oxygen[source],
        of_nitrogen[target] & nitrogen[source],
        np.ones(len(source), dtype=bool),
    )
    return dict(zip(CONTACTS, masks, strict=True))


def audit_features(sources: Sources, options: kinds.Features) -> pd.DataFrame:
    """Return the largest change of the energy per atom in test frames, one row per change.

    Columns: group, feature, change_mev_per_atom. Features: permutation of the atoms, rotation,
    translation, periodicity (the cell doubled; periodic frames), additivity (two copies far apart;
    open frames), locality (of the atomic energies of one copy when the other is bent; open frames),
    and ghost: the translation of open frames beside one oxygen at the origin, as the published code
    fills up its molecules. Displacement, of all atoms by 0.1 Angstrom, is to change the energy: it
    tells a network that is invariant from one that knows nothing; the least change is given.
    """
    from gnnip.models import load

    rows = []
    for training in sources.trainings:
        model, arrays = load(training.model).double(), sources.arrays(training.dataset)
        found: dict[str, list[float]] = {}
        for frame in spread_evenly(training.test_frames(), options.frames):
            for name, before, after, copies in _changes(arrays.structure(int(frame))):
                change = _energy(model, after) / copies - _energy(model, before)
                found.setdefault(name, []).append(1000.0 * abs(change) / len(before["numbers"]))
            if arrays.structure(int(frame))[2] is None:
                change = _felt_far_away(model, arrays.structure(int(frame)))
                found.setdefault("locality", []).append(1000.0 * change)
        about = {"group": training.group, "seed": training.seed}
        about |= {"reach_a": model.cutoff * model.hyperparameters.layers}
        least = {"displacement": min(found.pop("displacement"))}
        largest = {name: max(values) for name, values in found.items()} | least
        rows += [about | {"feature": n, "change_mev_per_atom": v} for n, v in largest.items()]
    return pd.DataFrame(rows)


def _changes(
    structure: tuple[Any, Any, Any, Any],
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any], int]]:
    """Yield name, structure before and after, and how many times it is there after."""
    rng = np.random.default_rng(0)
    positions, numbers, cell, pbc = structure
    own = {"positions": positions, "numbers": numbers}
    if cell is not None:
        own |= {"cell": cell, "pbc": pbc}
    order = rng.permutation(len(numbers))
    yield "permutation", own, own | {"positions": positions[order], "numbers": numbers[order]}, 1
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    turned = own | {"positions": positions @ turn}
    yield "rotation", own, turned | ({} if cell is None else {"cell": cell @ turn}), 1
    yield "translation", own, own | {"positions": positions + 3.7}, 1
    bent = positions + rng.normal(scale=0.1 / 3**0.5, size=positions.shape)
    yield "displacement", own, own | {"positions": bent}, 1
    if cell is not None:
        twice = {"positions": np.vstack([positions, positions + cell[0]])}
        twice |= {"numbers": np.tile(numbers, 2), "cell": cell * np.array([[2], [1], [1]])}
        yield "periodicity", own, own | twice, 2
        return
    twice = {"positions": np.vstack([positions, positions + FAR])}
    yield "additivity", own, twice | {"numbers": np.tile(numbers, 2)}, 2
    full = np.append(numbers, 8)
    beside, away = (
        {"positions": np.vstack([p, np.zeros(3)]), "numbers": full}
        for p in (positions + 0.01, positions + FAR)
    )
    yield "ghost", beside, away, 1


def _felt_far_away(model: Any, structure: tuple[Any, Any, Any, Any]) -> float:
    """Return the largest change of an atomic energy (eV) of a molecule when a second one, beyond
    every chain of edges, is bent."""
    positions, numbers, *_ = structure
    rng, twice = np.random.default_rng(1), np.tile(numbers, 2)
    far = positions + FAR
    bent = far + rng.normal(scale=0.1 / 3**0.5, size=far.shape)
    before, after = (
        _evaluate(model, {"positions": np.vstack([positions, other]), "numbers": twice})
        for other in (far, bent)
    )
    change = (after["atomic_energies"] - before["atomic_energies"])[: len(numbers)]
    return float(change.abs().max())


def _energy(model: Any, structure: dict[str, Any]) -> float:
    return float(_evaluate(model, structure)["energy"])


def _evaluate(model: Any, structure: dict[str, Any]) -> dict[str, Any]:
    import torch

    from gnnip.graphs import GraphBatch

    batch = GraphBatch.from_structures([structure], model.cutoff, dtype=model.dtype)
    with torch.no_grad():
        found: dict[str, Any] = model(batch)
    return found
