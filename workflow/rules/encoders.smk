# Encoders that are not made here: published or local weights, kept so that the rest of the workflow need not know whose.


def brought(encoder):
    return results(f"encoders/{encoder}/encoder.json")


for encoder, facts in OTHERS.items():

    rule:
        name:
            f"fetch_encoder_{encoder}"
        output:
            **({"clip": text_model(encoder)} if facts.has_text else {}),
            encoder=brought(encoder),
        log:
            logs(f"encoders/{encoder}.log"),
        benchmark:
            logs(f"encoders/{encoder}.tsv")
        localrule: True
        conda:
            "../../envs/torch.yaml"
        params:
            facts=encoder_content(encoder),
            archives=f"{config['data_root']}/archives/encoders",
            checkpoint=facts.checkpoint,
        message:
            f"Loading {encoder}"
        script:
            "../scripts/fetch_encoder.py"


for dataset in filter(others_of, EVALUATED):

    rule:
        name:
            f"embed_other_{dataset}"
        input:
            encoder=lambda w: brought(w.other),
            store=store(dataset),
        output:
            embeddings=[
                results(f"embeddings/{{other}}/{dataset}.{split}.zarr/zarr.json")
                for split in dataset_facts(dataset).splits
            ],
        log:
            logs(f"embed/{{other}}.{dataset}.log"),
        benchmark:
            logs(f"embed/{{other}}.{dataset}.tsv")
        conda:
            "../../envs/torch.yaml"
        threads: 8
        resources:
            gpu=1,
            mem_mb=lambda w, attempt: 16_000 * attempt,
        params:
            recipe=needs("embed", without=("models_per_job",)),
        message:
            f"Encoding {dataset} with {{wildcards.other}}"
        script:
            "../scripts/embed_encoder.py"
