"""Extras, pip commands of the documentation, Dockerfile, workflow: read by parsers, and held against each other."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OF_DEVELOPERS = {"dev", "docs", "notebooks", "all"}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def packages(requirements: list[str]) -> list[str]:
    return [re.split(r"[<>=\[; ]", line)[0] for line in requirements]


def test_all_is_every_extra_of_users() -> None:
    (one,) = EXTRAS["all"]
    assert set(re.findall(r"\[(.*)\]", one)[0].split(",")) == set(EXTRAS) - OF_DEVELOPERS


def test_the_table_of_the_readme_says_what_each_extra_brings() -> None:
    table = README.partition("| extra |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| `")]
    told: dict[str, str] = {}
    for names, brings, _ in rows:
        for number, name in enumerate(found := re.findall(r"`(.+?)`", names)):
            parts = brings.split("·")
            told[name] = parts[number] if len(parts) == len(found) else brings
    assert set(told) == set(EXTRAS)
    for name in set(EXTRAS) - OF_DEVELOPERS:
        assert set(packages(EXTRAS[name])) == {part.strip() for part in told[name].split(",")}, name


def pip_commands() -> list[list[str]]:
    texts = [*PAGES, ROOT / "Dockerfile"]
    found = []
    for path in texts:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for block in (
            [text] if path.name == "Dockerfile" else re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
        ):
            found += [shlex.split(line, comments=True) for line in re.findall(r"pip install[^&\n]*", block)]
    return found


PARSE = (
    "import json, sys; from pip._internal.commands import create_command as c; "
    "found = [c(w[1]).parse_args(w[2:]) for w in json.load(sys.stdin)]; "
    "print(json.dumps([[*names, *options.editables] for options, names in found]))"
)


def test_pip_understands_every_command_that_is_told() -> None:
    said = pip_commands()
    assert len(said) >= 5
    done = subprocess.run(  # apart: pip in this process would patch distutils
        [sys.executable, "-c", PARSE], input=json.dumps(said), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for names in json.loads(done.stdout):
        for name in names:
            if "[" in name and ("codistill" in name or name.startswith(".")):
                assert set(name[name.index("[") + 1 : -1].split(",")) <= set(EXTRAS), name


def test_pytorch_without_cuda_comes_from_its_own_index_in_the_versions_that_are_needed() -> None:
    without = [words for words in pip_commands() if any("download.pytorch.org/whl/cpu" in w for w in words)]
    assert len(without) >= 2  # README and Dockerfile
    needed = {line for line in PROJECT["dependencies"] if line.startswith("torch")}
    for words in without:
        assert {word for word in words if word.startswith("torch")} == needed


DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = {"ARG", "FROM", "ENV", "COPY", "RUN", "WORKDIR", "USER", "ENTRYPOINT", "CMD"}


def instructions() -> list[tuple[str, str]]:
    lines = [line for line in DOCKERFILE.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines()]


def test_the_dockerfile_has_two_images_and_copies_what_exists() -> None:
    assert {name for name, _ in instructions()} <= INSTRUCTIONS
    stages: set[str] = set()
    for name, rest in instructions():
        if name == "FROM":
            image, _, stage = rest.partition(" AS ")
            assert image in stages or image.startswith("python:")
            stages.add(stage)
        elif name == "COPY":
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
        elif name == "RUN":
            subprocess.run(["bash", "-n", "-c", rest], check=True)
        elif name in ("ENTRYPOINT", "CMD"):
            assert isinstance(yaml.safe_load(rest), list)
    assert stages == {"base", "cpu", "cuda"}


def test_the_images_run_without_the_rights_of_root() -> None:
    for stage in ("cpu", "cuda"):
        part = DOCKERFILE.partition(f"AS {stage}\n")[2].partition("\nFROM")[0]
        assert part.index("USER codistill") < part.index("ENTRYPOINT")


def workflow_commands() -> str:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    return "\n".join(step["run"] for job in jobs.values() for step in job["steps"] if "run" in step)


def test_the_workflow_does_what_ci_does() -> None:
    own = re.findall(r"^make (\S+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    said = re.findall(r"make (\S+)", workflow_commands())
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"test", "check"} <= set(own) <= set(said) <= set(targets)
    assert re.search(r"^make test\b", README, re.MULTILINE)


def test_the_workflow_tests_every_python_that_is_promised() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    promised = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    assert jobs["test"]["strategy"]["matrix"]["python"] == promised
    for line in workflow_commands().splitlines():
        subprocess.run(["bash", "-n", "-c", line], check=True)
