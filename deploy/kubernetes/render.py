"""Renders the chart into plain manifests, with Helm's own engine: `cargo xtask manifests`."""

from pathlib import Path

from helm_python import Chart

HERE = Path(__file__).parent
CHART = HERE / "chart"
RENDERED = HERE / "rendered"
HEAD = "# Rendered from deploy/kubernetes/chart with its default values. Change it there; then: cargo xtask manifests\n"


def render(values=None, namespace="rechka"):
    """Name of a file -> its text. Each folder of templates is one file; what renders to nothing is left out."""
    with Chart.load(CHART) as chart:
        templates = chart.render(values, name="rechka", namespace=namespace)
    files = {}
    for path, text in sorted(templates.items()):
        place = Path(path).relative_to("rechka/templates")
        text = text.strip().removeprefix("---").strip()
        if place.suffix == ".yaml" and text:
            name = place.parts[0].removesuffix(".yaml") + ".yaml"
            files[name] = files.get(name, HEAD) + f"---\n{text}\n"
    return files


def main():
    RENDERED.mkdir(exist_ok=True)
    files = render()
    for old in RENDERED.glob("*.yaml"):
        if old.name not in files:
            old.unlink()
    for name, text in files.items():
        (RENDERED / name).write_text(text)


if __name__ == "__main__":
    main()
