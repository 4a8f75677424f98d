"""The loop of a training: epochs, steps, validation, checkpoints."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gnnip.errors import CheckpointError, ConvergenceError, GnnipError
from gnnip.files import atomic_path
from gnnip.graphs import GraphBatch
from gnnip.models import Potential, evaluate
from gnnip.models.fitting import TrainingFrames
from gnnip.training import soundness
from gnnip.training.losses import Errors, Objective, Share
from gnnip.training.optimiser import OPTIMISERS
from gnnip.training.problem import Problem, Task
from gnnip.training.progress import Progress
from gnnip.training.randomness import random_state, seed_everything, set_random_state
from gnnip.training.ranks import Ranks
from gnnip.training.schedule import SCHEDULES
from gnnip.training.settings import Settings

if TYPE_CHECKING:
    from gnnip.training.compiled import CompiledEvaluation

#: a training loss this many times its lowest value, so many epochs running, will not come back
DIVERGED_FACTOR, DIVERGED_EPOCHS = 100.0, 5
#: steps whose losses are kept: a replay of them tells whether other code trains alike
FIRST_STEPS = 20
_EVALUATION_BATCH = 64


@dataclass
class Run:
    """Everything that changes while a training runs; what a checkpoint holds.

    `step`, `sums` and `seconds` belong to the epoch that has begun: its steps done, what they add
    to `Objective.no_errors`, and the time they took. `fit` is what a fit in closed form reported.
    `candidates` (epoch, loss, weights) have a lower loss than the best epoch, but what follows them
    is not known yet; the lucky epoch is the best of those that were luck. `first_losses` are those
    of the first steps, each of the batch before its step, or the one of a fit in closed form.
    """

    epoch: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=list)
    seconds: float = 0.0
    best_epoch: int = 0
    best_loss: float = math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    candidates: list[tuple[int, float, dict[str, Tensor]]] = field(default_factory=list)
    lucky_epoch: int = 0
    lucky_loss: float = math.inf
    lowest_train: float = math.inf
    history: list[dict[str, float]] = field(default_factory=list)
    wall_s: float = 0.0
    resumed: int = 0
    first_losses: list[float] = field(default_factory=list)
    fit: dict[str, Any] | None = None

    @property
    def lowest(self) -> int:
        """Return the epoch with the lowest loss of those that may be kept."""
        waiting = [(loss, epoch) for epoch, loss, _ in self.candidates]
        return min([(self.best_loss, self.best_epoch), *waiting])[1]

    @property
    def place(self) -> str:
        """Return how far it has come, in words."""
        return f"epoch {self.epoch}" + (f", step {self.step}" if self.step else "")


class Loop:
    """The training of one potential on its graphs, and what it keeps."""

    def __init__(
        self,
        problem: Problem,
        task: Task,
        settings: Settings,
        path: Path,
        identity: str,
        ranks: Ranks,
    ) -> None:
        """Begin, or continue from the checkpoint `path` of a training of the same `identity`.

        Raises CheckpointError for a checkpoint that is damaged.
        """
        self.ranks, self.settings = ranks, settings
        self.model, self.store = task.trained, task.target
        self.rows = {name: torch.from_numpy(rows) for name, rows in problem.rows.items()}
        self.path, self.identity = path, identity
        self.objective = Objective(settings)
        self.trainable = [p for p in self.model.parameters() if p.requires_grad]
        # a force needs the memory of a backward pass, so evaluation takes steps like training's
        derivatives = self.objective.forces or self.objective.stress
        self.evaluation_batch = (
            min(_EVALUATION_BATCH, 2 * settings.batch_size) if derivatives else _EVALUATION_BATCH
        )
        self.optimiser = OPTIMISERS[settings.optimiser](
            self.model.parameters(), settings.weight_decay, (settings.beta_1, settings.beta_2)
        )
        self.schedule = SCHEDULES[settings.scheduler](settings)
        self.average = (
            AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
            if settings.ema is not None
            else None
        )
        self.run = Run()
        self.compiled: CompiledEvaluation | None = None
        self.random_state: dict[str, Tensor] = {}
        self.begun = self.saved = time.perf_counter()
        self.say: Callable[[str], object] = print
        if self.restore():
            self.run.resumed += 1
        ranks.wait()  # until all have read the checkpoint

    @property
    def judged(self) -> Potential:
        """The model that is validated and saved."""
        return self.model if self.average is None else self.average.module  # type: ignore[return-value]

    def train(self, bar: Progress) -> str:
        """Fit, compile and train by gradient as far as each applies; return why it ended."""
        self.say = bar.say
        if not self.run.resumed:
            self.fit()
        if self.run.fit is not None and self.run.fit["complete"]:
            return self.judge_fit(bar)
        if self.settings.compile:
            self.compile(bar)
        return self.train_epochs(bar)

    def fit(self) -> None:
        """Let the potential fit itself in closed form, and keep what it found in a checkpoint."""
        objective, begun = self.objective, time.perf_counter()
        report = None
        if self.ranks.first:
            frames = TrainingFrames(
                self.store,
                self.rows["train"],
                self.rows["validation"],
                self.settings.energy_weight,
                self.settings.force_weight,
                self.settings.stress_weight,
                objective.per_atom,
            )
            report = self.model.fit(frames)
        if not self.ranks.agree(report is not None):
            return
        if report is not None:
            self.run.fit = json.loads(json.dumps(asdict(report)))
            self.run.wall_s += time.perf_counter() - begun
            if self.average is not None:
                self.average.module.load_state_dict(self.model.state_dict())
            self.checkpoint()
        self.ranks.wait()  # until it is written
        if not self.ranks.first:
            self.restore()

    def judge_fit(self, bar: Progress) -> str:
        """Measure what was fitted completely, as the one row of the history."""
        run, begun = self.run, time.perf_counter()
        train, validation = self.measure("train"), self.measure("validation")
        if not (math.isfinite(train.loss) and math.isfinite(validation.loss)):
            raise ConvergenceError(
                "The fit in closed form gives errors that are not finite; give it more training "
                "frames or fewer coefficients."
            )
        run.seconds = run.wall_s + time.perf_counter() - begun
        run.wall_s = run.seconds
        run.first_losses = [train.loss]
        self.keep_epoch(train, validation, rate=0.0)
        self.settle(ended=True)
        bar.say(f"fitted in closed form: train {train}, validation {validation}")
        return "fit"

    def compile(self, bar: Progress) -> None:
        """Compile the steps, where that can be done; the time it takes counts as training."""
        from gnnip.training.compiled import compile_evaluation

        begun = time.perf_counter()
        self.compiled = compile_evaluation(
            self.model,
            self.store,
            self.rows["train"],
            math.ceil(self.settings.batch_size / self.ranks.size),
            self.objective.forces,
            self.objective.stress,
            bar.say,
        )
        self.run.wall_s += time.perf_counter() - begun

    def train_epochs(self, bar: Progress) -> str:
        """Run the remaining epochs; return why it ended."""
        run = self.run
        self.begun = time.perf_counter() - run.wall_s
        while run.epoch < self.settings.epochs:
            rate = self.schedule.rate(run.epoch)
            up = self.ranks.agree(self.time_is_up())
            train = None if up else self.train_epoch(run.epoch)
            if train is None:
                self.checkpoint()
                self.settle(ended=True)
                return "time limit" if run.best_weights else self.judge_unfinished(bar)
            before = time.perf_counter()
            validation = self.measure("validation")
            run.seconds += time.perf_counter() - before
            run.wall_s = time.perf_counter() - self.begun
            if not (math.isfinite(train.loss) and math.isfinite(validation.loss)):
                return self.diverged(bar, f"the loss of epoch {run.epoch + 1} is not finite")
            self.schedule.observe(validation.loss)
            self.keep_epoch(train, validation, rate)
            recent = min(h["train_loss"] for h in run.history[-DIVERGED_EPOCHS:])
            if recent > DIVERGED_FACTOR * run.lowest_train:
                return self.diverged(bar, f"the loss rose {DIVERGED_FACTOR:.0f}-fold and stayed")
            bar.step(
                run.epoch,
                f"train {train}, validation {validation}, "
                f"best epoch {run.lowest}, {run.history[-1]['seconds']:.2f} s",
            )
            if run.epoch < self.settings.epochs and self.ranks.agree(self.checkpoint_is_due()):
                self.checkpoint()
        self.settle(ended=True)
        return "epochs"

    def keep_epoch(self, train: Errors, validation: Errors, rate: float) -> None:
        """End an epoch: its row of the history, and its weights if they may be the best."""
        run = self.run
        run.epoch += 1
        run.lowest_train = min(run.lowest_train, train.loss)
        if validation.loss < run.best_loss:
            run.candidates.append((run.epoch, validation.loss, self.weights()))
        run.history.append(
            {
                "epoch": run.epoch,
                "train_loss": train.loss,
                "validation_loss": validation.loss,
                **train.columns("train"),
                **validation.columns("validation"),
                "learning_rate": rate,
                "seconds": run.seconds,
            }
        )
        run.step, run.sums, run.seconds = 0, [], 0.0
        self.settle()

    def settle(self, ended: bool = False) -> None:
        """Keep the best of the candidates whose neighbours are known, all when it has `ended`,
        but none that is luck."""
        run, waiting = self.run, []
        for epoch, loss, weights in run.candidates:
            if loss >= run.best_loss:
                continue
            if not ended and run.epoch < epoch + soundness.NEIGHBOURS:
                waiting.append((epoch, loss, weights))
            elif not self.is_luck(epoch):
                run.best_epoch, run.best_loss, run.best_weights = epoch, loss, weights
            elif loss < run.lucky_loss:
                run.lucky_epoch, run.lucky_loss = epoch, loss
        run.candidates = waiting

    def is_luck(self, epoch: int) -> bool:
        """Tell whether the error of an epoch is luck; only the epochs around it are looked at, of
        which there may be tens of thousands."""
        begin = max(0, epoch - 1 - soundness.NEIGHBOURS)
        return soundness.is_luck(self.errors(begin, epoch + soundness.NEIGHBOURS), epoch - begin)

    def errors(self, begin: int = 0, end: int | None = None) -> list[float]:
        """Return the validation errors of epochs, all of them unless others are asked for."""
        kind = self.settings.loss
        losses = [row["validation_loss"] for row in self.run.history[begin:end]]
        return [soundness.validation_error(loss, kind) for loss in losses]

    def time_is_up(self) -> bool:
        """Tell whether the time limit has come, which it never does before the first step."""
        limit, run = self.settings.time_limit_s, self.run
        return limit is not None and bool(run.epoch or run.step) and run.wall_s >= limit

    def judge_unfinished(self, bar: Progress) -> str:
        """Take the weights as they are for the best when not one epoch fitted into the time."""
        if not math.isfinite(self.measure("validation").loss):
            return self.diverged(bar, "the validation loss is not finite")
        self.run.best_weights = self.weights()
        bar.say(f"the time limit came at {self.run.place}, before the end of the first epoch")
        return "time limit"

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the weights that are validated."""
        return {k: v.detach().clone() for k, v in self.judged.state_dict().items()}

    def train_epoch(self, epoch: int) -> Errors | None:
        """Pass over what is left of an epoch; return the mean errors on the way, or None when the
        time limit came first."""
        s, run = self.settings, self.run
        order = seed_everything(s.seed, epoch)
        shuffled = self.rows["train"][torch.randperm(len(self.rows["train"]), generator=order)]
        self.model.train()
        steps = math.ceil(len(shuffled) / s.batch_size)
        totals = self.objective.no_errors(self.store.device)
        if run.step and self.ranks.first:
            totals += torch.tensor(run.sums, dtype=totals.dtype, device=totals.device)
            set_random_state(self.random_state, self.store.device)
        done, spent, begun = run.step, run.seconds, time.perf_counter()
        for share in self.shares(shuffled[done * s.batch_size :], s.batch_size):
            if not self.ranks.first:  # other random numbers than those of the first process
                seed_everything(s.seed, epoch, run.step, self.ranks.rank)
            # the first step of a warm-up must move
            within = (run.step + 1) / steps if self.schedule.changes_within_epochs else 0
            error = self.train_step(share, self.schedule.rate(epoch + within))
            totals += error
            if epoch * steps + run.step < FIRST_STEPS:
                self.keep_loss(error, shuffled[run.step * s.batch_size :][: s.batch_size])
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

    def keep_loss(self, error: Tensor, rows: Tensor) -> None:
        """Keep the loss of one batch, the structures `rows`."""
        self.run.first_losses.append(self.mean(error, rows).loss)

    def shares(self, rows: Tensor, size: int) -> Iterator[Share]:
        """Yield what this process does of the structures `rows` in batches of `size`."""
        for start in range(0, len(rows), size):
            whole = rows[start : start + size]
            mine = self.ranks.share(whole)
            yield Share(
                self.store.batch(mine) if len(mine) else None, len(whole), self.store.n_atoms(whole)
            )

    def train_step(self, share: Share, rate: float) -> Tensor:
        """Move the weights by one batch; return what its errors add to `Objective.no_errors`."""
        self.optimiser.zero_grad()
        loss, error = self.loss(self.model, share, create_graph=True)
        if self.trainable and share.batch is not None:
            # the gradient for the positions, which forces have made leaves, is not wanted
            loss.backward(inputs=self.trainable)
        self.ranks.sum_gradients(self.trainable)
        if self.settings.clip is not None:
            nn.utils.clip_grad_norm_(self.trainable, self.settings.clip)
        self.optimiser.step(rate)
        if self.average is not None and self.trainable:
            self.average.update_parameters(self.model)
        return error

    def measure(self, subset: str) -> Errors:
        """Return the errors of a subset."""
        model, rows = self.judged, self.rows[subset]
        model.eval()
        totals = self.objective.no_errors(self.store.device)
        with torch.no_grad():
            for share in self.shares(rows, self.evaluation_batch):
                totals += self.loss(model, share, create_graph=False)[1]
        return self.mean(totals, rows)

    def mean(self, totals: Tensor, rows: Tensor) -> Errors:
        """Turn sums over the structures `rows`, of all processes, into means."""
        sums = self.ranks.sum(totals).tolist()
        return self.objective.mean(sums, len(rows), self.store.n_atoms(rows))

    def loss(self, model: Potential, share: Share, create_graph: bool) -> tuple[Tensor, Tensor]:
        """Return what a share adds to the loss of its batch, and to `Objective.no_errors`."""
        if share.batch is None:
            return torch.zeros(()), self.objective.no_errors(self.store.device)
        return self.objective(self.evaluate(model, share.batch, create_graph), share)

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
        return evaluate(model, batch, self.objective.forces, self.objective.stress, create_graph)

    def diverged(self, bar: Progress, reason: str) -> str:
        """Keep the best epoch if there is one, else give up."""
        self.settle(ended=True)
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
        content = io.BytesIO()  # torch hides why a file cannot be written
        torch.save(state, content)
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(content.getbuffer())
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
            self.run = Run(**state["run"])
            self.random_state = state["random_state"]
        except Exception as error:
            raise CheckpointError(
                f"The checkpoint {self.path} is damaged; delete it to start this training again."
            ) from error
        return True
