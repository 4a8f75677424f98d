"""How a potential is trained: every setting, its default, its limits and what it means, once.

The standard library only: cards read the settings without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal

from gnnip.models.hyperparameters import Limits, check_options, read_options, require

LISTING = True  # a new setting with a default changes no result; `SETTINGS_VERSION` tells the rest
#: raised when a default changes, which changes every training that does not state the setting
SETTINGS_VERSION = 1
#: settings that belong to a run, not to a paper
NOT_IN_CARDS = ("seed", "device", "time_limit_s", "checkpoint_interval_s", "threads")

_POSITIVE, _NOT_NEGATIVE = Limits(gt=0), Limits(ge=0)
_AT_LEAST_ONE, _FRACTION, _MEMORY = Limits(ge=1), Limits(gt=0, lt=1), Limits(ge=0, lt=1)


@dataclass(frozen=True)
class Settings:
    """How a potential is trained.

    loss = energy_weight * L(energy, eV) + force_weight * L(force components, eV/Angstrom)
    + stress_weight * L(stress components, eV/Angstrom^3), each L a mean over a batch.
    """

    loss: Literal["mae", "mse", "huber", "log_cosh"] = "mae"
    """What is minimised: mean absolute, mean square, Huber error or log cosh(a x)/a."""
    huber_delta: Annotated[float, _POSITIVE] = 0.01
    """Where the Huber loss turns linear, in the unit of the error."""
    log_cosh_slope: Annotated[float, _POSITIVE] = 1.0
    """Loss log_cosh: a, in one over the unit of the error; it turns linear at errors of 1/a."""
    energy_weight: Annotated[float, _NOT_NEGATIVE] = 1.0
    """Weight of the energy term of the loss."""
    force_weight: Annotated[float, _NOT_NEGATIVE] = 0.0
    """Weight of the force term of the loss; 0 trains on energies only."""
    stress_weight: Annotated[float, _NOT_NEGATIVE] = 0.0
    """Weight of the stress term of the loss (periodic structures with stress labels)."""
    per_atom: bool = False
    """Divide energy errors by the number of atoms before the loss."""
    optimiser: Literal["adam", "adamw", "sgd", "yogi"] = "adam"
    """Adam, Adam with the decay apart from the gradient, plain gradient descent, or Yogi."""
    beta_1: Annotated[float, _MEMORY] = 0.9
    """Adam, AdamW and Yogi: what the mean of the gradients keeps of itself at a step."""
    beta_2: Annotated[float, _MEMORY] = 0.999
    """Adam, AdamW and Yogi: what the mean of their squares keeps of itself at a step."""
    learning_rate: Annotated[float, _POSITIVE] = 1e-3
    """Step size at the start; the largest one of one_cycle."""
    weight_decay: Annotated[float, _NOT_NEGATIVE] = 0.0
    """Pull of the weights towards zero."""
    batch_size: Annotated[int, _AT_LEAST_ONE] = 32
    """Structures per optimiser step."""
    epochs: Annotated[int, _AT_LEAST_ONE] = 150
    """Passes over the training set."""
    scheduler: Literal["plateau", "cosine", "exponential", "step", "one_cycle"] | None = None
    """Learning-rate schedule: lower on plateaus of the validation loss, a cosine to the last epoch,
    a factor per epoch, one step down, or up and down in a cycle; null keeps the rate constant."""
    warmup_epochs: Annotated[int, _NOT_NEGATIVE] = 0
    """Epochs over which the rate rises linearly from zero, with any scheduler."""
    plateau_factor: Annotated[float, _FRACTION] = 0.5
    """Scheduler plateau: what the rate is multiplied by."""
    plateau_patience: Annotated[int, _NOT_NEGATIVE] = 10
    """Scheduler plateau: epochs without a better validation loss before that."""
    min_learning_rate: Annotated[float, _NOT_NEGATIVE] = 0.0
    """Where the schedule ends."""
    decay: Annotated[float, Limits(gt=0, le=1)] = 0.99
    """Scheduler exponential: factor per epoch."""
    step_epochs: Annotated[int, _AT_LEAST_ONE] = 500
    """Scheduler step: epochs at `learning_rate`, before those at `min_learning_rate`."""
    cycle_epochs: Annotated[int | None, _POSITIVE] = None
    """Scheduler one_cycle: epochs after which it starts again; null for one over the training."""
    cycle_start: Annotated[float, _FRACTION] = 0.1
    """Scheduler one_cycle: rate at the start of a cycle, and at nine tenths, over the largest."""
    ema: Annotated[float | None, _FRACTION] = None
    """Decay of a moving average of the weights, per step, which is then what is validated and
    saved; null for none."""
    clip: Annotated[float | None, _POSITIVE] = None
    """Largest norm of the gradient; null for no limit."""
    seed: Annotated[int, _NOT_NEGATIVE] = 0
    """Decides the initial weights, the order of batches and the dropout."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu or cuda."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of weights and graphs."""
    time_limit_s: Annotated[float | None, _POSITIVE] = None
    """Seconds of training after which, between two steps, the results of the best epoch so far are
    written; the same training with a larger limit continues. Null for no limit."""
    checkpoint_interval_s: Annotated[float, _NOT_NEGATIVE] = 10.0
    """Seconds that are lost by a kill at most."""
    threads: Annotated[int | None, Limits(gt=0, le=1024)] = None
    """CPU threads of torch; null leaves them as they are."""
    processes: Annotated[int, _AT_LEAST_ONE] = 1
    """Processes that share every batch, one per GPU; the result is the same but for rounding."""
    check_flat: bool = False
    """Train seed 0 with half the epochs, too, in the folder `half`: under a schedule that ends at
    zero only that shows whether there were epochs enough."""
    compile: bool = False
    """Compile the steps, which takes a minute and pays on a GPU and for long trainings of small
    models; the result is the same but for rounding, and what cannot be compiled runs as it is."""

    #: settings that do not change the result of a training that runs to its end, but for rounding
    FREE = (
        *("device", "time_limit_s", "checkpoint_interval_s", "threads", "processes", "compile"),
        "check_flat",
    )

    def __post_init__(self) -> None:
        """Raise ConfigError for a value that is no choice or out of its limits."""
        check_options(self, "Settings")
        require(
            self.energy_weight > 0 or self.force_weight > 0 or self.stress_weight > 0,
            "Settings: the weights of energy, force and stress are all 0, so there is nothing to "
            "learn.",
        )
        require(
            self.processes == 1 or ":" not in self.device,
            f"Settings: device is '{self.device}' and processes {self.processes}; each process "
            "takes a GPU of its own, so say 'cuda'.",
        )

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Settings:
        """Build from plain values, or from what `stated` returns.

        Raises ConfigError for an unknown key (naming the nearest one), a value that is not allowed,
        and values that were stated with other defaults than the present ones.
        """
        values = dict(values)
        version = values.pop("settings_version", SETTINGS_VERSION)
        require(
            version == SETTINGS_VERSION,
            f"Settings: settings_version is {version!r} and here the defaults are those of version "
            f"{SETTINGS_VERSION}; write the settings again with this gnnip.",
        )
        return read_options(cls, values, "Settings")

    def binding(self) -> dict[str, Any]:
        """Return what of the settings decides the result, as `stated`."""
        return {name: value for name, value in stated(self).items() if name not in self.FREE}


def stated(values: Settings | Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that differ from the defaults, and the version of the defaults.

    A description of a training that holds these stays the same when a setting with a default is
    added, so that nothing is trained again. `Settings.read` takes it back.
    """
    settings = values if isinstance(values, Settings) else Settings.read(values)
    defaults = {field.name: field.default for field in fields(settings)}
    differing = {k: v for k, v in asdict(settings).items() if v != defaults[k]}
    return {"settings_version": SETTINGS_VERSION} | differing
