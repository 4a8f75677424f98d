# Measurements on data sets and trained models: one rule for every kind, whose work is in the
# library; in dynamics the replicas of every potential are a job of their own.


rule measure:
    input:
        datasets=ask(RUN.measured_datasets),
        models=ask(RUN.measured_models),
        trajectories=ask(RUN.moved_trajectories),
    output:
        table="results/{tier}/{card}/measurements/{measurement}.csv",
    log:
        "logs/{tier}/{card}/measure/{measurement}.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/measure/{measurement}.tsv"
    # all cores where a clock runs, so that no other job disturbs it; it uses one
    threads: ask(RUN.of_kind(lambda kind: ALL_CORES if kind.clock else 1))
    resources:
        mem_mb=measured(
            "measure", "mem_mb", RUN.of_kind(lambda kind: kind.memory), USES_GPU
        ),
        runtime=measured("measure", "runtime", RUN.of_kind(lambda kind: kind.runtime)),
        gpu=ask(RUN.of_kind(lambda kind: USES_GPU if kind.on_gpu else 0)),
        # on a cluster a node alone where a clock runs
        slurm_extra=ask(RUN.of_kind(lambda kind: "--exclusive" if kind.clock else "")),
    params:
        measurement=ask(RUN.measurement),
        code=ask(RUN.measurement_code),
        # of a clock alone: other results are free of where they were computed
        device=ask(RUN.of_kind(lambda kind: DEVICE if kind.clock else None)),
    message:
        "Measuring {wildcards.card}/{wildcards.measurement}"
    script:
        "../scripts/measure.py"


rule run_dynamics:
    input:
        dataset=ask(RUN.moving_dataset),
        model="results/{tier}/{card}/trainings/{potential}/model.safetensors",
        description="results/{tier}/{card}/trainings/{potential}/model.json",
    output:
        trajectory="results/{tier}/{card}/dynamics/{measurement}/{potential}/trajectory.h5",
        failures=directory(
            "results/{tier}/{card}/dynamics/{measurement}/{potential}/failures"
        ),
    log:
        "logs/{tier}/{card}/run_dynamics/{measurement}/{potential}.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/run_dynamics/{measurement}/{potential}.tsv"
    threads: 1
    resources:
        mem_mb=measured("run_dynamics", "mem_mb", 3000, USES_GPU),
        runtime=measured("run_dynamics", "runtime", 480),
        gpu=USES_GPU,
    params:
        motion=ask(RUN.of_kind(lambda kind: dict(kind.motion))),
        code=ask(RUN.moving_code),
    message:
        "Moving atoms by {wildcards.potential} for {wildcards.card}/{wildcards.measurement}"
    script:
        "../scripts/run_dynamics.py"


rule run_reference:
    input:
        dataset=ask(RUN.moving_dataset),
        archive=ancient(ask(RUN.reference_archive)),
    output:
        trajectory="results/{tier}/{card}/dynamics/{measurement}/reference/trajectory.h5",
        failures=directory(
            "results/{tier}/{card}/dynamics/{measurement}/reference/failures"
        ),
    log:
        "logs/{tier}/{card}/run_reference/{measurement}.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/run_reference/{measurement}.tsv"
    threads: 1
    resources:
        mem_mb=measured("run_reference", "mem_mb", 2000),
        runtime=measured("run_reference", "runtime", 480),
    params:
        options=ask(RUN.reference_options),
        code=ask(RUN.reference_code),
    message:
        "Moving atoms by the reference, or from its archive, for {wildcards.card}/{wildcards.measurement}"
    script:
        "../scripts/run_reference.py"
