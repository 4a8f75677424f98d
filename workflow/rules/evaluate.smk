# Measurements on trained models and data, and the tables that artefacts are made of.


rule audit_symmetry:
    input:
        dataset=step_dataset("symmetry_audit"),
        models=step_models("symmetry_audit"),
        predictions=step_predictions("symmetry_audit"),
    output:
        table="results/{tier}/{card}/steps/symmetry_audit.csv",
    log:
        "logs/{tier}/{card}/audit_symmetry.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/audit_symmetry.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=USES_GPU,
    params:
        options=step_options("symmetry_audit"),
        code=code_of("gnnip.measurements.symmetry_audit"),
        device=CONFIG.device,
    message:
        "Rotating, shifting and mirroring the test set of {wildcards.card}"
    script:
        "../scripts/audit_symmetry.py"


rule measure_timing:
    input:
        dataset=step_dataset("timing"),
        models=step_models("timing"),
    output:
        table="results/{tier}/{card}/steps/timing.csv",
    log:
        "logs/{tier}/{card}/measure_timing.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/measure_timing.tsv"
    # all cores, so that no other job disturbs the clock; the measurement itself uses one
    threads: ALL_CORES
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        options=step_options("timing"),
        code=code_of("gnnip.measurements.timing"),
    message:
        "Timing the reference and the networks of {wildcards.card}"
    script:
        "../scripts/measure_timing.py"


rule compute_densities:
    input:
        dataset=step_dataset("densities"),
    output:
        table="results/{tier}/{card}/steps/densities.csv",
    log:
        "logs/{tier}/{card}/compute_densities.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/compute_densities.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        options=step_options("densities"),
        code=code_of("gnnip.measurements.electron_density"),
    message:
        "Computing the excess electron's density for {wildcards.card}"
    script:
        "../scripts/compute_densities.py"


rule audit_forces:
    input:
        dataset=step_dataset("force_audit"),
        models=step_models("force_audit"),
        predictions=step_predictions("force_audit"),
    output:
        table="results/{tier}/{card}/steps/force_audit.csv",
    log:
        "logs/{tier}/{card}/audit_forces.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/audit_forces.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=USES_GPU,
    params:
        options=step_options("force_audit"),
        code=code_of("gnnip.measurements.force_audit"),
        device=CONFIG.device,
    message:
        "Comparing the forces of the potentials of {wildcards.card} with the reference"
    script:
        "../scripts/audit_forces.py"


rule tabulate_local_forces:
    input:
        dataset=step_dataset(),
        models=step_models(),
        predictions=step_predictions(),
    output:
        table="results/{tier}/{card}/steps/{step}.csv",
    log:
        "logs/{tier}/{card}/tabulate_local_forces/{step}.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/tabulate_local_forces/{step}.tsv"
    wildcard_constraints:
        step=r"local_forces(_\w+)?",
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=USES_GPU,
    params:
        options=step_options(),
        code=code_of("gnnip.measurements.local_forces"),
        device=CONFIG.device,
    message:
        "Dividing the forces of the potentials of {wildcards.card}/{wildcards.step}"
    script:
        "../scripts/tabulate_local_forces.py"


rule run_dynamics:
    input:
        dataset=step_dataset(),
        model="results/{tier}/{card}/trainings/{potential}/model.safetensors",
    output:
        trajectory="results/{tier}/{card}/dynamics/{step}/{potential}/trajectory.h5",
        failures=directory("results/{tier}/{card}/dynamics/{step}/{potential}/failures"),
    log:
        "logs/{tier}/{card}/run_dynamics/{step}/{potential}.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/run_dynamics/{step}/{potential}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=480,
        gpu=USES_GPU,
    params:
        motion=dynamics_motion,
        code=dynamics_code,
        device=CONFIG.device,
    message:
        "Moving atoms by {wildcards.potential} for {wildcards.card}/{wildcards.step}"
    script:
        "../scripts/run_dynamics.py"


rule run_reference:
    input:
        dataset=step_dataset(),
        archive=reference_archive,
    output:
        trajectory="results/{tier}/{card}/dynamics/{step}/reference/trajectory.h5",
        failures=directory("results/{tier}/{card}/dynamics/{step}/reference/failures"),
    log:
        "logs/{tier}/{card}/run_reference/{step}.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/run_reference/{step}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=480,
    params:
        options=reference_options,
        code=reference_code,
    message:
        "Moving atoms by the reference, or from its archive, for {wildcards.card}/{wildcards.step}"
    script:
        "../scripts/run_reference.py"


rule compare_dynamics:
    input:
        dataset=step_dataset(),
        models=step_models(),
        trajectories=dynamics_files,
    output:
        table="results/{tier}/{card}/steps/{step}.csv",
    log:
        "logs/{tier}/{card}/compare_dynamics/{step}.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/compare_dynamics/{step}.tsv"
    # all cores, so that no other job disturbs the clock; the measurement itself uses one
    threads: ALL_CORES
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        names=potential_names,
        options=comparison_options,
        code=code_of("gnnip.measurements.dynamics.comparison"),
    message:
        "Comparing the dynamics of {wildcards.card}/{wildcards.step} with the reference"
    script:
        "../scripts/compare_dynamics.py"


rule measure_conservation:
    input:
        dataset=step_dataset(),
        models=step_models(),
    output:
        table="results/{tier}/{card}/steps/{step}.csv",
    log:
        "logs/{tier}/{card}/measure_conservation/{step}.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/measure_conservation/{step}.tsv"
    wildcard_constraints:
        step="conservation(_[a-z0-9_]+)?",
    threads: 1
    resources:
        mem_mb=3000,
        runtime=240,
    params:
        names=model_names,
        options=step_options(),
        code=conservation_code,
    message:
        "Measuring the energy error against the time step for {wildcards.card}/{wildcards.step}"
    script:
        "../scripts/measure_conservation.py"


rule probe_charges:
    input:
        dataset=step_dataset("charge_probe"),
        models=step_models("charge_probe"),
        predictions=step_predictions("charge_probe"),
    output:
        table="results/{tier}/{card}/steps/charge_probe.csv",
    log:
        "logs/{tier}/{card}/probe_charges.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/probe_charges.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=USES_GPU,
    params:
        options=step_options("charge_probe"),
        code=code_of("gnnip.measurements.charge_probe"),
        device=CONFIG.device,
    message:
        "Probing the unit charges with the potentials of {wildcards.card}"
    script:
        "../scripts/probe_charges.py"


rule tabulate_artefact:
    input:
        trainings=artefact_trainings,
        steps=artefact_steps,
        datasets=artefact_datasets,
    output:
        tidy=report(
            "results/{tier}/{card}/artefacts/{artefact}.csv",
            category="{card}",
            subcategory="Tables",
            labels={"artefact": "{artefact}", "what": "tidy table"},
        ),
        metrics="results/{tier}/{card}/artefacts/{artefact}.metrics.csv",
    log:
        "logs/{tier}/{card}/tabulate_artefact/{artefact}.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/tabulate_artefact/{artefact}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        card=artefact_facts,
        code=artefact_code,
    message:
        "Tabulating {wildcards.card}/{wildcards.artefact}"
    script:
        "../scripts/tabulate_artefact.py"
