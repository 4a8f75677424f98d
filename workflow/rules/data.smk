# Data sets: an archive of the repository, sampled and labelled from scratch, or imported.


rule generate_trajectory:
    input:
        starts=ask(RUN.starts),
    output:
        frames="results/{tier}/trajectories/{dataset}/size-{size}_replica-{replica}/frames.npz",
    log:
        "logs/{tier}/{dataset}/generate_trajectory/size-{size}_replica-{replica}.log",
    benchmark:
        "results/{tier}/datasets/benchmarks/generate_trajectory/{dataset}_{size}_{replica}.tsv"
    threads: 1
    resources:
        mem_mb=measured("generate_trajectory", "mem_mb", 2000),
        runtime=measured("generate_trajectory", "runtime", 720),
    params:
        plan=ask(RUN.of_dataset(lambda use: dict(use.plan))),
        code=ask(RUN.data_code("generate_trajectory")),
    message:
        "Sampling {wildcards.dataset}, size {wildcards.size}, replica {wildcards.replica}"
    script:
        "../scripts/generate_trajectory.py"


rule assemble_dataset:
    input:
        trajectories=ask(RUN.trajectories),
    output:
        archive="results/{tier}/generated/{dataset}.h5",
    log:
        "logs/{tier}/{dataset}/assemble_dataset.log",
    benchmark:
        "results/{tier}/datasets/benchmarks/assemble_dataset/{dataset}.tsv"
    wildcard_constraints:
        dataset=RUN.datasets(drawn=False),
    threads: ALL_CORES
    resources:
        mem_mb=measured("assemble_dataset", "mem_mb", 4000),
        runtime=measured("assemble_dataset", "runtime", 1440),
    params:
        code=ask(RUN.data_code("assemble_dataset")),
    message:
        "Labelling the frames of {wildcards.dataset}"
    script:
        "../scripts/assemble_dataset.py"


rule draw_structures:
    output:
        archive="results/{tier}/generated/{dataset}.h5",
    log:
        "logs/{tier}/{dataset}/draw_structures.log",
    benchmark:
        "results/{tier}/datasets/benchmarks/draw_structures/{dataset}.tsv"
    wildcard_constraints:
        dataset=RUN.datasets(drawn=True),
    threads: 1
    resources:
        mem_mb=measured("draw_structures", "mem_mb", 2000),
        runtime=measured("draw_structures", "runtime", 60),
    params:
        plan=ask(RUN.of_dataset(lambda use: dict(use.plan))),
        code=ask(RUN.data_code("draw_structures")),
    message:
        "Drawing and labelling the structures of {wildcards.dataset}"
    script:
        "../scripts/draw_structures.py"


rule download_dataset:
    output:
        files="results/{tier}/imported/{dataset}.files.json",
    log:
        "logs/{tier}/{dataset}/download_dataset.log",
    benchmark:
        "results/{tier}/datasets/benchmarks/download_dataset/{dataset}.tsv"
    # the nodes of a cluster seldom have a way out
    localrule: True
    threads: 1
    resources:
        mem_mb=1000,
        runtime=600,
    params:
        published=ask(RUN.published_entry),
        code=ask(RUN.code("download_dataset")),
    message:
        "Downloading the published data set {params.published[name]}"
    script:
        "../scripts/download_dataset.py"


rule import_dataset:
    input:
        frames=ancient(ask(RUN.frames_to_import)),
    output:
        archive="results/{tier}/imported/{dataset}.h5",
        findings="results/{tier}/imported/{dataset}.findings.json",
        report=report(
            "results/{tier}/imported/{dataset}.import.txt",
            category="Data sets",
            labels={"data set": "{dataset}", "what": "what was imported"},
        ),
    log:
        "logs/{tier}/{dataset}/import_dataset.log",
    benchmark:
        "results/{tier}/datasets/benchmarks/import_dataset/{dataset}.tsv"
    threads: 1
    resources:
        mem_mb=measured("import_dataset", "mem_mb", 4000),
        runtime=measured("import_dataset", "runtime", 240),
    params:
        source=ask(RUN.import_source),
        code=ask(RUN.code("import_dataset")),
    message:
        "Importing the frames of {wildcards.dataset}"
    script:
        "../scripts/import_dataset.py"


rule provide_dataset:
    input:
        made=ask(RUN.dataset_made),
        archive=ancient(ask(RUN.dataset_archive)),
    output:
        archive="results/{tier}/datasets/{dataset}.h5",
    log:
        "logs/{tier}/{dataset}/provide_dataset.log",
    benchmark:
        "results/{tier}/datasets/benchmarks/provide_dataset/{dataset}.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        origin=ask(RUN.dataset_origin),
        code=ask(RUN.code("provide_dataset")),
    message:
        "Taking {wildcards.dataset} from {input}"
    script:
        "../scripts/provide_dataset.py"


rule verify_labels:
    input:
        archive="results/{tier}/datasets/{dataset}.h5",
    output:
        table=report(
            "results/{tier}/datasets/{dataset}.verification.csv",
            category="Data sets",
            labels={"data set": "{dataset}", "what": "verified labels"},
        ),
    log:
        "logs/{tier}/{dataset}/verify_labels.log",
    benchmark:
        "results/{tier}/datasets/benchmarks/verify_labels/{dataset}.tsv"
    threads: 1
    resources:
        mem_mb=measured("verify_labels", "mem_mb", 2000),
        runtime=measured("verify_labels", "runtime", 30),
    params:
        frames=ask(RUN.of_dataset(lambda use: use.verify_frames)),
        code=ask(RUN.data_code("verify_labels")),
    message:
        "Recomputing {params.frames} labels of {wildcards.dataset} with the reference"
    script:
        "../scripts/verify_labels.py"


rule datasets:
    log:
        "logs/datasets.log",
    localrule: True
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Listing the data sets"
    run:
        from gnnip.__main__ import dataset_tables

        print(dataset_tables())
        Path(log[0]).write_text(dataset_tables(), encoding="utf-8")
