"""Downloads trained scorers from a model hub by name, and uploads them.

A name is `owner/name` or `owner/name@revision`; a revision is a branch, tag or commit. Only weights in safetensors or
ONNX, tokenizer and settings are downloaded. The environment variables of `huggingface_hub` (HF_ENDPOINT, HF_TOKEN,
HF_HUB_OFFLINE) choose the hub and the token, and whether the network may be used. Reading a folder is left to
`classifier.py`.

    find_folder("owner/name@1f3c2d")
    push_to_hub("models/compressor", "owner/name")
"""

import re
from pathlib import Path

from cot_compressor._shared.checkpoint_files import check_inside
from cot_compressor.errors import CompressorError, DataError, needs_extra

SETTINGS_FILE = "compressor.json"
_NAME = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FILES = ["*.json", "*.txt", "*.model", "*.safetensors", "*.onnx", "README.md"]


def find_folder(name: str | Path) -> Path:
    """The folder of a scorer: a folder on disk if there is one, otherwise the model of that name on the hub.

    Raises:
        DataError: `name` is neither a folder nor the name of a scorer on the hub, or huggingface-hub is not installed.
        CompressorError: the hub cannot be reached, and the model was not downloaded before.
    """
    if Path(name).is_dir():
        return Path(name)
    named = _NAME.fullmatch(str(name))
    # Without a revision, `models/compresor` beside a folder `models` is a path.
    if named is None or (named["revision"] is None and Path(name).parent.is_dir()):
        raise DataError(
            f"scorer {name}: no such folder; give `rules`, a folder written by cot-compressor train, or a hub's "
            "owner/name@revision"
        )
    return _download(str(name), named["repository"], named["revision"])


def _download(name: str, repository: str, revision: str | None) -> Path:
    with needs_extra("scorer", f"scorer {name}: no such folder, and a model hub needs huggingface-hub"):
        from huggingface_hub import hf_hub_download, snapshot_download
        from huggingface_hub.errors import (
            EntryNotFoundError,
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    try:
        # The file that only a scorer has comes first, because other models may be large.
        hf_hub_download(repository, SETTINGS_FILE, revision=revision)
        return Path(snapshot_download(repository, revision=revision, allow_patterns=_FILES))
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise DataError(f"scorer {name}: no such folder, and the hub has no such model or revision") from error
    except LocalEntryNotFoundError as error:
        raise CompressorError(
            f"scorer {name}: no such folder, not downloaded before, and the hub cannot be reached"
        ) from error
    except EntryNotFoundError as error:
        raise DataError(f"scorer {name}: has no {SETTINGS_FILE}, so cot-compressor did not train it") from error
    except Exception as error:  # The client's errors share no base class.
        raise CompressorError(f"scorer {name}: the hub did not answer ({error}); try again") from error


def push_to_hub(folder: str | Path, name: str, *, private: bool = False) -> str:
    """Upload a folder written by `cot-compressor train` or `export`, including its model card.

    Args:
        folder: Folder of the trained scorer.
        name: Name on the hub, `owner/name`; the repository is created if it does not exist.
        private: True to create a repository that only its owner can see.

    Returns:
        `owner/name@commit`, which always names these very weights.

    Raises:
        DataError: `folder` contains no trained scorer or a link to elsewhere, or huggingface-hub is not installed.
        CompressorError: the hub refused the upload, or named no commit.
    """
    if not Path(folder, SETTINGS_FILE).is_file():
        raise DataError(f"{folder}: has no {SETTINGS_FILE}; give a folder written by cot-compressor train")
    check_inside(Path(folder))
    with needs_extra("scorer", "a model hub needs huggingface-hub"):
        from huggingface_hub import HfApi
    hub = HfApi()
    try:
        hub.create_repo(name, private=private, exist_ok=True)
        commit = hub.upload_folder(repo_id=name, folder_path=folder, allow_patterns=_FILES)
    except Exception as error:  # The client's errors share no base class.
        raise CompressorError(f"{name}: the hub refused ({error})") from error
    if not _COMMIT.fullmatch(commit.oid):
        raise CompressorError(f"{name}: the hub named no commit for the upload; look at the repository there")
    return f"{name}@{commit.oid}"
