"""One short run whose losses and gradients must not depend on the release of TRL; see tools/trl_versions.py.

python golden_run.py make FOLDER                     # the tiny model of conftest, and rows to train on
python golden_run.py run FOLDER OUT.json             # {"step 1": {"loss": …, "grad_norm": …}, …}
"""

import json
import sys
import tempfile
from pathlib import Path

from conftest import _make_model, _make_tokenizer, _trace, _write_lines

from ratio_sft import MixSettings, TrainSettings, build, train
from ratio_sft._shared.records import read_object


def make(folder: Path) -> None:
    """Write the model and the rows."""
    _make_model().save_pretrained(folder / "base")
    _make_tokenizer().save_pretrained(folder / "base")
    traces = _write_lines(folder / "compressed.jsonl", [_trace(number) for number in range(40)])
    build(traces, folder / "mix", MixSettings(heldout_share=0.1))


def run(folder: Path, out: Path) -> None:
    """Train plainly, and packed with weights and accumulated batches, and write the log and the held-out losses."""
    found = {}
    settings = {"model": str(folder / "base"), "max_steps": 4, "learning_rate": 3e-3, "save_steps": 1, "batch_size": 4}
    packed = {"packing": True, "ratio_weights": ((0.2, 2.0),), "gradient_accumulation": 2}
    for name, more in (("plain", {}), ("packed", packed)):
        with tempfile.TemporaryDirectory() as temporary:
            sft = Path(temporary) / "sft"
            train(folder / "mix", sft, TrainSettings(**settings, **more))
            report = read_object(sft / "train_report.json")
            lines = [json.loads(line) for line in (sft / "train_log.jsonl").read_text("utf-8").splitlines()]
        for line in lines:
            found[f"{name} {line['step']}"] = {each: line[each] for each in ("loss", "grad_norm", "learning_rate")}
        found |= {f"{name} held out": report["heldout_loss"], f"{name} chosen": report["chosen_ratios"]}
    out.write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    {"make": make, "run": run}[command](*map(Path, paths))
