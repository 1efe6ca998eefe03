import json
import os
import signal
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import engine_toys
import pytest
import torch
from engine_toys import LinearObjective, run_toy, with_bad_image
from rich.console import Console
from safetensors.torch import load_file

import forked
from codistill.engine.distributed import Process
from codistill.engine.loop import EngineConfig, train
from codistill.engine.nonfinite import NonFiniteError
from codistill.engine.optim import OptimConfig
from codistill.errors import CheckpointError, ConfigError, DataError, MissingExtraError
from codistill.files.config import CHANGEABLE, load_yaml
from codistill.nn import precision as nn_precision
from codistill.types import Batch


def final_files(run: Path, step: int = 12) -> dict[str, torch.Tensor]:
    folder = run / "checkpoints" / f"step_{step:08d}"
    return load_file(folder / "model.safetensors") | load_file(folder / "optimizer.safetensors")


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_times(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if not k.startswith(("time/", "memory/"))} for row in rows]


def same_run(a: Path, b: Path) -> None:
    first, second = final_files(a), final_files(b)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert without_times(lines(a / "metrics.jsonl")) == without_times(lines(b / "metrics.jsonl"))


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> dict[str, Path]:
    """One undisturbed run of each toy."""
    runs = {kind: tmp_path_factory.mktemp(kind) / "run" for kind in ("linear", "vit")}
    for kind, run in runs.items():
        assert run_toy(run, kind, change=with_bad_image).finished
    return runs


def test_it_trains_and_records_every_step(straight):
    rows = lines(straight["linear"] / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(12))
    assert rows[0]["lr"] == 0.0
    assert sum(row["loss"] for row in rows[-4:]) < sum(row["loss"] for row in rows[:4]) / 2
    assert {"loss/first", "gradient/mean", "gradient/max", "gradient/clipped", "skipped"} <= set(rows[0])
    timed = [row for row in rows if "time/step" in row]
    assert [row["step"] for row in timed] == [2, 3, 5, 7, 8, 11]
    shares = {"time/share/data", "time/share/teachers", "time/share/backward", "time/share/optimizer"}
    assert shares <= set(timed[0]) and sum(timed[1][name] for name in shares) <= 1.0
    assert timed[0]["time/images_per_second"] > 0 and timed[0]["memory/peak_gib"] > 0.01
    assert json.loads((straight["linear"] / "describe.json").read_text()) == {"kind": "toy"}


def test_what_is_logged_is_what_was_trained(tmp_path):
    """The first loss, from the objective alone; the last weights, from a plain loop without the engine."""
    run_toy(
        tmp_path, steps=3, optim=OptimConfig(lr=0.1, reference_batch=16, clip="none", warmup_fraction=0.0)
    )
    objective = LinearObjective()
    adamw = torch.optim.AdamW(
        objective.trainable.parameters(), lr=0.0, betas=(0.9, 0.99), eps=1e-15, weight_decay=0.0
    )
    adamw.add_param_group({"params": []})
    decay = [p for p in objective.trainable.parameters() if p.ndim == 2]
    rest = [p for p in objective.trainable.parameters() if p.ndim != 2]
    adamw = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.03}, {"params": rest, "weight_decay": 0.0}],
        betas=(0.9, 0.99),
        eps=1e-15,
    )
    cosine = (0.05, 0.037500250000000004, 0.01250075)  # 1e-6 + (0.05 - 1e-6) (1 + cos(k pi / 3)) / 2
    rows = lines(tmp_path / "metrics.jsonl")
    for step, batch in enumerate(engine_toys.toy_batches(Process(), 3)(0)):
        target = batch.images.mean(dim=(2, 3))[:, :2]
        loss = (objective.trainable(batch.images) - target).square().mean()
        assert rows[step]["loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert rows[step]["lr"] == pytest.approx(cosine[step], rel=1e-9)
        adamw.zero_grad()
        loss.backward()
        for group in adamw.param_groups:
            group["lr"] = cosine[step]
        adamw.step()
    saved = final_files(tmp_path, 3)
    for name, p in objective.trainable.named_parameters():
        torch.testing.assert_close(saved[name], p.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "vit"])
