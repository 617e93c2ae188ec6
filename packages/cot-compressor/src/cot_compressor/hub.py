"""Trained scorers on a model hub: fetched by name, and put there.

A name is `owner/name`, or `owner/name@revision` with a branch, tag or commit. Only weights in safetensors or ONNX,
tokenizer and settings are fetched, whatever else lies there. Which hub is asked, with which token, and whether the
network may be used at all is up to the environment variables of `huggingface_hub` (HF_ENDPOINT, HF_TOKEN,
HF_HUB_OFFLINE). Reading a folder is left to `classifier.py`.

    find_folder("owner/name@1f3c2d")
    push_to_hub("models/compressor", "owner/name")
"""

import re
from pathlib import Path

from .errors import CompressorError, DataError

SETTINGS_FILE = "compressor.json"
_NAME = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?")
_FILES = ["*.json", "*.txt", "*.model", "*.safetensors", "*.onnx", "README.md"]


def find_folder(name: str | Path) -> Path:
    """The folder of a scorer: the one there is, or else what the hub has under that name.

    Raises:
        DataError: neither a folder nor the name of a model on the hub.
        CompressorError: the hub cannot be asked, and the model was not fetched before.
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
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository, revision = named["repository"], named["revision"]
    try:
        # First the file that only a scorer has: other models may be large.
        hf_hub_download(repository, SETTINGS_FILE, revision=revision)
        return Path(snapshot_download(repository, revision=revision, allow_patterns=_FILES))
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise DataError(f"scorer {name}: no such folder, and the hub has no such model or revision") from error
    except LocalEntryNotFoundError as error:
        raise CompressorError(
            f"scorer {name}: no such folder, and not fetched before while the hub cannot be asked"
        ) from error
    except EntryNotFoundError as error:
        raise DataError(f"scorer {name}: has no {SETTINGS_FILE}, so cot-compressor did not train it") from error
    except Exception as error:  # The client's errors share no base class.
        raise CompressorError(f"scorer {name}: the hub did not answer ({error}); try again") from error


def push_to_hub(folder: str | Path, name: str, *, private: bool = False) -> str:
    """Upload a folder written by `cot-compressor train` or `export`, model card included.

    Args:
        folder: The model.
        name: `owner/name`; made if it is not there.
        private: Make it so that only its owner sees it.

    Returns:
        `owner/name@commit`, which will always mean these very weights.

    Raises:
        DataError: `folder` holds no trained scorer.
        CompressorError: the hub refused.
    """
    from huggingface_hub import HfApi

    if not Path(folder, SETTINGS_FILE).is_file():
        raise DataError(f"{folder}: has no {SETTINGS_FILE}; give a folder written by cot-compressor train")
    hub = HfApi()
    try:
        hub.create_repo(name, private=private, exist_ok=True)
        commit = hub.upload_folder(repo_id=name, folder_path=folder, allow_patterns=_FILES)
    except Exception as error:  # The client's errors share no base class.
        raise CompressorError(f"{name}: the hub refused ({error})") from error
    return f"{name}@{commit.oid}"
