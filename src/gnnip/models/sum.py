"""A sum of potentials is a potential: pair + three-body + network, a prior + a network, ..."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn

from gnnip.errors import CheckpointError, ConfigError
from gnnip.files import sha256
from gnnip.graphs import GraphBatch
from gnnip.models.contract import Potential, TargetStatistics
from gnnip.models.files import load, model_files
from gnnip.models.fitting import FitReport, TrainingFrames
from gnnip.models.hyperparameters import require
from gnnip.models.registry import build


@dataclass(frozen=True)
class Term:
    """One potential of a sum.

    model, hyperparameters : as for `gnnip.models.build`; taken from `initial` where absent.
    frozen : its weights are not trained.
    initial : a saved potential whose weights it starts from, read once, when training begins.
    initial_sha256 : of those weights, so that others under the same name are noticed; filled in.
    """

    model: str | None = None
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    frozen: bool = False
    initial: str | None = None
    initial_sha256: str | None = None

    def resolved(self) -> Term:
        """Return the term with everything filled in, as a saved sum holds it."""
        term = self
        if term.initial is not None and term.initial_sha256 is None:
            saved = load(term.initial)
            same = term.model in (None, saved.architecture)
            given = asdict(saved.hyperparameters) | term.hyperparameters
            if not same or given != asdict(saved.hyperparameters):
                raise ConfigError(
                    f"The term of the sum asks for another model than the one in {term.initial}; "
                    "give 'initial' alone, or the model without it."
                )
            term = replace(
                term,
                model=saved.architecture,
                hyperparameters=given,
                initial_sha256=sha256(model_files(term.initial)[0]),
            )
        require(
            term.model is not None, "A term of a sum needs a 'model', or a saved one as 'initial'."
        )
        assert term.model is not None
        with torch.random.fork_rng(devices=[]):
            options = asdict(build(term.model, **term.hyperparameters).hyperparameters)
        return replace(term, hyperparameters=options)


@dataclass(frozen=True)
class SumHyperparameters:
    """Choices of a sum.

    terms : its potentials. Of those that are not known before (frozen, with `initial`), the first
        that can carry the energies of the elements (`Potential.carries_reference`) does, the others
        start around zero.
    """

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        """Fill in what the terms leave out; ConfigError for terms that contradict themselves."""
        require(len(self.terms) > 0, "The potential 'sum': terms is empty, list its potentials.")
        resolved = tuple(term.resolved() for term in self.terms)
        object.__setattr__(self, "terms", resolved)


class SumPotential(Potential):
    """E = sum_k E_k, each term on the edges within its own cutoff."""

    Hyperparameters = SumHyperparameters

    def __init__(self, hyperparameters: SumHyperparameters) -> None:
        """Build the terms; frozen ones lose their gradients."""
        super().__init__(hyperparameters)
        self.terms = nn.ModuleList()
        for term in hyperparameters.terms:
            assert term.model is not None
            model = build(term.model, **term.hyperparameters)
            model.requires_grad_(not term.frozen)
            self.terms.append(model)

    @property
    def cutoff(self) -> float:
        """The largest cutoff of the terms, Angstrom."""
        return max(term.cutoff for term in self.potentials())

    @property
    def violates(self) -> dict[str, str]:
        """What any term does not keep."""
        broken: dict[str, str] = {}
        for term in self.potentials():
            for promise, reason in term.violates.items():
                broken.setdefault(promise, f"{term.architecture}: {reason}")
        return broken

    def potentials(self) -> Iterator[Potential]:
        """Yield the terms."""
        for term in self.terms:
            assert isinstance(term, Potential)
            yield term

    def train(self, mode: bool = True) -> SumPotential:
        """Set the mode of the terms; frozen ones stay in evaluation mode."""
        super().train(mode)
        for spec, model in zip(self.hyperparameters.terms, self.terms, strict=True):
            if spec.frozen:
                model.eval()
        return self

    @property
    def carries_reference(self) -> bool:
        """Whether any term does."""
        return any(term.carries_reference for term in self.potentials())

    def parts(self) -> tuple[Potential | None, Potential]:
        """Return the sum of the frozen terms with `initial`, with their saved weights, and that of
        the others."""
        known = [term.frozen and term.initial is not None for term in self.hyperparameters.terms]
        if all(known) or not any(known):
            return None, self
        self.load_initial()
        return self._part(known), self._part([not k for k in known])

    def _part(self, chosen: Sequence[bool]) -> Potential:
        """Return the sum of some terms, which shares their weights."""
        terms = list(compress(self.potentials(), chosen))
        if len(terms) == 1:
            return terms[0]
        specs = tuple(compress(self.hyperparameters.terms, chosen))
        with torch.random.fork_rng(devices=[]):
            part = SumPotential(SumHyperparameters(specs))
        part.terms = nn.ModuleList(terms)
        return part

    def load_initial(self) -> None:
        """Give the terms with `initial` their saved weights."""
        for spec, model in zip(self.hyperparameters.terms, self.potentials(), strict=True):
            if spec.initial is None:
                continue
            saved = load(spec.initial)
            if sha256(model_files(spec.initial)[0]) != spec.initial_sha256:
                raise CheckpointError(
                    f"The weights {spec.initial} have changed since this sum was set up; build it "
                    "again from the new ones."
                )
            model.load_state_dict(saved.state_dict())

    def calibrate(self, statistics: TargetStatistics) -> None:
        """Give terms with `initial` their weights, and the first other one that carries them the
        energies of the elements, unless a term with `initial` that is trained on holds them."""
        self.load_initial()
        around_zero = replace(
            statistics,
            energy_mean=0.0,
            species_energies=dict.fromkeys(statistics.species_energies, 0.0),
        )
        carried = False
        for spec, model in zip(self.hyperparameters.terms, self.potentials(), strict=True):
            if spec.initial is None:
                model.calibrate(around_zero if carried else statistics)
            if spec.initial is None or not spec.frozen:
                carried = carried or model.carries_reference

    def fit(self, frames: TrainingFrames) -> FitReport | None:
        """Fit the terms without `initial`, each to the labels of all.

        Raises ConfigError for a term that a fit completes: the others would be trained to the same
        labels once more.
        """
        reports = []
        for spec, term in zip(self.hyperparameters.terms, self.potentials(), strict=True):
            report = None if spec.initial else term.fit(frames.within(term.cutoff))
            if report is not None and report.complete:
                raise ConfigError(
                    f"The potential 'sum' has the term '{term.architecture}', which is fitted in "
                    "closed form; train it alone and let a frozen term start from it (initial)."
                )
            reports += [] if report is None else [report]
        details = {k: v for report in reports for k, v in report.details.items()}
        return FitReport(complete=False, details=details) if reports else None

    def prepare(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return the edges of the terms with shorter cutoffs, and what the terms prepare."""
        found: dict[str, Tensor] = {}
        for k, term in enumerate(self.potentials()):
            part = batch
            if term.cutoff < self.cutoff:
                chosen = batch.edges_within(term.cutoff)
                found |= {f"{k}.within.{name}": value for name, value in chosen.items()}
                part = batch.with_edges(chosen, term.cutoff)
            found |= {f"{k}.{name}": value for name, value in term.prepare(part).items()}
        return found

    @property
    def eager_reason(self) -> str | None:
        """The reason of any term."""
        return next((t.eager_reason for t in self.potentials() if t.eager_reason), None)

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and, where all terms have them, "atomic_energies" (n,), eV."""
        outputs = []
        for k, term in enumerate(self.potentials()):
            extras = _below(f"{k}.", batch.extras)
            part = batch
            if term.cutoff < self.cutoff:
                chosen = _below("within.", extras)
                part = batch.with_edges(chosen or batch.edges_within(term.cutoff), term.cutoff)
            outputs.append(term(replace(part, extras=extras)))
        total: dict[str, Tensor] = {}
        for name in ("energy", "atomic_energies"):
            if all(name in output for output in outputs):
                total[name] = torch.stack([output[name] for output in outputs]).sum(0)
        return total

    def check_species(self, numbers: Any) -> None:
        """Also ask every term."""
        super().check_species(numbers)
        for term in self.potentials():
            term.check_species(numbers)


def _below(prefix: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the values whose names begin with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