@pytest.mark.parametrize("stops", [[1], [3, 4], [5, 6, 11]])
def test_an_interrupted_run_ends_the_same_bit_for_bit(tmp_path, straight, kind, stops):
    for stop in stops:
        summary = run_toy(tmp_path, kind, change=with_bad_image, stop_after=stop)
        assert (summary.step, summary.finished, summary.stopped_by) == (stop, False, "stop_after")
    summary = run_toy(tmp_path, kind, change=with_bad_image)
    assert summary.finished and summary.resumed_from == stops[-1]
    same_run(tmp_path, straight[kind])
    assert lines(tmp_path / "bad_images.jsonl") == lines(straight[kind] / "bad_images.jsonl")


def test_steps_after_the_last_checkpoint_are_repeated_not_doubled(tmp_path, straight):
    def fail_at_eight(step: int, batch: Batch) -> Batch:
        if step == 8:
            raise OSError("the disk with the images is gone")
        return with_bad_image(step, batch)

    with pytest.raises(OSError, match="is gone"):
        run_toy(tmp_path, change=fail_at_eight, log_every=1)
    (tmp_path / "metrics.jsonl").open("a").write('{"step": 7, "lo')
    assert run_toy(tmp_path, change=with_bad_image).resumed_from == 6
    same_run(tmp_path, straight["linear"])


def test_a_run_that_moves_to_a_device_of_another_precision_says_so(tmp_path, monkeypatch, capsys):
    for faster, stop in ((True, 4), (True, 8), (False, None)):
        monkeypatch.setattr(nn_precision, "bf16_is_faster", lambda faster=faster: faster)
        run_toy(tmp_path, precision="fast", stop_after=stop)
        said = "computed in bf16, on this device they are in fp32" in capsys.readouterr().err.replace(
            "\n", " "
        )
        assert said == (not faster)


def test_a_damaged_newest_checkpoint_costs_only_its_steps(tmp_path, straight, capsys):
    run_toy(tmp_path, change=with_bad_image, stop_after=9)
    os.truncate(tmp_path / "checkpoints" / "step_00000009" / "model.safetensors", 100)
    assert run_toy(tmp_path, change=with_bad_image).resumed_from == 6
    said = capsys.readouterr().err
    assert "damaged checkpoint" in said and "step_00000009" in said and "resuming" in said
    same_run(tmp_path, straight["linear"])


def test_a_finished_run_says_so_and_trains_nothing(straight, capsys):
    before = (straight["linear"] / "metrics.jsonl").read_bytes()
    summary = run_toy(straight["linear"])
    assert summary.finished and summary.resumed_from == summary.step == 12
    assert "is finished: all 12 steps are done" in capsys.readouterr().err
    assert (straight["linear"] / "metrics.jsonl").read_bytes() == before


def test_a_run_that_is_where_it_should_stop_trains_nothing(tmp_path, straight, capsys):
    run_toy(tmp_path, change=with_bad_image, stop_after=5)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    for stop in (5, 3):
        summary = run_toy(tmp_path, change=with_bad_image, stop_after=stop)
        assert (summary.step, summary.finished, summary.stopped_by) == (5, False, "stop_after")
        assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert "after step 5; the same command without stop_after resumes" in capsys.readouterr().err
    assert run_toy(tmp_path, change=with_bad_image, stop_after=12).finished
    same_run(tmp_path, straight["linear"])


def test_bad_images_are_listed_and_counted(straight):
    bad = lines(straight["linear"] / "bad_images.jsonl")
    assert [b["name"] for b in bad] == [f"broken-{step}.jpg" for step in (0, 3, 6, 9)]
    assert bad[1] == {"step": 3, "source": "toy", "name": "broken-3.jpg", "reason": "truncated"}
    assert [row["bad_images"] for row in lines(straight["linear"] / "metrics.jsonl")][:4] == [1, 0, 0, 1]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    width: int = 4
    workers: int = field(default=2, metadata=CHANGEABLE)
    optim: OptimConfig = field(default_factory=OptimConfig)


