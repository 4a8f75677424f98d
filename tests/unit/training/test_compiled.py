"""Compiled steps: equal to eager ones, checked before they are trusted, left where they fail."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from tiny_trainings import (
    CRYSTAL,
    FORCES,
    PAIR,
    THIRDS,
    graphs,
    make_crystals,
    make_frames,
    run,
    same_weights,
)

from gnnip.models import build
from gnnip.models.blocks import build as kernels
from gnnip.models.nequip.convolution import SOURCE
from gnnip.training import compiled
from gnnip.training.compiled import compile_evaluation, differences

NETWORK = {"features": "invariant", "activation": "tanh", "channels": 4, "dense_units": 4}
NEQUIP = {"species": (3, 9), "layers": 2, "lmax": 1, "channels": 2, "cutoff": 3.5}
NEQUIP |= {"radial_hidden": (4,), "n_radial": 4}


def compile_it(model, frames, batch_size=4, stress=False, backend="eager"):
    model.double()
    store = graphs(frames, model.cutoff)
    lines = []
    rows = torch.arange(frames.n_frames)
    made = compile_evaluation(
        model, store, rows, batch_size, True, stress, lines.append, backend=backend
    )
    (line,) = lines
    return made, line, store


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


@pytest.fixture
def no_kernels(monkeypatch):
    monkeypatch.setenv("GNNIP_KERNELS", "off")
    kernels.library.cache_clear()
    yield
    kernels.library.cache_clear()


def test_pair_potential_with_stress():
    made, line, store = compile_it(
        build("pair", **CRYSTAL), make_crystals(9), stress=True, backend="aot_eager"
    )
    assert "steps are compiled" in line
    assert "stress" in line
    # other sizes than those of the trace, without another compilation; one structure is left out
    model = build("pair", **CRYSTAL).double()
    for count in (5, 7):
        assert differences(made, model, store.batch(torch.arange(count))).worst(store.dtype) is None
    assert made(model, store.batch(torch.arange(1))) is None


def test_one_structure_in_a_batch():
    made, line, store = compile_it(build("pair", **PAIR), make_frames(6), batch_size=1)
    assert "steps are compiled" in line
    model = build("pair", **PAIR).double()
    assert made(model, store.batch(torch.tensor([5]))) is not None
    assert made(model, store.batch(torch.tensor([4, 5]))) is None


def test_attention_with_invariant_features():
    model = build("spektral", layer="gat", **NETWORK)
    made, line, _ = compile_it(model, make_frames(6))
    assert (made, line) == (
        None,
        "steps are not compiled: the model draws random numbers while it trains",
    )
    for layer in model.convolutions:
        layer.dropout_rate = 0.0
    made, line, _ = compile_it(model, make_frames(6))
    assert made is not None, line


def test_batch_normalisation_is_left_alone():
    model = build("spektral", layer="general", **NETWORK)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    made, line, _ = compile_it(model, make_frames(6))
    assert made is None
    assert "another one in training" in line
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_nequip(no_kernels):
    model = build("nequip", **NEQUIP)
    made, line, store = compile_it(model, make_crystals(6), stress=True)
    assert made is not None, line
    # what the trace needs is prepared, and says the same as without
    batch = store.batch(torch.arange(3))
    plain = model(batch)
    batch.extras = model.prepare(batch)
    assert torch.equal(model(batch)["energy"], plain["energy"])


@pytest.mark.skipif(kernels.library(SOURCE) is None, reason="no C++ compiler for the kernels")
def test_nequip_keeps_its_kernels():
    made, line, _ = compile_it(build("nequip", **NEQUIP), make_crystals(3))
    assert made is None
    assert "the kernels of NequIP are faster" in line
    terms = [{"model": "pair", "hyperparameters": CRYSTAL}, {"model": "nequip"}]
    terms[1]["hyperparameters"] = NEQUIP
    assert "kernels" in build("sum", terms=terms).eager_reason


def test_sum_on_two_cutoffs():
    short = PAIR | {"cutoff": 3.0}
    terms = [{"model": "pair", "hyperparameters": h} for h in (PAIR, short)]
    made, line, _ = compile_it(build("sum", terms=terms), make_frames(6))
    assert made is not None, line


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda out: (out[0], out[1] * (1 + 1e-6)), "forces differs by 1.0e-06"),
        (lambda out: (out[0] + 1e-3, out[1]), "energy differs"),
        (lambda out: (out[0], out[1].detach()), "gradient differs"),
        (lambda out: (out[0], out[1] * float("nan")), "forces differs by nan"),
    ],
)
def test_wrong_code_is_found_out(spoil, message, monkeypatch):
    original = compiled.CompiledEvaluation.run

    def wrong(self, weights, inputs, create_graph):
        output = original(self, weights, inputs, create_graph)
        return dict(zip(self.names, spoil(tuple(output.values())), strict=True))

    monkeypatch.setattr(compiled.CompiledEvaluation, "run", wrong)
    made, line, _ = compile_it(build("pair", **PAIR), make_frames(6), backend="eager")
    assert made is None
    assert message in line


def test_a_compiler_that_fails_is_left_alone():
    def broken(graph, inputs):
        raise RuntimeError("no such instruction")

    made, line, _ = compile_it(build("pair", **PAIR), make_frames(6), backend=broken)
    assert made is None
    assert line.startswith("steps are not compiled: ")


@pytest.mark.slow
def test_training_with_a_compiler_equals_training_without(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    summaries, lines = {}, []
    how = FORCES | {"frames": make_frames(30, forces=True), "split": THIRDS, "say": lines.append}
    how |= {"options": {"layer": "gcs", **NETWORK}, "dtype": "float64", "ema": 0.9, "threads": 1}
    how |= {"epochs": 3}
    for name in ("eager", "compiled"):
        summaries[name] = run(tmp_path / name, compile=name == "compiled", **how)
    assert any("steps are compiled" in line for line in lines)
    assert summaries["compiled"]["compiled"]
    assert not summaries["eager"]["compiled"]
    assert summaries["compiled"]["identity"] == summaries["eager"]["identity"]
    for quantity in ("validation_mae_ev", "test_force_rmse_ev_per_a"):
        expected = summaries["eager"][quantity]
        assert summaries["compiled"][quantity] == pytest.approx(expected, rel=1e-8)
    # and it continues exactly with the same setting
    cut = tmp_path / "cut"
    first = run(cut, compile=True, time_limit_s=1e-6, **how)
    assert first["stopped"] == "time limit"
    run(cut, compile=True, **how)
    assert same_weights(cut, tmp_path / "compiled")


def test_failure_in_the_middle_goes_on_without(tmp_path, monkeypatch):
    def fails(self, model, batch, create_graph=False):
        raise RuntimeError("out of registers")

    monkeypatch.setattr(compiled, "BACKEND", "eager")
    monkeypatch.setattr(compiled.CompiledEvaluation, "__call__", fails)
    lines = []
    how = FORCES | {"frames": make_frames(30, forces=True), "split": THIRDS, "say": lines.append}
    summary = run(tmp_path, "pair", compile=True, epochs=1, **how)
    assert any("no longer compiled: RuntimeError" in line for line in lines)
    assert not summary["compiled"]
    assert np.isfinite(summary["test_force_rmse_ev_per_a"])


@pytest.mark.slow
def test_inductor_in_single_precision():
    """The compiler that is used, in a process of its own: it leaves helpers behind."""
    code = f"""
        import sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from test_compiled import CRYSTAL, build, compile_evaluation, graphs, make_crystals, torch

        model = build("pair", **CRYSTAL)
        store = graphs(make_crystals(5), model.cutoff, torch.float32)
        compile_evaluation(model, store, torch.arange(5), 3, True, False, print)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=300
    )
    assert "steps are compiled" in ran.stdout, ran.stdout + ran.stderr
