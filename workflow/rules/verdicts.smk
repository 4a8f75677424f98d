# Published values against ours.


rule judge_card:
    input:
        metrics=ask(RUN.artefact_files("metrics.csv")),
        summaries=ask(RUN.summaries),
    output:
        csv="results/{tier}/{card}/verdicts.csv",
        json="results/{tier}/{card}/verdicts.json",
        claims="results/{tier}/{card}/claims.csv",
        trainings="results/{tier}/{card}/trainings.csv",
    log:
        "logs/{tier}/{card}/judge_card.log",
    benchmark:
        "results/{tier}/{card}/benchmarks/judge_card.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        # whichever artefacts are chosen, all that is there is judged
        card=ask(RUN.whole_card),
        claims=ask(RUN.claims_module),
        code=ask(RUN.judging_code),
    message:
        "Judging {wildcards.card}"
    script:
        "../scripts/judge_card.py"


rule collect_verdicts:
    input:
        verdicts=ask(RUN.card_verdicts),
    output:
        csv=report(
            "results/{tier}/verdicts.csv",
            caption="../report/verdicts.rst",
            category=" Verdicts",
            labels={"artefact": "all", "what": "table"},
        ),
        json="results/{tier}/verdicts.json",
        html=report(
            "results/{tier}/verdicts.html",
            caption="../report/verdicts.rst",
            category=" Verdicts",
            labels={"artefact": "all", "what": "page"},
        ),
    log:
        "logs/{tier}/collect_verdicts.log",
    benchmark:
        "results/{tier}/datasets/benchmarks/collect_verdicts.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        code=ask(RUN.code("collect_verdicts")),
    message:
        "Collecting the verdicts of tier {wildcards.tier}"
    script:
        "../scripts/collect_verdicts.py"


rule write_page:
    input:
        ask(RUN.page_inputs),
    output:
        html="results/{tier}/index.html",
    log:
        "logs/{tier}/write_page.log",
    benchmark:
        "results/{tier}/datasets/benchmarks/write_page.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=1500,
        runtime=10,
    params:
        code=ask(RUN.code("write_page")),
        cards=CONFIG.cards,
    message:
        "Writing the page of results of tier {wildcards.tier}"
    script:
        "../scripts/write_page.py"


rule collect_costs:
    input:
        ask(RUN.cost_inputs),
    output:
        csv=report(
            "results/{tier}/costs.csv",
            caption="../report/costs.rst",
            category="Cost",
            labels={"what": "table"},
        ),
        html=report(
            "results/{tier}/costs.html",
            caption="../report/costs.rst",
            category="Cost",
            labels={"what": "page"},
        ),
    log:
        "logs/{tier}/collect_costs.log",
    benchmark:
        "results/{tier}/datasets/benchmarks/collect_costs.tsv"
    wildcard_constraints:
        tier=CONFIG.tier,
    localrule: True
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        code=ask(RUN.code("collect_costs")),
    message:
        "Summing what the jobs of tier {wildcards.tier} took"
    script:
        "../scripts/collect_costs.py"
