# Trainings: one rule for every model, group, cell and seed of every card.


rule train_model:
    input:
        dataset=ask(RUN.training_dataset),
        initial=ask(RUN.training_initial),
    output:
        model="results/{tier}/{card}/trainings/{group}/{cell}/seed-{seed}/model.safetensors",
        description="results/{tier}/{card}/trainings/{group}/{cell}/seed-{seed}/model.json",
        history="results/{tier}/{card}/trainings/{group}/{cell}/seed-{seed}/history.csv",
        predictions="results/{tier}/{card}/trainings/{group}/{cell}/seed-{seed}/predictions.csv",
        summary="results/{tier}/{card}/trainings/{group}/{cell}/seed-{seed}/summary.json",
    log:
        "logs/{tier}/{card}/train_model/{group}/{cell}/seed-{seed}.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/train_model/{group}/{cell}_seed-{seed}.tsv"
    threads: 1
    resources:
        mem_mb=measured("train_model", "mem_mb", 3000, USES_GPU),
        runtime=measured("train_model", "runtime", 480),
        # one for each of its processes
        gpu=ask(RUN.of_training(lambda settings: USES_GPU * settings.processes)),
    params:
        training=ask(RUN.training_entry),
        code=ask(RUN.training_code),
    message:
        "Training {wildcards.card} {wildcards.group}/{wildcards.cell}, seed {wildcards.seed}"
    script:
        "../scripts/train_model.py"
