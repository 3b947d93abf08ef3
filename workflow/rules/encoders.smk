# Encoders that the run does not train: published or local weights, stored in one form for the rest of the workflow.

for encoder, facts in run.others.items():

    rule:
        name:
            f"fetch_encoder_{encoder}"
        output:
            **({"clip": run.text_model(encoder)} if facts.has_text else {}),
            encoder=shared.encoder(encoder),
        log:
            shared.logs(f"encoders/{encoder}.log"),
        benchmark:
            shared.logs(f"encoders/{encoder}.tsv")
        localrule: True
        conda:
            "../../envs/torch.yaml"
        params:
            facts=encoder_content(encoder, unpinned=run.is_unpinned(encoder)),
            archives=paths.archives("encoders"),
            checkpoint=facts.checkpoint,
            listing=file_listing(facts.checkpoint),
        message:
            f"Loading {encoder}"
        script:
            "../scripts/fetch_encoder.py"


rule fetch_weights:
    """Fetch the published weights that a student starts from."""
    output:
        weights=paths.weights("{file}"),
    log:
        shared.logs("encoders/{file}.log"),
    localrule: True
    conda:
        "../../envs/torch.yaml"
    params:
        facts=of_job(run.fetched_facts),
    message:
        "Fetching {wildcards.file}"
    script:
        "../scripts/fetch_weights.py"