def with_recipe(run: Path, recipe: Recipe, **options):
    config = EngineConfig(total_steps=4, checkpoint_every=2, trackers=(), **options)
    return train(
        LinearObjective(),
        engine_toys.toy_batches(Process(), 4),
        None,
        config=config,
        optim=recipe.optim,
        run_dir=run,
        process=Process(),
        global_batch=8,
        recipe=recipe,
        console=Console(quiet=True),
    )


def test_a_changed_recipe_is_refused_field_by_field(tmp_path):
    with_recipe(tmp_path, Recipe(), stop_after=2)
    assert load_yaml(Recipe, tmp_path / "config.yaml") == Recipe()
    changed = Recipe(width=5, workers=9, optim=OptimConfig(betas=(0.9, 0.5)))
    with pytest.raises(
        ConfigError, match=r"step 2 .*: width: 4 → 5; optim\.betas\[1\]: 0\.99 → 0\.5\. Give the old"
    ):
        with_recipe(tmp_path, changed)
    with pytest.raises(ConfigError, match=r"engine\.seed: 0 → 1\."):
        with_recipe(tmp_path, Recipe(), seed=1)
    assert load_yaml(Recipe, tmp_path / "config.yaml") == Recipe()
    assert with_recipe(tmp_path, Recipe(workers=9), log_every=1).finished
    assert load_yaml(Recipe, tmp_path / "config.yaml").workers == 9


def poison(*steps: int):
    def change(step: int, batch: Batch) -> Batch:
        return batch.with_images(batch.images * float("nan")) if step in steps else batch

    return change


def test_a_step_that_is_not_finite_is_skipped_and_counted(tmp_path):
    summary = run_toy(tmp_path, change=poison(2, 3, 7), max_nonfinite=3)
    assert summary.finished and summary.skipped == 3
    rows = lines(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows if row["skipped"]] == [2, 3, 7]
    assert rows[2]["loss"] is None and rows[4]["loss"] is not None
    assert all(value.isfinite().all() for value in final_files(tmp_path).values())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_too_many_in_a_row_stop_the_run_and_name_the_images(tmp_path, accumulate):
    with pytest.raises(NonFiniteError, match=r"3 steps in a row \(5 to 7\).*nonfinite\.json"):
        run_toy(tmp_path, change=poison(1, 5, 6, 7, 8), max_nonfinite=3, accumulate=accumulate)
    steps = json.loads((tmp_path / "nonfinite.json").read_text())
    assert [step["step"] for step in steps] == [5, 6, 7]
    assert steps[0]["images"] == [{"source": "toy", "name": f"5/{slot}.jpg"} for slot in range(8)]
    assert run_toy(tmp_path, accumulate=accumulate).finished


