"""Electronic-structure programs behind one interface: a text of settings in, an ASE calculator out.

    engine = make_engine("xtb method=GFN1-xTB")
    energy, forces, _ = evaluate(engine.calculator(), atoms)

The text names the engine and what differs from its defaults; `engine.text` states everything and is
what archives record. Units: eV, Angstrom, eV/Angstrom. ASE and the engines themselves are imported
when a calculator is asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from importlib import import_module, metadata
from typing import Any, ClassVar, NamedTuple, get_type_hints

import numpy as np

from gnnip.errors import ConfigError, ConvergenceError, GnnipError, nearest

#: name -> (module, class)
_ENGINES = {
    "xtb": ("gnnip.reference.xtb", "Xtb"),
    "pyscf": ("gnnip.reference.pyscf", "Pyscf"),
    "cp2k": ("gnnip.reference.cp2k", "Cp2k"),
    "ase": ("gnnip.reference.engines", "AseEngine"),
}


#: environment variables that say how many threads an engine uses
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class EngineError(GnnipError):
    """An engine that is not installed, or not in the way that is needed."""


@dataclass(frozen=True)
class Engine:
    """Settings of one engine; subclasses add their own as fields, each with a default."""

    name: ClassVar[str]
    #: what the labels count as: dft, or xtb for anything cheaper
    reference: ClassVar[str]
    #: raised when the same settings begin to give other numbers: part of the key of cached labels
    revision: ClassVar[int] = 1
    #: the calculator is best kept from frame to frame of a trajectory
    consecutive: ClassVar[bool] = False
    #: settings that say how it is run and do not change the labels
    execution: ClassVar[tuple[str, ...]] = ()
    #: comes with pip, so that labels can be verified everywhere
    from_pip: ClassVar[bool] = True
    #: how closely labels can be computed again: eV per atom, eV/Angstrom
    energy_tolerance: ClassVar[float] = 1e-6
    force_tolerance: ClassVar[float] = 1e-3

    def version(self) -> str:
        """Return the version that is installed; EngineError when there is none."""
        raise NotImplementedError

    def calculator(self) -> Any:
        """Return a new ASE calculator; EngineError when the engine is not installed."""
        raise NotImplementedError

    def again(self) -> Engine:
        """Return the engine that labels are verified with: converged further where it can be."""
        return self

    @property
    def text(self) -> str:
        """Return name and all settings, in the form that `make_engine` reads."""
        return self._text(asdict(self))

    def _text(self, settings: Mapping[str, Any]) -> str:
        words = [f"{key}={shlex.quote(_plain(value))}" for key, value in settings.items()]
        return " ".join([self.name, *words])

    def provenance(self) -> dict[str, str]:
        """Return engine_version and engine (the text), as archives record them."""
        return {"engine": self.text, "engine_version": f"{self.name} {self.version()}"}

    def key(self, atoms: Any) -> str:
        """Return a name (24 hexadecimal digits) for the labels of `atoms` by this engine.

        It changes with the structure, the settings, the engine's version and `revision`.
        """
        what = {k: v for k, v in asdict(self).items() if k not in self.execution}
        head = f"{self._text(what)}\0{self.version()}\0{self.revision}\0"
        digest = hashlib.sha256(head.encode())
        for values in (
            np.asarray(atoms.numbers, dtype=np.int64),
            np.asarray(atoms.positions, dtype=np.float64),
            np.asarray(atoms.cell, dtype=np.float64) * np.asarray(atoms.pbc)[:, None],
            np.asarray(atoms.pbc, dtype=bool),
        ):
            digest.update(values.tobytes())
        return digest.hexdigest()[:24]


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def names() -> list[str]:
    """Return the names of the engines."""
    return sorted(_ENGINES)


def engine_module(text: str) -> str:
    """Return the library module behind an engine text, e.g. to hash its code."""
    return _find(text)[0][0]


def make_engine(text: str) -> Engine:
    """Return the engine that a text such as `xtb method=GFN1-xTB accuracy=10` describes.

    `ase:NAME key=value ...` is any calculator of ASE by name.

    Raises ConfigError for an unknown engine or setting and for a value of the wrong kind. Whether
    the engine is installed shows only when its version or a calculator is asked for.
    """
    (module, cls), word, settings = _find(text)
    engine: type[Engine] = getattr(import_module(module), cls)
    if engine is AseEngine:
        return AseEngine(word.partition(":")[2], " ".join(f"{k}={v}" for k, v in settings.items()))
    kinds = get_type_hints(engine)
    known = [field.name for field in fields(engine)]
    values: dict[str, Any] = {}
    for key, value in settings.items():
        if key not in known:
            raise ConfigError(f"The engine '{word}' has no setting '{key}'{nearest(key, known)}.")
        values[key] = _read(word, key, value, kinds[key])
    return engine(**values)


def _find(text: str) -> tuple[tuple[str, str], str, dict[str, str]]:
    words = shlex.split(str(text))
    if not words:
        raise ConfigError(f"No engine is named; known names are {', '.join(names())}.")
    name = words[0].partition(":")[0]
    if name not in _ENGINES:
        raise ConfigError(f"There is no engine '{words[0]}'{nearest(name, names())}.")
    if (name == "ase") != (":" in words[0]):
        raise ConfigError(
            f"The engine is written '{words[0]}'; write ase:NAME for a calculator of ASE, and the "
            "name alone for the others."
        )
    settings = {}
    for word in words[1:]:
        key, separator, value = word.partition("=")
        if not separator:
            raise ConfigError(
                f"'{word}' in the engine '{text}' is not a setting; write key=value, separated by "
                "spaces."
            )
        settings[key] = value
    return _ENGINES[name], words[0], settings


def _read(engine: str, key: str, value: str, kind: type) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[value.lower()]
        return kind(value)
    except (ValueError, KeyError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise ConfigError(
            f"The engine '{engine}' cannot use {key}={value}; it must be {wanted}."
        ) from None


def check_positive(engine: Engine, *settings: str) -> None:
    """Raise ConfigError for the first of the settings that is not above zero."""
    for name in settings:
        value = getattr(engine, name)
        if not (np.isfinite(value) and value > 0):
            raise ConfigError(f"The engine '{engine.name}' cannot use {name}={value}; give > 0.")


def one_thread() -> None:
    """Let an engine that is imported after this use one thread, unless the user has said how many.

    Frames are spread over processes; threads in each would compete with them.
    """
    for name in THREADS:
        os.environ.setdefault(name, "1")


def package_version(package: str, engine: str) -> str:
    """Return the version of a Python package; EngineError that says how to install it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise EngineError(
            f"The engine '{engine}' needs the package {package}, which is not installed; run "
            f"'pip install {package}'."
        ) from None


