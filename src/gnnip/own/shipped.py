"""Potentials that were recorded with their weights: by name, and what is known of each.

A name is card/group/cell, with as much of the cell as tells it from others: gijon2023/forces,
gijon2023/table1/gat. It stands for the first seed; /seed-1 chooses another one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gnnip.config import papers
from gnnip.config.resolve import resolve
from gnnip.datasets import registry
from gnnip.errors import CheckpointError, DataError, nearest
from gnnip.files import read_csv, read_json
from gnnip.verdicts.pages import TIERS
from gnnip.verdicts.recorded import LAST_FRAMES, WEIGHTS, RecordedRun

if TYPE_CHECKING:
    from gnnip.models.calculator import PotentialCalculator

_SEED = re.compile(r"seed-[0-9]+")
#: quantities of metrics that are errors of test frames
_TEST = re.compile(r".*_test_(energy|force)_(rmse|mae)|.*_(mae|force_rmse|force_mae)")
_OTHER = re.compile("_train_|_validation_")


@dataclass(frozen=True)
class Shipped:
    """A recorded potential whose weights are here."""

    record: RecordedRun
    group: str
    cell: str
    seed: int

    @property
    def tier(self) -> str:
        """Return the tier of its record."""
        return self.record.folder.parts[-2]

    @property
    def card(self) -> str:
        """Return the card of its record."""
        return self.record.folder.parts[-1]

    @property
    def name(self) -> str:
        """Return card/group/cell/seed-n."""
        return f"{self.card}/{self.group}/{self.cell}/seed-{self.seed}"

    @property
    def folder(self) -> Path:
        """Return where its two files are."""
        file = self.record.file(f"weights/{self.group}/{self.cell}/seed-{self.seed}/{WEIGHTS[0]}")
        return file.parent

    @cached_property
    def described(self) -> dict[str, Any]:
        """What its model.json says."""
        found: dict[str, Any] = read_json(self.folder / WEIGHTS[1], dict)
        return found

    @cached_property
    def training(self) -> dict[str, Any]:
        """What the record knows of its training: error, share of the best null model's, soundness;
        empty where nothing is known."""
        path = self.record.folder / "trainings.csv"
        table = read_csv(path) if path.exists() else pd.DataFrame({"group": []})
        for _, row in table[table["group"] == self.group].iterrows():
            if (row["cell"], row["seed"]) == (self.cell, self.seed):
                return {str(k): None if pd.isna(value) else value for k, value in row.items()}
        return {}

    def errors(self) -> list[tuple[str, str, float, float]]:
        """Return quantity, unit, value and that of a trivial predictor, of its test errors in the
        record's tables."""
        found: dict[tuple[str, float, float], str] = {}
        for path in sorted(self.record.folder.glob("*.metrics.csv")):
            table = read_csv(path)
            if "training" not in table:
                continue
            own = table[table["training"] == f"{self.group}/{self.cell}"]
            own = own[own["seed"].fillna(self.seed) == self.seed]
            for _, row in own.iterrows():
                if _TEST.fullmatch(row["quantity"]) and not _OTHER.search(row["quantity"]):
                    about = (str(row["unit"]), float(row["value"]), float(row["baseline"]))
                    found.setdefault(about, row["quantity"])
        return [(quantity, *about) for about, quantity in found.items()]

    def stability(self) -> list[str]:
        """Return a sentence for each dynamics that it moved: how long its replicas lived."""
        found = []
        for path in sorted((self.record.folder / "last_frames").glob("*.xyz.gz")):
            measurement = path.name.removesuffix(Path(LAST_FRAMES).name.removeprefix("{}"))
            lives: dict[int, tuple[float, str]] = {}
            for atoms in self.record.last_frames(measurement):
                if atoms.info["potential"] == f"{self.group}/{self.cell}/seed-{self.seed}":
                    old = lives.get(int(atoms.info["replica"]), (0.0, ""))
                    time = float(atoms.info.get("time_fs", old[0]))
                    reason = str(atoms.info.get("reason", old[1]))
                    lives[int(atoms.info["replica"])] = (max(time, old[0]), reason)
            failed = [time for time, reason in lives.values() if reason]
            if failed:
                found.append(
                    f"{measurement}: {len(failed)} of {len(lives)} replicas failed, the first "
                    f"after {min(failed) / 1000:.3g} ps"
                )
            elif lives:
                longest = max(time for time, _ in lives.values())
                found.append(f"{measurement}: {len(lives)} replicas lived {longest / 1000:.3g} ps")
        return found

    def model_card(self) -> str:
        """Return what is known of it, as Markdown."""
        from ase.data import chemical_symbols

        card = resolve(self.card, self.tier, folder=records().parents[1] / papers.FOLDER)
        cell = next(cell for cell in card.cells(self.group) if cell.name == self.cell)
        training = card.training(self.group, cell)
        dataset = training.dataset
        entry = registry.load_registry().get(dataset, {})
        known = self.training
        lines = [
            f"# {self.name}",
            "",
            f"- **Paper**: {card.title}, recorded at tier `{self.tier}`.",
            f"- **Model**: {self.described['architecture']}, cutoff "
            f"{self.described['cutoff_angstrom']:.4g} Å; knows "
            f"{', '.join(chemical_symbols[z] for z in self.described['species'])}; term "
            f"`{self.described['training'].get('term')}`.",
            f"- **Data**: {dataset}, {entry.get('title', 'not shipped')}; "
            f"{entry.get('n_frames', '?')} frames; split: "
            f"{training.split['scheme']}.",
            f"- **Reference**: {card.reference_of(dataset)}.",
            f"- **Licence**: weights MIT, as the code; data {entry.get('licence', 'unknown')}.",
        ]
        if known:
            worth = "sound" if known["sound"] else f"not sound: {known['reason']}"
            lines.append(
                f"- **Training**: best of {known['epochs_run']} epochs, validation error "
                f"{known['validation_error']:.3g} eV, {100 * known['share_of_null']:.3g} % of that "
                f"of {known['null_model']}; {worth}."
            )
        for quantity, unit, value, trivial in self.errors():
            words = f"{value:.3g} {unit}, trivial {trivial:.3g}".replace(", trivial nan", "")
            lines.append(f"- **Error** `{quantity}`: {words}.")
        told = self.stability() or ["no dynamics was recorded"]
        lines += [f"- **Stability**: {sentence}." for sentence in told]
        if "symmetry_audit" in card.measurements and self._reads_coordinates():
            lines.append("- **Not invariant** under rotation: do not run dynamics with it.")
        return "\n".join(lines)

    def _reads_coordinates(self) -> bool:
        return self.described["hyperparameters"].get("features") == "raw"


