"""Energies, forces and stress from one compiled function of the weights and a batch.

Plain `torch.compile` of a model cannot be differentiated twice. So energies and their derivatives
by positions and strain are traced together into one graph of plain operations, with symbolic
numbers of atoms, edges and structures and with the weights as inputs; that graph is compiled, and
the gradient of a loss by the weights is one ordinary backward pass through it.

A compiled function is trusted only after it agreed with the eager model on batches of two sizes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gnnip.graphs import Adjacency, GraphBatch, GraphStore
from gnnip.graphs.adjacency import plain_sums
from gnnip.models.contract import Potential, evaluate

#: largest difference between compiled and eager values, in units of the largest eager one
TOLERANCES = {torch.float32: 5e-5, torch.float64: 1e-10}
#: the same for gradients of the weights, which sum up many more rounded numbers
GRADIENT_TOLERANCES = {torch.float32: 5e-4, torch.float64: 1e-9}
BACKEND = "inductor"  #: of torch.compile
_SAMPLES = 8  #: batches that are looked at to find two that are fit for the trace


class RefusedError(Exception):
    """Why a step is not compiled, as the end of a sentence."""


@dataclass(frozen=True)
class Differences:
    """Largest differences between compiled and eager, relative, by quantity."""

    values: dict[str, float]

    def worst(self, dtype: torch.dtype) -> str | None:
        """Return the first quantity that is out of tolerance, in words, or None."""
        for name, found in self.values.items():
            allowed = (GRADIENT_TOLERANCES if name == "gradient" else TOLERANCES)[dtype]
            if not found <= allowed:  # also for NaN
                return f"{name} differs by {found:.1e}, {allowed:.0e} is allowed"
        return None

    def __str__(self) -> str:
        """Return them as a log shows them."""
        return ", ".join(f"{name} {value:.0e}" for name, value in self.values.items())


class CompiledEvaluation:
    """`gnnip.models.evaluate` for batches like the first one.

    A batch in which another number is 1 or 0 than in the first (one structure, no edge) needs
    another graph and is left to the eager model: see `fits`.
    """

    def __init__(
        self,
        model: Potential,
        sample: GraphBatch,
        forces: bool,
        stress: bool,
        backend: str | Callable[..., Any] = "inductor",
    ) -> None:
        """Trace `model` on `sample`, whose sizes must be distinct; nothing is compiled yet."""
        self.forces, self.stress = forces, stress
        self.names = ("energy", *["forces"] * forces, *["stress"] * stress)
        self.cutoff = sample.cutoff
        inputs = self._inputs(model, sample)
        self.inputs = tuple(inputs)
        self.pattern = _small(inputs)
        self.traced = self._trace(model, inputs)
        self._compiled = torch.compile(self.traced, dynamic=None, fullgraph=True, backend=backend)
        self._first = True

    def fits(self, inputs: Mapping[str, Tensor]) -> bool:
        """Tell whether the inputs have the names and the small numbers of the first batch."""
        return tuple(inputs) == self.inputs and _small(inputs) == self.pattern

    def __call__(
        self, model: Potential, batch: GraphBatch, create_graph: bool = False
    ) -> dict[str, Tensor] | None:
        """Return energies, forces and stress of a batch, or None when it does not fit."""
        inputs = self._inputs(model, batch)
        if not self.fits(inputs):
            return None
        return self.run([t for _, t in _weights(model)], inputs, create_graph)

    def run(
        self, weights: list[Tensor], inputs: dict[str, Tensor], create_graph: bool
    ) -> dict[str, Tensor]:
        """Call the compiled function on weights and inputs in their order."""
        if self._first:
            for name, t in inputs.items():
                if _symbolic(name, t):
                    torch._dynamo.mark_dynamic(t, 0)
            self._first = False
        with torch.enable_grad():  # so that validation runs the function that training compiled
            found = self._compiled(*weights, *inputs.values())
        output = dict(zip(self.names, found, strict=True))
        return output if create_graph else {k: v.detach() for k, v in output.items()}

    def _inputs(self, model: Potential, batch: GraphBatch) -> dict[str, Tensor]:
        """Return the tensors of a batch that energies may depend on, by name."""
        graph = batch.adjacency
        if not graph.symmetric:
            raise RefusedError("its graphs lack reverse edges")
        found = {
            "positions": batch.positions,
            "atomic_numbers": batch.atomic_numbers,
            "batch": batch.batch,
            "offsets": batch.offsets,
            "source": graph.source,
            "target": graph.target,
            "edge_offsets": graph.offsets,
            "by_source": graph.by_source,
        }
        if batch.edge_shift is not None:
            found["edge_shift"] = batch.edge_shift
        if batch.cell is not None:
            found["cell"] = batch.cell
        if batch.lengths is not None and not (self.forces or self.stress):
            found["lengths"] = batch.lengths
        prepared = model.prepare(batch)
        return found | {f"extras.{name}": t for name, t in prepared.items()}

    def _batch(self, inputs: Mapping[str, Tensor]) -> GraphBatch:
        """Put a batch together from the inputs."""
        source, target = inputs["source"], inputs["target"]
        offsets = inputs["edge_offsets"]
        return GraphBatch(
            positions=inputs["positions"],
            atomic_numbers=inputs["atomic_numbers"],
            edge_index=torch.stack([source, target]),
            batch=inputs["batch"],
            n_graphs=inputs["offsets"].shape[0] - 1,
            offsets=inputs["offsets"],
            adjacency=Adjacency(
                source, target, offsets, inputs["by_source"], offsets, symmetric=True
            ),
            edge_shift=inputs.get("edge_shift"),
            cell=inputs.get("cell"),
            lengths=inputs.get("lengths"),
            cutoff=self.cutoff,
            extras={
                name.removeprefix("extras."): t
                for name, t in inputs.items()
                if name.startswith("extras.")
            },
        )

    def _trace(self, model: Potential, inputs: dict[str, Tensor]) -> torch.fx.GraphModule:
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.fx.experimental.proxy_tensor import make_fx
        from torch.fx.experimental.symbolic_shapes import (
            DimDynamic,
            ShapeEnv,
            StatelessSymbolicContext,
        )

        weights = _weights(model)
        names = [name for name, _ in weights]
        whole = _Evaluation(model, self.forces, self.stress)

        def function(*tensors: Tensor) -> tuple[Tensor, ...]:
            held = dict(zip(names, tensors, strict=False))
            batch = self._batch(dict(zip(self.inputs, tensors[len(names) :], strict=True)))
            with plain_sums(), torch.enable_grad():
                output = torch.func.functional_call(whole, held, (batch,))
            return tuple(output[name] for name in self.names)

        # the first dimension of an input is symbolic, all others and the weights are numbers
        mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
        fakes = [mode.from_tensor(t.detach(), static_shapes=True) for _, t in weights]
        for name, t in inputs.items():
            kinds = [DimDynamic.STATIC] * t.dim()
            kinds[0] = DimDynamic.DUCK if _symbolic(name, t) else DimDynamic.STATIC
            fakes.append(
                mode.from_tensor(
                    t.detach(),
                    symbolic_context=StatelessSymbolicContext(dynamic_sizes=kinds),
                )
            )
        traced = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*fakes)
        return _differentiable(traced)


class _Evaluation(nn.Module):
    """`evaluate` as a module, so that the weights can be handed in."""

    def __init__(self, model: Potential, forces: bool, stress: bool) -> None:
        super().__init__()
        self.model, self.forces, self.stress = model, forces, stress

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        return evaluate(self.model, batch, self.forces, self.stress, create_graph=True)


def _weights(model: Potential) -> list[tuple[str, Tensor]]:
    named = [*model.named_parameters(), *model.named_buffers()]
    return [(f"model.{name}", t) for name, t in named]


def _differentiable(traced: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Take out the detach nodes: the tracer writes one wherever autograd unpacks what it saved."""
    for node in list(traced.graph.nodes):
        if node.target in (torch.ops.aten.detach.default, torch.ops.aten.alias.default):
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    return traced