class Evaluation(NamedTuple):
    """Energy (eV), forces (n, 3) (eV/Angstrom) and stress (3, 3) (eV/Angstrom^3, sign of ASE)."""

    energy: float
    forces: np.ndarray
    stress: np.ndarray | None


def evaluate(calculator: Any, atoms: Any, *, stress: bool = False) -> Evaluation:
    """Return energy and forces of `atoms`, which is left alone; with `stress` also that, where the
    cell is periodic in all directions and the engine has it.

    Raises ConvergenceError with the engine's reason when it gives none, or none that is finite.
    """
    work = atoms.copy()
    work.calc = calculator
    tensor = None
    try:
        forces = np.array(work.get_forces(), dtype=np.float64)
        energy = float(work.get_potential_energy())
        if stress and work.pbc.all() and "stress" in calculator.implemented_properties:
            tensor = np.array(work.get_stress(voigt=False), dtype=np.float64)
    except GnnipError:
        raise
    except Exception as error:  # engines fail in many ways, all of them facts about this frame
        raise ConvergenceError(f"{type(error).__name__}: {_first_line(error)}") from error
    values = [np.array(energy), forces, *([] if tensor is None else [tensor])]
    if not all(np.isfinite(value).all() for value in values):
        raise ConvergenceError("energy, forces or stress are not finite")
    return Evaluation(energy, forces, tensor)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else "no reason given"


@contextlib.contextmanager
def running(engine: Engine) -> Iterator[Any]:
    """Yield a calculator and end what it started (a program of its own) afterwards."""
    calculator = engine.calculator()
    try:
        yield calculator
    finally:
        close(calculator)


def close(calculator: Any) -> None:
    """End what a calculator started, if anything."""
    if hasattr(calculator, "close"):
        calculator.close()


@dataclass(frozen=True)
class AseEngine(Engine):
    """A calculator of ASE by name, with keywords as YAML scalars: for tests and cheap models."""

    name: ClassVar[str] = "ase"
    reference: ClassVar[str] = "xtb"

    calculator_name: str = ""
    keywords: str = ""

    @property
    def text(self) -> str:
        """Return name and keywords."""
        return f"ase:{self.calculator_name} {self.keywords}".strip()

    def version(self) -> str:
        """Return the version of ASE."""
        return package_version("ase", "ase")

    def calculator(self) -> Any:
        """Return the calculator; ConfigError for an unknown name or keyword."""
        from ase.calculators import calculator

        if self.calculator_name not in calculator.names:
            known = nearest(self.calculator_name, calculator.names)
            raise ConfigError(f"ASE has no calculator '{self.calculator_name}'{known}.")
        try:
            return calculator.get_calculator_class(self.calculator_name)(**self._keywords())
        except Exception as error:
            raise ConfigError(
                f"ASE's calculator '{self.calculator_name}' does not start with "
                f"'{self.keywords}' ({_first_line(error)})."
            ) from error

    def _keywords(self) -> Mapping[str, Any]:
        import yaml

        pairs = (word.partition("=") for word in shlex.split(self.keywords))
        return {key: yaml.safe_load(value) for key, _, value in pairs}
