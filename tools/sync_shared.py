"""Copies packages/_shared into the packages that use it, so that each wheel works alone and the code has one source.

Which package takes which module and schema is listed here; anything else in a `_shared` folder is removed.

    python tools/sync_shared.py            # make sync
    python tools/sync_shared.py --check    # exit code 1 if a copy differs: part of make check
"""

import sys
from pathlib import Path

PACKAGES = Path(__file__).parents[1] / "packages"
SOURCE = PACKAGES / "_shared"
_EVERY = (
    "addresses",
    "bounded",
    "checkpoint_files",
    "checkpoint_loader",
    "checkpoint_settings",
    "cli_group",
    "interrupts",
    "intervals",
    "lock",
    "parquet_rows",
    "progress",
    "records",
    "row_files",
    "runs",
    "secret_text",
    "strict_json",
    "system_errors",
    "terminal",
    "tokenizer_file",
    "settings_flags",
)
_MODEL = (*_EVERY, "boxed", "control_tokens", "thinking", "thinking_formats")
_TRAINING = ("file_record", "training_checkpoints", "trl_release")
_ROWS = ("ray_shards", "remote_output", "row_layout", "row_source")
_SERVER = ("bounded_http", "server_choice", "server_messages")
MODULES = {
    "cot_compressor": (
        *_EVERY,
        *_ROWS,
        *_SERVER,
        "file_record",
        "output_file",
        "thinking",
        "thinking_formats",
    ),
    "ratio_sft": (*_MODEL, *_TRAINING, "ray_shards"),
    "chrpo": (*_MODEL, *_TRAINING, "output_file", "thinking_ids"),
    "math_eval": (*_MODEL, *_ROWS, *_SERVER),
}
SCHEMAS = {
    "cot_compressor": ("annotated", "compress_input", "compressed", "fidelity", "thinking_format", "traces"),
    "ratio_sft": ("compressed", "control_tokens", "problems", "rl_prompts", "samples", "sft", "thinking_format"),
    "chrpo": ("control_tokens", "rl_prompts", "samples", "thinking_format"),
    "math_eval": (
        "control_tokens",
        "grade_input",
        "graded",
        "problems",
        "results",
        "row",
        "run_manifest",
        "run_sample",
        "run_shard",
        "samples",
        "task",
        "thinking_format",
        "traces",
    ),
}


def copies(package: str) -> dict[Path, str]:
    """Every file of a package's `_shared` folder, and its content."""
    folder = PACKAGES / package.replace("_", "-") / "src" / package / "_shared"
    files = {folder / "__init__.py": '"""Copied from packages/_shared by tools/sync_shared.py; edit it there."""\n'}
    for name in MODULES[package]:
        text = (SOURCE / f"{name}.py").read_text("utf-8")
        files[folder / f"{name}.py"] = f"# copied from packages/_shared/{name}.py; edit it there\n{text}"
    for name in SCHEMAS[package]:
        file = f"schemas/{name}.schema.json"
        files[folder / file] = (SOURCE / file).read_text("utf-8")
    return files


def stale(package: str) -> list[Path]:
    """The files of a package's `_shared` folder that are missing, differ from their source, or have none."""
    wanted = copies(package)
    folder = next(iter(wanted)).parent
    present = {path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    differing = (path for path, text in wanted.items() if path not in present or path.read_text("utf-8") != text)
    return sorted({*differing, *(present - wanted.keys())})


def main(check: bool) -> int:
    """Write or check all copies; returns the exit code."""
    for package in MODULES:
        for path in stale(package):
            if check:
                print(f"{path.relative_to(PACKAGES.parent)}: differs from packages/_shared; run make sync")
                continue
            text = copies(package).get(path)
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
    return int(check and any(map(stale, MODULES)))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