def _symbolic(name: str, t: Tensor) -> bool:
    # the offsets of one structure are two numbers, always
    return t.shape[0] > (2 if name == "offsets" else 1)


def _small(inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return the first dimensions where they are 0 or 1, else 2: what a graph is specialised on."""
    return tuple(min(t.shape[0] - (name == "offsets"), 2) for name, t in inputs.items())


def compile_evaluation(
    model: Potential,
    store: GraphStore,
    rows: Tensor,
    batch_size: int,
    forces: bool,
    stress: bool,
    say: Callable[[str], object],
    backend: str | Callable[..., Any] | None = None,
) -> CompiledEvaluation | None:
    """Return a compiled evaluation that agrees with the eager one, or None; `say` gets the reason.

    rows : structures of `store` to take batches from.  backend : of torch.compile, or `BACKEND`.
    """
    begun = time.perf_counter()
    try:
        compiled, found = _make(model, store, rows, batch_size, forces, stress, backend or BACKEND)
    except RefusedError as reason:
        say(f"steps are not compiled: {reason}")
        return None
    except Exception as error:  # whatever a compiler may raise, the eager model is still there
        lines = str(error).strip().splitlines() or [repr(error)]
        say(f"steps are not compiled: {type(error).__name__}: {lines[0]}")
        return None
    say(f"steps are compiled ({time.perf_counter() - begun:.0f} s), relative differences: {found}")
    return compiled


def _make(
    model: Potential,
    store: GraphStore,
    rows: Tensor,
    batch_size: int,
    forces: bool,
    stress: bool,
    backend: str | Callable[..., Any],
) -> tuple[CompiledEvaluation, Differences]:
    if model.eager_reason is not None:
        raise RefusedError(model.eager_reason)
    if model.n_parameters == 0:
        raise RefusedError("there is nothing to train")
    was_training = model.training
    model.train()
    devices = [store.device] if store.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(0)
            first, second = _samples(store, rows, batch_size)
            _refuse_unlike_modes(model, first, forces, stress)
            compiled = CompiledEvaluation(model, first, forces, stress, backend)
            found: dict[str, float] = {}
            for batch in (first, second):
                for name, value in differences(compiled, model, batch).values.items():
                    found[name] = max(value, found.get(name, 0.0))
    finally:
        model.train(was_training)
    result = Differences(found)
    worst = result.worst(store.dtype)
    if worst is not None:
        raise RefusedError(f"the compiled {worst}")
    return compiled, result


def _samples(store: GraphStore, rows: Tensor, batch_size: int) -> tuple[GraphBatch, GraphBatch]:
    """Return a batch whose numbers of structures, atoms and edges are all different, so that the
    trace tells them apart, and one of other sizes to check on."""
    size = min(batch_size, len(rows))
    counts = [size]
    if size > 1 and len(rows) > 2:
        counts.append(size - 1 if size > 2 else size + 1)
    tried = []
    for k in range(_SAMPLES):
        count = counts[k % len(counts)]
        start = (k * size) % (len(rows) - count + 1)
        tried.append(store.batch(rows[start : start + count]))
    first = next((b for b in tried if _distinct(b)), None)
    others = [b for b in tried if b is not first and first is not None and _like(b, first)]
    if first is None or not others:
        raise RefusedError(
            "no two batches of the training subset have sizes that can be told apart"
        )
    return first, next((b for b in others if _numbers(b) != _numbers(first)), others[0])


def _numbers(batch: GraphBatch) -> tuple[int, int, int]:
    return batch.n_graphs, batch.positions.shape[0], batch.adjacency.n_edges


def _distinct(batch: GraphBatch) -> bool:
    graphs, atoms, edges = _numbers(batch)
    sizes = [n for n in (graphs, graphs + 1, atoms, atoms + 1, edges) if n > 1]
    return len(set(sizes)) == len(sizes) and edges > 1


def _like(one: GraphBatch, other: GraphBatch) -> bool:
    """Tell whether the same numbers are 0 or 1 in both."""
    return [min(n, 2) for n in _numbers(one)] == [min(n, 2) for n in _numbers(other)]


def _refuse_unlike_modes(model: Potential, batch: GraphBatch, forces: bool, stress: bool) -> None:
    """Refuse models that draw random numbers or treat a batch as a whole while they train."""
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    drawn = [evaluate(model, batch, forces, stress) for _ in range(2)]
    changed = any(not torch.equal(b, buffers[name]) for name, b in model.named_buffers())
    with torch.no_grad():
        for name, b in model.named_buffers():
            b.copy_(buffers[name])
    allowed = TOLERANCES[batch.positions.dtype]
    if any(_relative(drawn[0][k], drawn[1][k]) > allowed for k in drawn[0]):
        raise RefusedError("the model draws random numbers while it trains")
    model.eval()
    judged = evaluate(model, batch, forces, stress)
    model.train()
    if changed or any(_relative(judged[k], drawn[0][k]) > allowed for k in judged):
        raise RefusedError("the model is another one in training than in evaluation")


def differences(compiled: CompiledEvaluation, model: Potential, batch: GraphBatch) -> Differences:
    """Compare energies, forces, stress and the gradient of a random sum of them with the eager
    model, at weights moved at random (layers that start from zero hide errors)."""
    held, trainable = {}, []
    for name, t in _weights(model):
        if isinstance(t, nn.Parameter):
            size = t.detach().square().mean().sqrt()
            size = torch.where(size > 0, size, torch.ones_like(size))
            moved = t.detach() + 0.1 * size * torch.randn_like(t)
            t = nn.Parameter(moved, requires_grad=t.requires_grad)
            trainable += [t] if t.requires_grad else []
        held[name] = t
    inputs = compiled._inputs(model, batch)
    if not compiled.fits(inputs):
        raise RefusedError("what the model derives from its batches has sizes of 1")
    whole = _Evaluation(model, compiled.forces, compiled.stress)
    outputs = (
        torch.func.functional_call(whole, held, (batch,)),
        compiled.run(list(held.values()), inputs, create_graph=True),
    )
    found = {name: _relative(outputs[1][name], outputs[0][name]) for name in compiled.names}
    weights = {
        name: torch.randn_like(outputs[0][name])
        / outputs[0][name].detach().square().mean().sqrt().clamp(min=1e-12)
        for name in compiled.names
    }
    gradients = []
    for output in outputs:
        loss = sum((output[name] * weights[name]).sum() for name in compiled.names)
        assert isinstance(loss, Tensor)
        gradients.append(
            torch.autograd.grad(loss, trainable, allow_unused=True, materialize_grads=True)
        )
    largest = max(float(g.abs().max()) for g in gradients[0])
    found["gradient"] = max(
        _relative(b, a, 0.01 * largest) for a, b in zip(*gradients, strict=True)
    )
    return Differences(found)


def _relative(a: Tensor, b: Tensor, floor: float = 0.0) -> float:
    """Return the largest difference in units of the largest value of b; 0 for equal tensors."""
    if a.shape != b.shape:
        return float("inf")
    if not a.numel() or torch.equal(a, b):
        return 0.0
    scale = max(float(b.detach().abs().max()), floor, 1e-12)
    return float((a.detach() - b.detach()).abs().max()) / scale
