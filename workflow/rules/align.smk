rule check_first_weights:
    """Load the weights that a student starts from, so that a file that does not fit stops the run before any training."""
    input:
        first=of_job(run.first_weights),
    output:
        report=paths.aligned("{student}", "first_weights.json"),
    log:
        paths.logs("align/{student}.first_weights.log"),
    priority: 10
    localrule: True
    conda:
        "../../envs/torch.yaml"
    params:
        student=of_job(run.student),
        listing=of_job(users_weights),
    message:
        "Checking the weights that {wildcards.student} starts from"
    script:
        "../scripts/check_first_weights.py"


rule align:
    """Distil the patched CLIP into a multispectral student. The teacher is interpolated in memory."""
    input:
        unpack(of_job(run.teachers_ends)),
        head=of_job(run.align_head),
        store=paths.store(run.taught),
        first=of_job(run.first_weights),
        checked=of_job(run.checked_first_weights),
    output:
        weights=paths.aligned("{student}"),
        history=paths.aligned("{student}", "history.jsonl"),
    log:
        paths.logs("align/{student}.log"),
    benchmark:
        paths.logs("align/{student}.tsv")
    wildcard_constraints:
        student=one_of(run.trained_students),
    conda:
        "../../envs/torch.yaml"
    threads: 8
    resources:
        **asks.training(sizes.aligning),
    params:
        **how_it_trains(),
        checkpoints=paths.aligned("{student}", "checkpoints"),
        monitor=paths.logs("align/{student}"),
        nomenclature=nomenclature_of(align_task(config)),
        space=lambda w: run.clip_of(w.student),
        alpha=of_job(run.teachers_alpha),
        student=of_job(run.student),
        listing=of_job(users_weights),
        recipe=lambda w: align_recipe(config, run.student_name(w.student)),
        seed=seed_of,
    message:
        "Aligning {wildcards.student} to the patched CLIP"
    script:
        "../scripts/align.py"


rule aligned_by_file:
    """Take an aligned student from a file, in place of an alignment."""
    input:
        clip=lambda w: run.clip_paths.clip(run.clip_of(w.student)),
    output:
        weights=paths.aligned("{student}"),
    log:
        paths.logs("align/{student}.log"),
    wildcard_constraints:
        student=one_of(run.students_by_file),
    priority: 10
    localrule: True
    conda:
        "../../envs/torch.yaml"
    params:
        source=of_job(run.student_file),
        listing=lambda w: file_listing(run.student_file(w.student)),
        name=of_job(run.student_name),
        student=of_job(run.student),
        space=lambda w: run.clip_of(w.student),
    message:
        "Loading {wildcards.student} from {params.source}"
    script:
        "../scripts/aligned_by_file.py"
