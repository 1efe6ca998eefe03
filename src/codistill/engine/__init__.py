"""The training engine: one loop for every objective, with the same code on one CPU and on 512 GPUs.

    from codistill.files.config import CHANGEABLE, load_yaml, save_yaml
    from codistill.engine.distributed import Process, start_process
    from codistill.engine.loop import EngineConfig, TrainSummary, train
    from codistill.engine.objective import Objective, StepContext, StepResult
    from codistill.engine.optim import OptimConfig
    from codistill.engine.schedule import cosine, warmup_cosine

    with start_process(device="auto") as process:          # torchrun's environment, or one process
        summary = train(
            objective,                                     # engine/objective.py
            train_batches,                                 # (start_step: int) -> Iterable[Batch], this rank's
            val_batches,                                   # () -> Iterable[Batch], or None
            config=EngineConfig(total_steps=1000),
            optim=OptimConfig(lr=3e-4),
            run_dir=Path("runs/first"),
            process=process,
            global_batch=384,                              # over ranks and micro-steps: for the learning-rate rule
            recipe=recipe,                                 # a frozen dataclass: config.yaml, compared on resume
        )

The same call, made again, resumes the run. Rules for an objective:

* Gradients are averaged over ranks and over micro-steps. A loss that is already normalized over the whole global
  batch must therefore be multiplied by `context.world_size`.
* `train_batches(start_step)` gives `config.accumulate` batches per optimizer step, starting with `start_step`. Rank r's
  m-th batch of a step holds the slots `context.slots_of(batch)` of that step's global batch.
* Every rank must call the same submodules in the same order, even with an empty batch: FSDP2 communicates in them.
* Parameters that are never trained should have `requires_grad=False`, so that DDP does not wait for them.
* The global generators are seeded from (seed, step, rank, micro-step) before each forward pass, so that a resumed run
  draws the same stochastic depth.

A run directory holds: config.yaml, describe.json, metrics.jsonl (one object per step), validation.jsonl,
bad_images.jsonl, tensorboard/, checkpoints/step_00000100/{model.safetensors, optimizer.safetensors, state.json}
(the state after 100 steps; `sharded/` instead of optimizer.safetensors under FSDP2), nonfinite.json after a stop.
"""
