"""The Dockerfile and the compose file: what can be known of them without Docker."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import yaml
from cluster import Loader
from conftest import ROOT

DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
COMPOSE = ROOT / "deploy/compose.yaml"


def instructions():
    """(instruction, its arguments), of the whole Dockerfile."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", DOCKERFILE.read_text()))
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line]


def test_images_are_named_with_their_versions():
    images = [text.split(" AS ")[0] for instruction, text in instructions() if instruction == "FROM"]
    stages = {text.split(" AS ")[1] for instruction, text in instructions() if instruction == "FROM" and " AS " in text}
    outside = [image for image in images if image not in stages]
    assert outside and all(re.search(r":(?!latest$)[\w.-]+$", image) for image in outside), outside


def last_stage():
    """The instructions of the image that is kept."""
    all_of_them = instructions()
    begin = max(index for index, (instruction, _) in enumerate(all_of_them) if instruction == "FROM")
    return all_of_them[begin:]


def test_the_image_runs_as_the_user_that_the_chart_says(default):
    security = default.pod("worker").spec["securityContext"]
    assert ("USER", f"{security['runAsUser']}:{security['runAsGroup']}") in last_stage()
    owners = {argument for _, text in last_stage() for argument in text.split() if argument.startswith("--chown=")}
    assert owners == {f"--chown={security['runAsUser']}:{security['runAsGroup']}"}


def test_folders_that_are_written_are_those_that_the_chart_mounts(default):
    (cache,) = [value for instruction, value in last_stage() if instruction == "ENV"]
    assert cache == f"XDG_CACHE_HOME={default.pod('gateway').environment()['XDG_CACHE_HOME']}"
    folders = [text.split()[-1] for instruction, text in last_stage() if instruction == "COPY" and "--chown" in text]
    mounted = {mount["mountPath"] for mount in default.pod("gateway").container["volumeMounts"]}
    assert folders == ["/var/lib/rechka", "/var/cache/rechka"] and folders[1] in mounted


def test_dependencies_are_a_layer_before_the_source():
    build = [text for instruction, text in instructions() if instruction in ("RUN", "COPY", "FROM")]
    cook = next(index for index, text in enumerate(build) if text.startswith("cargo chef cook"))
    build_all = next(index for index, text in enumerate(build) if text.startswith("cargo build"))
    source = [index for index, text in enumerate(build) if text == ". ."]
    stage = max(index for index in range(cook) if " AS " in build[index])
    assert not any(stage < index < cook for index in source)
    assert any(cook < index < build_all for index in source)
    options = [
        re.findall(r"--(?:release|locked|package \S+|features \S+)", build[index]) for index in (cook, build_all)
    ]
    assert options[0] == options[1], "other features are other dependencies: the layer would be built for nothing"


def sent():
    """Files of the repository that a build gets, by .dockerignore."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    def is_sent(path):
        kept = True
        for rule in rules:
            pattern = rule.removeprefix("!")
            parts = path.split("/")
            names = ["/".join(parts[: length + 1]) for length in range(len(parts))]
            anywhere = pattern.startswith("**/") and any(fnmatch.fnmatch(part, pattern[3:]) for part in parts)
            if anywhere or any(fnmatch.fnmatch(name, pattern) for name in names):
                kept = rule.startswith("!")
        return kept

    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for path in listed.splitlines() if is_sent(path)]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="files are listed by git")
def test_what_is_sent_to_a_build_is_all_that_the_binary_is_made_of(tmp_path):
    paths = sent()
    assert "models/digits/model.safetensors" in paths
    assert not [path for path in paths if path.startswith(("deploy/", "docs/", "training/", "tests/python/", ".git"))]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    cargo = os.environ.get("CARGO", "cargo")
    check = [cargo, "metadata", "--format-version=1", "--no-deps", "--locked", "--offline"]
    packages = json.loads(subprocess.run(check, cwd=tmp_path, capture_output=True, check=True).stdout)["packages"]
    for package in packages:
        for target in package["targets"]:
            assert Path(target["src_path"]).exists(), target["src_path"]
    for source in (tmp_path / "crates/rechka/src").rglob("*.rs"):
        for included in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', source.read_text()):
            assert (source.parent / included).exists(), f"{source.name} includes {included}"


def compose():
    return yaml.load(COMPOSE.read_text(), Loader)


def compose_schema():
    folder = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    return json.loads((folder / "compose-spec.json").read_text())


def test_the_compose_file_is_one():
    jsonschema.validate(compose(), compose_schema())


def harm_field(file):
    file["services"]["rechka"]["imagee"] = "rechka"


def harm_ports(file):
    file["services"]["kafka"]["ports"] = "9094:9094"


@pytest.mark.parametrize("harm", [harm_field, harm_ports])
def test_a_broken_compose_file_is_refused(harm):
    broken = compose()
    harm(broken)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, compose_schema())


def test_services_have_what_they_refer_to():
    file = compose()
    for name, service in file["services"].items():
        for other in service.get("depends_on", {}):
            assert "healthcheck" in file["services"][other]
            assert service["profiles"] == file["services"][other]["profiles"], f"{name} would wait for ever"
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in file["volumes"] or (COMPOSE.parent / source).is_file(), f"{name}: {source}"
        for argument in service.get("command", []):
            host, _, port = argument.removeprefix("--log=kafka://").partition(":")
            if host in file["services"]:
                assert f"CLIENTS://{host}:{port}" in file["services"][host]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:"), f"{name} has no password, and must not be open to others"
    assert (
        COMPOSE.parent / file["services"]["rechka"]["build"]["context"] / file["x-rechka"]["build"]["dockerfile"]
    ).is_file()


def test_compose_and_chart_run_the_same(default):
    file = compose()
    assert file["services"]["kafka"]["image"] == default.pod("kafka").container["image"]
    assert file["x-rechka"]["image"] == default.pod("worker").container["image"]
    pipeline = default.one("ConfigMap", "rechka-worker-clicks")["data"]["clicks.sql"]
    assert (COMPOSE.parent / "clicks.sql").read_text() == pipeline
