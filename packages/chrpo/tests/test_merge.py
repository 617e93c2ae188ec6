"""Merging two checkpoints: which changes stay, by hand; files, formats and manifests; folders of strangers."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from chrpo._shared import runs
from chrpo.cli import cli
from chrpo.errors import DataError
from chrpo.merge import merge

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from safetensors.torch import load_file, save_file  # noqa: E402


@pytest.fixture
def pair(checkpoint, tmp_path):
    """The tiny checkpoint, and a copy whose weights all moved a little, other ones more."""
    after = shutil.copytree(checkpoint, tmp_path / "after")
    generator = torch.Generator().manual_seed(0)
    tensors = load_file(after / "model.safetensors")
    moved = {name: value + 1e-3 * torch.randn(value.shape, generator=generator) for name, value in tensors.items()}
    save_file(moved, after / "model.safetensors", metadata={"format": "pt"})
    return checkpoint, after


def weights(folder):
    return {
        name: value for path in sorted(Path(folder).glob("*.safetensors")) for name, value in load_file(path).items()
    }


def flat(tensors):
    return torch.cat([tensors[name].flatten().float() for name in sorted(tensors)])


def replace_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors", metadata={"format": "pt"})


def small(folder, source, values, dtype=torch.float32):
    """A folder with the config and tokenizer of a checkpoint and one tensor of a few numbers, as many as its layers."""
    shutil.copytree(source, folder)
    third = torch.tensor(values[2:], dtype=dtype)
    first = {str(place): torch.tensor([value], dtype=dtype) for place, value in enumerate(values[:2])}
    save_file({**first, "rest": third}, folder / "model.safetensors")
    return folder


def test_the_largest_changes_by_hand(checkpoint, tmp_path):
    """Changes 4, -1, 3, 0, -2, .5, 0, 0: the largest quarter of eight is 4 and 3, times .5."""
    before = small(tmp_path / "a", checkpoint, [1.0, 1, 1, 1, 1, 1, 1, 1])
    after = small(tmp_path / "b", checkpoint, [5.0, 0, 4, 1, -1, 1.5, 1, 1])
    found = merge(before, after, tmp_path / "out", share=0.25, scale=0.5)
    assert (found.weights, found.changed, found.kept, found.smallest) == (8, 5, 2, 3.0)
    assert flat(weights(tmp_path / "out")).tolist() == [3, 1, 2.5, 1, 1, 1, 1, 1]
    found = merge(before, after, tmp_path / "more", share=0.375, scale=1)
    assert flat(weights(tmp_path / "more")).tolist() == [5, 1, 4, 1, -1, 1, 1, 1]
    # More than there are changes: those that did not change are not counted as kept.
    found = merge(before, after, tmp_path / "all", share=0.9, scale=1)
    assert (found.kept, found.smallest) == (5, 0.0)
    assert flat(weights(tmp_path / "all")).tolist() == flat(weights(after)).tolist()


def test_of_equal_changes_at_the_limit_all_stay(checkpoint, tmp_path):
    before = small(tmp_path / "a", checkpoint, [0.0] * 6)
    after = small(tmp_path / "b", checkpoint, [2.0, -2, 2, 1, 3, -2])
    assert merge(before, after, tmp_path / "out", share=1 / 3, scale=1).kept == 5


@settings(max_examples=25)
@given(
    st.lists(st.floats(-(2.0**90), 2.0**90, width=32), min_size=3, max_size=40),
    st.floats(0.01, 1),
    st.sampled_from([0.5, 1.0]),
)
def test_what_stays_is_at_least_as_large_as_what_goes(checkpoint, tmp_path_factory, values, share, scale):
    folder = tmp_path_factory.mktemp("merge")
    before = small(folder / "a", checkpoint, [0.0] * len(values))
    after = small(folder / "b", checkpoint, values)
    found = merge(before, after, folder / "out", share=share, scale=scale)
    got, change = flat(weights(folder / "out")).numpy(), flat(weights(after)).numpy()
    ranked = np.sort(np.abs(change))[::-1]
    limit = ranked[math.ceil(round(share * len(values), 6)) - 1]
    stays = (np.abs(change) >= limit) & (change != 0)
    assert got.tolist() == (np.float32(scale) * change * stays).tolist()
    assert found.kept == stays.sum()


def test_all_changes_at_scale_one_give_the_second_checkpoint_and_a_quarter_the_largest(pair, tmp_path):
    before, after = pair
    merge(before, after, tmp_path / "all", share=1, scale=1)
    assert torch.allclose(flat(weights(tmp_path / "all")), flat(weights(after)), atol=1e-7)
    found = merge(before, after, tmp_path / "quarter")
    change = (flat(weights(after)) - flat(weights(before))).abs()
    assert found.kept == math.ceil(0.25 * len(change))
    assert found.smallest == change.sort(descending=True).values[found.kept - 1]
    moved = (flat(weights(tmp_path / "quarter")) - flat(weights(before))).abs()
    assert ((moved > 0) == (change >= found.smallest)).all()
    assert torch.allclose(moved[moved > 0], 0.7 * change[moved > 0], atol=1e-6)


def test_the_result_is_a_checkpoint_of_the_second_with_a_manifest(pair, tmp_path):
    from chrpo._shared.checkpoint_loader import load_model, load_tokenizer
    from chrpo._shared.control_tokens import ControlTokens

    before, after = pair
    (after / "generation_config.json").write_text('{"eos_token_id": 1}')
    (after / "manifest.json").write_text('{"command": "chrpo train", "settings": {}}')
    (after / "run.py").write_text("raise SystemExit")
    out = tmp_path / "out"
    merge(before, after, out)
    assert json.loads((out / "generation_config.json").read_text()) == {"eos_token_id": 1}
    assert not (out / "run.py").exists()
    assert ControlTokens.load(out) == ControlTokens.load(after)
    assert load_tokenizer(out)("copy 3").input_ids == load_tokenizer(after)("copy 3").input_ids
    loaded = load_model(out, torch.float32).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in weights(out).items())
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["command"] == "chrpo merge"
    assert manifest["settings"]["share"] == 0.25
    assert set(manifest["settings"]["inputs"]) == {"before", "after"}
    assert manifest["result"]["kept"] == math.ceil(manifest["result"]["weights"] / 4)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_shards_of_either_checkpoint_make_no_difference(pair, tmp_path):
    from transformers import AutoModelForCausalLM

    before, after = pair
    whole = merge(before, after, tmp_path / "whole")
    sharded = shutil.copytree(before, tmp_path / "sharded")
    (sharded / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(before, dtype=torch.float32).save_pretrained(sharded, max_shard_size="20KB")
    assert len(list(sharded.glob("*.safetensors"))) > 2
    assert merge(sharded, after, tmp_path / "out") == whole
    assert torch.equal(flat(weights(tmp_path / "out")), flat(weights(tmp_path / "whole")))
    index = json.loads((tmp_path / "out/model.safetensors.index.json").read_text())
    assert index == json.loads((sharded / "model.safetensors.index.json").read_text()) | {
        "metadata": {"total_size": sum(value.nbytes for value in weights(before).values())}
    }
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    other = merge(after, sharded, tmp_path / "back")
    assert other.kept == whole.kept
    assert not (tmp_path / "back/model.safetensors.index.json").exists()


def test_the_more_precise_format_of_the_two_is_written(checkpoint, tmp_path):
    """1 + .002 is 1 in bfloat16, so a small change would be lost there."""
    before = small(tmp_path / "a", checkpoint, [1.0] * 4, torch.bfloat16)
    after = small(tmp_path / "b", checkpoint, [1.002, 1, 1, 1])
    merge(before, after, tmp_path / "out", scale=1)
    assert weights(tmp_path / "out")["0"].dtype == torch.float32
    assert flat(weights(tmp_path / "out"))[0] == pytest.approx(1.002)


def test_the_command_says_what_it_kept_and_does_nothing_when_repeated(pair, tmp_path):
    before, after = map(str, pair)
    out = tmp_path / "out"

    def run(*more):
        return CliRunner().invoke(cli, ["merge", before, after, str(out), *more])

    first = run("--share", ".5")
    assert first.exit_code == 0, first.output
    total = sum(value.numel() for value in weights(out).values())
    assert f"{out}: written ({math.ceil(total / 2)} of {total} changes kept, in {total} weights; " in first.stderr
    stamp = (out / "model.safetensors").stat().st_mtime_ns
    assert "nothing to do" in run("--share", ".5").stderr
    assert (out / "model.safetensors").stat().st_mtime_ns == stamp
    refused = run("--share", ".25")
    assert refused.exit_code == 2
    assert "share was 0.5, is 0.25" in refused.stderr
    assert run("--share", ".25", "--overwrite").exit_code == 0
    assert json.loads((out / "manifest.json").read_text())["settings"]["share"] == 0.25


def test_a_killed_merge_is_repeated_with_the_same_result(pair, tmp_path, monkeypatch):
    before, after = pair
    whole = merge(before, after, tmp_path / "whole")

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs, "publish", stop)
        with pytest.raises(KeyboardInterrupt):
            merge(before, after, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert merge(before, after, tmp_path / "out") == whole
    assert (tmp_path / "out/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()
    assert not runs.partial_path(tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda tensors: {name: value for name, value in tensors.items() if "norm" not in name},
            "in this checkpoint alone",
        ),
        (lambda tensors: {**tensors, "more.weight": torch.zeros(2)}, "'more.weight' is in this checkpoint alone"),
        (lambda tensors: {name: value.flatten() for name, value in tensors.items()}, "has shape"),
        (lambda tensors: {name: value * math.nan for name, value in tensors.items()}, "not finite"),
        (
            lambda tensors: {name: value.int() for name, value in tensors.items()},
            "of whole numbers, differs; merge two",
        ),
    ],
    ids=["lost", "more", "shape", "nan", "integers"],
)
def test_weights_of_another_model_are_refused_and_leave_nothing(pair, tmp_path, change, words):
    before, after = pair
    replace_tensors(after, change)
    with pytest.raises(DataError, match=words):
        merge(before, after, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["after"]


def truncated(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def linked(folder):
    (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
    (folder / "model.safetensors").symlink_to(folder.parent / "elsewhere.safetensors")


def with_code(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "stranger", "auto_map": {"AutoConfig": "code.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("open('ran', 'w')")


def another_kind(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "qwen2"}))


def wrong_index(folder):
    index = {"metadata": {}, "weight_map": {"no.such": "model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def other_names(folder):
    (folder / "model.safetensors").rename(folder / "weights.safetensors")


def tokenizer_elsewhere(folder):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "vocab_file": "/etc/hostname"}))


@pytest.mark.parametrize("which", ["A", "B"])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (truncated, "corrupted weights"),
        (pickled, "only pickle weights"),
        (linked, "symbolic link to outside"),
        (with_code, "cannot be loaded"),
        (another_kind, "a model of type"),
        (wrong_index, "names other tensors"),
        (other_names, "weights are not in model.safetensors"),
        (tokenizer_elsewhere, "a file outside the folder"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_folders_of_strangers_are_refused_before_anything_is_written(pair, tmp_path, spoil, words, which, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, after = (shutil.copytree(folder, tmp_path / name) for folder, name in zip(pair, "AB", strict=True))
    spoil({"A": before, "B": after}[which])
    done = CliRunner().invoke(cli, ["merge", str(before), str(after), "out"])
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert "\n" not in done.stderr.strip()
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"share": 0}, r"share must be in \(0, 1\]"),
        ({"share": math.nan}, "got nan"),
        ({"scale": math.inf}, "scale must be a finite number"),
    ],
)
def test_numbers_out_of_range_are_refused(pair, tmp_path, options, words):
    with pytest.raises(DataError, match=words):
        merge(*pair, tmp_path / "out", **options)


def test_an_output_that_is_an_input_or_of_another_program_is_refused(pair, tmp_path):
    before, after = pair
    with pytest.raises(DataError, match="would replace"):
        merge(before, after, after)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/notes.txt").write_text("mine")
    with pytest.raises(DataError, match="not written by chrpo merge"):
        merge(before, after, tmp_path / "taken", overwrite=True)
    assert (tmp_path / "taken/notes.txt").read_text() == "mine"
