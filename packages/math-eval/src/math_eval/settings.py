"""What a run does: its settings, checked as far as they can be without reading a file.

Doing it is left to `runner`.

    settings = RunSettings(model="checkpoints/sft", tasks=("gsm8k",), ratios=(0.2, "policy"), seeds=(0, 1, 2))
    settings.sampling   # Sampling(max_tokens=4096, temperature=0.0, top_p=1.0)
"""

from collections import Counter
from dataclasses import dataclass

from ._shared.control_tokens import INSTRUCTION
from .backends import Sampling
from .conditions import Ratio
from .errors import DataError

SERVER = "openai:"
ENGINES = ("transformers", "vllm")


@dataclass(frozen=True)
class RunSettings:
    """What a run does.

    Args:
        model: a checkpoint folder, or `openai:NAME` for a model behind a server.
        tasks: built-in names or paths of problems files.
        ratios: numbers of the checkpoint's ladder, "policy", or None for no control token.
        samples: completions a problem and seed.
        seeds: of the sampling; each is a run of its own in the same folder.
        temperature: 0 is greedy.
        top_p: nucleus mass.
        max_tokens: new tokens a completion may have.
        batch_size: requests generated together. With transformers it changes samples, as batches are seeded as a whole;
            for vLLM and servers it is how many are in flight at once, and changes no request.
        limit: first problems of each task, or None for all.
        instruction: put before each question.
        extraction: what counts as the answer, `standard` or `reference`; see `Grader`.
        backend: what runs a checkpoint folder, `transformers` or `vllm`.
        tensor_parallel: devices that vLLM splits the model over.
        data_parallel: copies of the model that vLLM runs.
        base_url: of the server.
        tokenizer: for a server: a folder with the model's tokenizer.json, and control_tokens.json if it follows ratios.
        requests_per_minute: that a server may get, or None for as many as `batch_size` allows.
        timeout_s: seconds a server may take for one completion.
    """

    model: str
    tasks: tuple[str, ...]
    ratios: tuple[Ratio, ...] = (None,)
    samples: int = 1
    seeds: tuple[int, ...] = (0,)
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 4096
    batch_size: int = 32
    limit: int | None = None
    instruction: str = INSTRUCTION
    extraction: str = "standard"
    backend: str = "transformers"
    tensor_parallel: int = 1
    data_parallel: int = 1
    base_url: str | None = None
    tokenizer: str | None = None
    requests_per_minute: int | None = None
    timeout_s: float = 3600.0

    def __post_init__(self) -> None:
        self._check_numbers()
        Sampling(self.max_tokens, self.temperature, self.top_p)  # which checks its own
        self._check_lists()
        self._check_backend()

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
        if draws > 1 and self.temperature == 0:
            raise DataError(f"{draws} samples at temperature 0 are all the same; set --temperature above 0")

    def _check_lists(self) -> None:
        for flag, values in (("tasks", self.tasks), ("ratio", self.ratios), ("seed", self.seeds)):
            name = flag.removesuffix("s")
            if not values:
                raise DataError(f"no {name} given; name at least one with --{flag}")
            twice = [value for value, count in Counter(values).items() if count > 1]
            if twice:
                raise DataError(f"{name} {twice[0]} is given twice; name it once")

    def _check_backend(self) -> None:
        if self.backend not in ENGINES:
            raise DataError(f"backend must be {' or '.join(ENGINES)}; got {self.backend!r}")
        if (self.server is None) != (self.base_url is None):
            raise DataError("a server needs both: --model openai:NAME and --base-url http://HOST:PORT/v1")
        if self.server is None and (self.tokenizer is not None or self.requests_per_minute is not None):
            name = "tokenizer" if self.tokenizer is not None else "requests-per-minute"
            raise DataError(f"--{name} is for servers, and {self.model} is a checkpoint folder; leave it out")
        if self.server is not None and self.backend != ENGINES[0]:
            raise DataError(
                f"--backend {self.backend} runs a checkpoint folder, and {self.model} is a server's; drop it"
            )
        if self.backend != "vllm" and (self.tensor_parallel > 1 or self.data_parallel > 1):
            raise DataError("--tensor-parallel and --data-parallel are for --backend vllm; add it or leave them out")

    @property
    def server(self) -> str | None:
        """The name of the model at the server, or None for a checkpoint folder."""
        return self.model.removeprefix(SERVER) if self.model.startswith(SERVER) else None

    @property
    def sampling(self) -> Sampling:
        """The decoding part."""
        return Sampling(self.max_tokens, self.temperature, self.top_p)