def test_a_request_to_stop_saves_and_ends_and_the_same_call_resumes(tmp_path, straight):
    def terminate(step: int, batch: Batch) -> Batch:
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return with_bad_image(step, batch)

    before = signal.getsignal(signal.SIGTERM)
    summary = run_toy(tmp_path, change=terminate)
    assert (summary.step, summary.stopped_by) == (5, "SIGTERM")
    assert signal.getsignal(signal.SIGTERM) is before
    assert run_toy(tmp_path, change=with_bad_image).resumed_from == 5
    same_run(tmp_path, straight["linear"])


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_that_come_in_pairs_still_save(tmp_path, first, second, request):
    """A scheduler signals every process, and torchrun passes its own signal on to its workers."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it, and a run keeps to that
    request.addfinalizer(lambda: signal.signal(signal.SIGHUP, before))

    def twice(step: int, batch: Batch) -> Batch:
        if step == 1:
            for number in (first, second, second):
                os.kill(os.getpid(), number)
        return batch

    summary = run_toy(tmp_path, steps=4, change=twice)
    assert (summary.step, summary.stopped_by) == (2, first.name)
    assert (tmp_path / "checkpoints" / "step_00000002").is_dir()


def test_a_second_control_c_that_comes_late_interrupts_at_once(tmp_path, monkeypatch):
    def twice(step: int, batch: Batch) -> Batch:
        for late in (0.0, 10.0):
            monkeypatch.setattr(time, "monotonic", lambda late=late, now=time.monotonic: now() + late)
            os.kill(os.getpid(), signal.SIGINT)
        return batch

    with pytest.raises(KeyboardInterrupt):
        run_toy(tmp_path, steps=4, change=twice)


def test_it_also_runs_outside_the_main_thread(tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(run_toy(tmp_path, steps=2)))
    thread.start()
    thread.join()
    assert found[0].finished


def test_validation_is_recorded_and_leaves_training_mode(tmp_path):
    class Modes(LinearObjective):
        def evaluate(self, model, batches, context):
            assert not model.training and not torch.is_grad_enabled()
            return {**super().evaluate(model, batches, context), "step": context.step}

    objective = Modes()
    summary = run_toy(tmp_path, objective=objective, validate_every=5)
    rows = lines(tmp_path / "validation.jsonl")
    assert [row["step"] for row in rows] == [5, 10, 12]
    assert rows[-1]["error"] == summary.validation["error"] < rows[0]["error"]
    assert objective.trainable.training


def test_data_that_ends_early_is_named(tmp_path):
    config = EngineConfig(total_steps=5, accumulate=2, trackers=())
    with pytest.raises(DataError, match="ended at step 3"):
        train(
            LinearObjective(),
            lambda start: list(engine_toys.toy_batches(Process(), 7)(0)),
            None,
            config=config,
            optim=OptimConfig(),
            run_dir=tmp_path,
            process=Process(),
            global_batch=16,
            console=Console(quiet=True),
        )


def test_tensorboard_gets_the_curves(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_toy(tmp_path, trackers=("tensorboard",), stop_after=5)
    time.sleep(1.01)  # files are read in the order of their names, which count seconds
    run_toy(tmp_path, trackers=("tensorboard",))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    losses = events.Scalars("loss")
    assert [e.step for e in losses] == [2, 3, 4, 5, 7, 8, 11]
    rows = lines(tmp_path / "metrics.jsonl")
    assert losses[0].value == pytest.approx(sum(row["loss"] for row in rows[:3]) / 3, rel=1e-5)


def test_a_tracker_that_is_not_installed_says_how_to_get_it(tmp_path):
    with pytest.raises(MissingExtraError, match=r"pip install 'codistill\[tracking\]'"):
        run_toy(tmp_path, trackers=("mlflow",))


def test_the_folder_is_one_process_s(tmp_path):
    first = forked.start([engine_toys.__file__, tmp_path, "--delay", "0.5"])
    try:
        while "step 3/12" not in first.err.read_text():
            assert first.poll() is None
            time.sleep(0.01)
        with pytest.raises(ConfigError, match="another process is training in"):
            run_toy(tmp_path)
    finally:
        first.kill()
        first.wait()
    assert run_toy(tmp_path, change=with_bad_image).finished


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for run in ("file", "file/run", "file/run/deeper"):
        with pytest.raises(
            CheckpointError, match=rf"{run}: cannot be written.*/file is a file, where"
        ) as found:
            run_toy(tmp_path / run)
        assert "space" not in str(found.value)


def test_a_run_never_hides_an_export(tmp_path):
    (tmp_path / "encoder.safetensors").touch()
    with pytest.raises(ConfigError, match=r"is an export, which a run in it would hide"):
        run_toy(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name[0] != "."] == ["encoder.safetensors"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"total_steps": 0}, "total_steps is 0"),
        ({"log_every": 0}, "log_every is 0"),
        ({"validate_every": -1}, "validate_every is -1"),
        ({"stop_after": 0}, "stop_after is 0"),
        ({"precision": "fp16"}, "Unknown precision 'fp16'.*bf16"),
        ({"strategy": "fsdp"}, "Did you mean 'fsdp2'"),
        ({"trackers": ("wandbb",)}, "Did you mean 'wandb'"),
    ],
)
def test_impossible_settings_say_what_is_allowed(options, text):
    with pytest.raises(ConfigError, match=text):
        replace(EngineConfig(total_steps=1), **options)
