"""Check of a run's sampler against the one that the model's generation_config.json asks for.

sampler_findings(manifest, "checkpoints/base")[0].found    # 'sampled greedily; … asks for temperature 0.6, top_p 0.95'
"""

from pathlib import Path
from typing import Any

from math_eval._shared.checkpoint_settings import read_settings

from .finding import OK, WARNING, Finding

_FILE = "generation_config.json"
_TOLERANCE = 0.011


def sampler_findings(manifest: dict[str, Any], model: str | Path | None) -> list[Finding]:
    """One finding about temperature and top-p.

    Args:
        manifest: The manifest of the run.
        model: Folder of the model; None takes the one that the manifest names.

    Raises:
        DataError: generation_config.json is corrupt.
    """
    settings = manifest["settings"]
    path = Path(str(model or manifest.get("model", ""))) / _FILE
    if not path.is_file():
        where = (
            f"{path.parent} has no {_FILE}" if model else "the model of the run is not at hand; name it with --model"
        )
        return [Finding("sampler", OK, f"not checked: {where}")]
    asked = read_settings(path)
    used = "greedily" if settings["temperature"] == 0 else f"at temperature {settings['temperature']:g}"
    wanted = {
        name: value
        for name, value in asked.items()
        if name in ("temperature", "top_p") and isinstance(value, int | float) and not isinstance(value, bool)
    }
    if not (asked.get("do_sample") and wanted):
        return [Finding("sampler", OK, f"sampled {used}; {_FILE} of the model asks for nothing else")]
    differing = {name: value for name, value in wanted.items() if abs(settings[name] - value) > _TOLERANCE}
    words = ", ".join(f"{name} {value:g}" for name, value in wanted.items())
    found = f"sampled {used}, top_p {settings['top_p']:g}; {_FILE} of the model asks for {words}"
    if not differing:
        return [Finding("sampler", OK, found)]
    flags = " ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in differing.items())
    return [Finding("sampler", WARNING, found, f"sample with {flags}, or state the difference beside the numbers")]
