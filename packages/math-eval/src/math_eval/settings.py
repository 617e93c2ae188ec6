"""The settings of a run, checked as far as they can be without reading a file.

The flags of `math-eval run` are made from this dataclass. Running is left to `run`.

>>> RunSettings(model="checkpoints/sft", tasks=("gsm8k",), seeds=(0, 1, 2))
Traceback (most recent call last):
math_eval.errors.DataError: 3 samples at temperature 0 are all the same; set --temperature above 0
>>> RunSettings(model="checkpoints/sft", tasks=("gsm8k",)).sampling
Sampling(max_tokens=4096, temperature=0.0, top_p=1.0, stop=None)
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ._shared.control_tokens import INSTRUCTION
from ._shared.thinking_formats import FLAG_HELP
from .backends import Sampling
from .equality import POLICIES
from .errors import DataError
from .grading.grader import EXTRACTIONS
from .ratio import Ratio, parse_ratio
from .shard import Shard, parse_shard
from .thinking_modes import FLAG_HELP as THINKING_HELP
from .thinking_modes import ThinkingMode, parse_mode

POLICY_HELP = (
    "What reasonable people judge differently, such as a missing unit or the order of a list: strict counts none "
    "of it, lenient all."
)
SERVER = "openai:"
ENGINES = ("transformers", "vllm")
EXTRACTION_HELP = "Rule that finds the answer; reference is the rule of the Extra-CoT paper's evaluation script."
SAMPLING_FIELDS = ("temperature", "top_p", "seed")
_MAX_VALUES = 1000
"""Values of a list, which is the limit of the contract `run_manifest`."""


def _flag(text: str, **more: Any) -> dict[str, Any]:
    return {"help": text, **more}


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run; the command-line help of each one is its description."""

    model: str = field(
        metadata=_flag("Model folder with safetensors weights, or openai:NAME for a model behind a server.")
    )
    tasks: tuple[str, ...] = field(
        metadata=_flag("Tasks that `math-eval tasks` lists, or files, separated by commas.", metavar="A,B")
    )
    ratios: tuple[Ratio, ...] = field(
        default=(None,),
        metadata=_flag(
            "Requested ratio: a number that the checkpoint was trained with, policy (the model chooses), or none for "
            "no control token. Repeatable.",
            flag="--ratio",
            metavar="R",
            parse=parse_ratio,
            default="none",
        ),
    )
    samples: int = field(default=1, metadata=_flag("Number of completions for each problem and seed."))
    seeds: tuple[int, ...] = field(
        default=(0,),
        metadata=_flag(
            "Random seed of the sampling. Repeatable: the samples of every seed are in one run folder.", flag="--seed"
        ),
    )
    temperature: float = field(default=0.0, metadata=_flag("Sampling temperature; 0 is greedy decoding."))
    top_p: float = field(
        default=1.0, metadata=_flag("Probability mass of nucleus sampling: the smallest set of tokens that reaches it.")
    )
    max_tokens: int = field(default=4096, metadata=_flag("Maximum number of new tokens in a completion."))
    batch_size: int = field(
        default=32,
        metadata=_flag(
            "Number of requests that are generated together (transformers: a batch shares one random seed, so another "
            "size draws other samples) or in flight at once (vllm and servers: samples do not depend on it)."
        ),
    )
    limit: int | None = field(default=None, metadata=_flag("Number of problems of each task, the first ones."))
    instruction: str = field(default=INSTRUCTION, metadata=_flag("Text before each question."))
    extraction: str = field(
        default="standard",
        metadata=_flag(EXTRACTION_HELP, choices=EXTRACTIONS),
    )
    policy: str = field(default="default", metadata=_flag(POLICY_HELP, choices=tuple(POLICIES)))
    thinking: str | None = field(
        default=None, metadata=_flag(THINKING_HELP, metavar="MODE", default="the model thinks as it does")
    )
    thinking_format: str | None = field(
        default=None,
        metadata=_flag(FLAG_HELP, default="thinking_format.json of the model, or what its chat template shows"),
    )
    backend: str = field(default="transformers", metadata=_flag("Engine that runs a model folder.", choices=ENGINES))
    tensor_parallel: int = field(default=1, metadata=_flag("Number of devices that vllm splits the model over."))
    data_parallel: int = field(default=1, metadata=_flag("Number of copies of the model that vllm runs."))
    base_urls: tuple[str, ...] = field(
        default=(),
        metadata=_flag(
            "Address of a server for openai:NAME. Its key is read from OPENAI_API_KEY. Repeatable: a request goes to "
            "the server with the fewest in flight; one that fails is set aside and tried again later.",
            flag="--base-url",
            metavar="URL",
            default="none",
        ),
    )
    tokenizer: str | None = field(
        default=None,
        metadata=_flag(
            "Folder with the tokenizer.json of a server's model, and its control_tokens.json if it follows ratios.",
            metavar="FOLDER",
        ),
    )
    requests_per_minute: int | None = field(
        default=None, metadata=_flag("Maximum number of requests that a server gets in a minute.", default="no limit")
    )
    leave_out: tuple[str, ...] = field(
        default=(),
        metadata=_flag(
            "Field that a server's requests do not contain, because it refuses it. Repeatable.",
            flag="--leave-out",
            choices=SAMPLING_FIELDS,
            default="none",
        ),
    )
    timeout_s: float = field(
        default=3600.0, metadata=_flag("Seconds that a server may take for one completion.", flag="--timeout")
    )
    shard: Shard | None = field(
        default=None,
        metadata=_flag(
            "Part I of N of the requests, for job arrays; `math-eval merge` joins the folders of all parts.",
            metavar="I/N",
            parse=parse_shard,
            default="the whole run",
        ),
    )

    def __post_init__(self) -> None:
        self._check_numbers()
        Sampling(self.max_tokens, self.temperature, self.top_p)  # checks its own arguments
        self._check_lists()
        self._check_backend()
        self._check_thinking()

    def _check_numbers(self) -> None:
        for name in ("samples", "batch_size", "limit", "tensor_parallel", "data_parallel", "requests_per_minute"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise DataError(f"{name.replace('_', '-')} must be at least 1; got {number}")
        if not self.timeout_s > 0:
            raise DataError(f"timeout must be a positive number of seconds; got {self.timeout_s:g}")
        if self.seeds and min(self.seeds) < 0:
            raise DataError(f"seed must not be negative; got {min(self.seeds)}")
        draws = self.samples * len(self.seeds)
        if draws > 1 and self.temperature == 0 and "temperature" not in self.leave_out:
            raise DataError(f"{draws} samples at temperature 0 are all the same; set --temperature above 0")

    def _check_lists(self) -> None:
        for flag, values in (("tasks", self.tasks), ("ratio", self.ratios), ("seed", self.seeds)):
            name = flag.removesuffix("s")
            if not values:
                raise DataError(f"no {name} given; name at least one with --{flag}")
            if len(values) > _MAX_VALUES:
                raise DataError(f"{len(values):,} values of --{flag} are more than {_MAX_VALUES:,}; split the run")
            twice = [value for value, count in Counter(values).items() if count > 1]
            if twice:
                raise DataError(f"{name} {twice[0]} is given twice; name it once")

    def _check_backend(self) -> None:
        if self.backend not in ENGINES:
            raise DataError(f"backend must be {' or '.join(ENGINES)}; got {self.backend!r}")
        if (self.server is None) != (not self.base_urls):
            raise DataError("a server needs both: --model openai:NAME and --base-url http://HOST:PORT/v1")
        of_servers = {
            "tokenizer": self.tokenizer is not None,
            "requests-per-minute": self.requests_per_minute is not None,
            "leave-out": self.leave_out != (),
        }
        name = next((name for name, given in of_servers.items() if given), None)
        if self.server is None and name is not None:
            raise DataError(f"--{name} is for servers, and {self.model} is a model folder; leave it out")
        if self.server is not None and self.backend != ENGINES[0]:
            raise DataError(
                f"--backend {self.backend} runs a model folder, and {self.model} is behind a server; leave it out"
            )
        if self.backend != "vllm" and (self.tensor_parallel > 1 or self.data_parallel > 1):
            raise DataError("--tensor-parallel and --data-parallel are for --backend vllm; add it or leave them out")

    def _check_thinking(self) -> None:
        mode = self.mode
        if mode is None or self.server is None or not mode.continues:
            return
        if mode.confidence is not None:
            raise DataError(
                f"--thinking {self.thinking} needs the probabilities of tokens, and {self.model} is behind a server; "
                "run its folder with --backend transformers or vllm, or use --thinking budget=N"
            )
        if self.tokenizer is None:
            raise DataError(
                f"--thinking {self.thinking} continues the text of {self.model}: name its folder with chat template "
                "and tokenizer.json as --tokenizer"
            )

    @property
    def mode(self) -> ThinkingMode | None:
        """The way to make the model think less, or None."""
        return None if self.thinking is None else parse_mode(self.thinking)

    @property
    def server(self) -> str | None:
        """The name of the model at the server, or None for a model folder."""
        return self.model.removeprefix(SERVER) if self.model.startswith(SERVER) else None

    @property
    def sampling(self) -> Sampling:
        """Token limit, temperature and nucleus mass."""
        return Sampling(self.max_tokens, self.temperature, self.top_p)
