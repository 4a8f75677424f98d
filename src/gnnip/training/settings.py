"""How a potential is trained."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gnnip.errors import ConfigError, nearest
from gnnip.models.hyperparameters import read_options, require


@dataclass(frozen=True)
class Settings:
    """Settings of one training.

    loss, huber_delta : mean absolute, mean square or Huber error (delta in the unit of the error).
    energy_weight, force_weight, stress_weight : loss = energy_weight * L(energy, eV) + force_weight
        * L(force components, eV/Angstrom) + stress_weight * L(stress components, eV/Angstrom^3). A
        force or stress weight above 0 needs a data set with forces or stresses.
    per_atom : the energy error is divided by the number of atoms before the loss.
    optimiser, learning_rate, weight_decay : Adam, AdamW or plain gradient descent.
    batch_size, epochs : structures per step, passes over the training subset.
    scheduler : None; "plateau" (times `plateau_factor` after `plateau_patience` epochs without a
        better validation loss); "cosine" (to `min_learning_rate` at the last epoch); "exponential"
        (times `decay` each epoch). `warmup_epochs` rise linearly from zero, with any of them.
    ema : decay of an exponential moving average of the weights, per step; it is what is validated
        and saved. None for none.
    clip : largest norm of the gradient, or None.
    seed : initial weights, order of batches, dropout.
    device : "auto", "cpu" or "cuda".
    dtype : "float32" or "float64".
    time_limit_s : stop after so many seconds of training, between two steps, and write the results
        of the best epoch so far; the same call with a larger limit continues. None for no limit.
    checkpoint_interval_s : at most so many seconds are lost by a kill.
    threads : CPU threads of torch; None leaves them as they are.
    processes : share every batch among so many processes (`gnnip.training.ranks`), one per GPU.
    compile : run steps through a compiler (`gnnip.training.compiled`), which takes a minute at the
        start and pays on a GPU and for long trainings of small models. Results differ by rounding;
        what cannot be compiled runs as it is.
    """

    loss: Literal["mae", "mse", "huber"] = "mae"
    huber_delta: float = 0.01
    energy_weight: float = 1.0
    force_weight: float = 0.0
    stress_weight: float = 0.0
    per_atom: bool = False
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 32
    epochs: int = 150
    scheduler: Literal["plateau", "cosine", "exponential"] | None = None
    warmup_epochs: int = 0
    plateau_factor: float = 0.5
    plateau_patience: int = 10
    min_learning_rate: float = 0.0
    decay: float = 0.99
    ema: float | None = None
    clip: float | None = None
    seed: int = 0
    device: str = "auto"
    dtype: Literal["float32", "float64"] = "float32"
    time_limit_s: float | None = None
    checkpoint_interval_s: float = 10.0
    threads: int | None = None
    processes: int = 1
    compile: bool = False

    #: settings that do not change the result of a training that runs to its end, but for rounding
    FREE = ("device", "time_limit_s", "checkpoint_interval_s", "threads", "processes", "compile")

    def __post_init__(self) -> None:
        """Raise ConfigError for values that cannot be."""
        hints = typing.get_type_hints(type(self))
        for name in ("loss", "optimiser", "scheduler", "dtype"):
            choices = _choices(hints[name])
            value = getattr(self, name)
            if value not in choices:
                known = [c for c in choices if c is not None]
                raise ConfigError(f"Settings: {name} is '{value}'{nearest(str(value), known)}")
        for name in ("batch_size", "epochs", "processes"):
            require(getattr(self, name) >= 1, f"Settings: {name} must be at least 1.")
        for name in ("learning_rate", "huber_delta"):
            require(getattr(self, name) > 0, f"Settings: {name} must be positive.")
        weights = ("energy_weight", "force_weight", "stress_weight")
        for name in (*weights, "weight_decay", "warmup_epochs"):
            require(getattr(self, name) >= 0, f"Settings: {name} must not be negative.")
        require(
            any(getattr(self, name) > 0 for name in weights),
            "Settings: the weights of energy, force and stress are all 0, so there is nothing to "
            "learn.",
        )
        for name in ("clip", "time_limit_s", "threads"):
            value = getattr(self, name)
            require(value is None or value > 0, f"Settings: {name} must be positive or null.")
        require(
            self.processes == 1 or ":" not in self.device,
            f"Settings: device is '{self.device}' and processes {self.processes}; each process "
            "takes a GPU of its own, so say 'cuda'.",
        )
        require(self.ema is None or 0 < self.ema < 1, "Settings: ema must be between 0 and 1.")

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Settings:
        """Build from plain values; ConfigError names an unknown key and the nearest valid one."""
        return read_options(cls, values, "Settings")

    def binding(self) -> dict[str, Any]:
        """Return the settings that decide the result."""
        return {k: v for k, v in asdict(self).items() if k not in self.FREE}


def _choices(hint: Any) -> list[Any]:
    found: list[Any] = []
    for part in typing.get_args(hint):
        if part is type(None):
            found.append(None)
        elif typing.get_origin(part) is Literal:
            found.extend(typing.get_args(part))
        else:
            found.append(part)
    return found
