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
        code=code_of("gnnip.evaluation.audits"),
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
        code=code_of("gnnip.evaluation.timing"),
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
        code=code_of("gnnip.evaluation.density"),
    message:
        "Computing the excess electron's density for {wildcards.card}"
    script:
        "../scripts/compute_densities.py"


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
        code=code_of("gnnip.evaluation.charge_probe"),
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