def records() -> Path:
    """Return results/recorded of the current folder or one above it, else that of the checkout."""
    for folder in (Path.cwd(), *Path.cwd().parents, *Path(__file__).resolve().parents):
        if (folder / "results" / "recorded").is_dir():
            return folder / "results" / "recorded"
    raise DataError("results/recorded was not found; run inside a checkout of the project.")


def shipped() -> Iterator[Shipped]:
    """Yield the recorded potentials whose weights are here, of the largest tier first."""
    root = records()
    for folder in sorted(root.glob("*/*"), key=_rank):
        tier, card = folder.parts[-2:]
        run = RecordedRun.of(tier, card, root.parent)
        names = [path.relative_to(folder) for path in folder.glob(f"weights/*/*/*/{WEIGHTS[0]}")]
        names += [
            Path(n) for n in run.manifest() if n.endswith(WEIGHTS[0]) and (run.kept / n).exists()
        ]
        for name in sorted(names):
            _, group, cell, seed, _ = name.parts
            yield Shipped(run, group, cell, int(seed.removeprefix("seed-")))


def _rank(folder: Path) -> tuple[int, str]:
    tier = folder.parts[-2]
    return (TIERS.index(tier) if tier in TIERS else len(TIERS), str(folder))


def find(name: str) -> Shipped:
    """Return a recorded potential; CheckpointError for a name that fits none, or several."""
    card, *rest = name.strip("/").split("/")
    seed = 0
    if rest and _SEED.fullmatch(rest[-1]):
        seed = int(rest.pop().removeprefix("seed-"))
    known = list(shipped())
    fitting = [one for one in known if one.card == card and one.seed == seed and _fits(one, rest)]
    # of several tiers the largest
    fitting = [one for one in fitting if one.tier == fitting[0].tier]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(one.name.rpartition("/")[0] for one in fitting)
        raise CheckpointError(f"'{name}' stands for several potentials; choose one of {names}.")
    names_ = [one.name.rpartition("/")[0] for one in known]
    raise CheckpointError(
        f"No potential '{name}' is recorded with its weights{nearest(name, names_)}"
    )


def _fits(one: Shipped, rest: list[str]) -> bool:
    """Tell whether a potential has the group and the words of the cell that a name has."""
    group, words = (rest[0], rest[1:]) if rest else (one.group, [])
    parts = {one.cell, *one.cell.split("_"), *(p.rpartition("-")[2] for p in one.cell.split("_"))}
    return group == one.group and all(word in parts for word in words)


def locate(path: str | os.PathLike[str]) -> Path:
    """Return where a potential is: at a path, else the recorded one of that name.

    CheckpointError where there is neither.
    """
    place = Path(path)
    name = str(path)
    if place.exists() or place.suffix in (".json", ".safetensors") or place.is_absolute():
        return place
    if place.with_suffix(".json").exists() or not re.fullmatch(r"\w+(/[\w.+\-]+)*", name):
        return place
    try:
        return find(name).folder
    except DataError as error:
        raise CheckpointError(f"There is no saved potential at {path}: {error}") from None


def load_calculator(
    path: str | os.PathLike[str],
    device: str = "auto",
    dtype: str | None = None,
    threads: int | None = None,
    ensemble: bool | None = None,
) -> PotentialCalculator:
    """Return an ASE calculator of a saved potential, or of a recorded one by its name, such as
    gijon2023/forces; see `gnnip.models.calculator.load_calculator`."""
    from gnnip.models import calculator

    return calculator.load_calculator(locate(path), device, dtype, threads, ensemble)
