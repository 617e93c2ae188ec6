"""The agent loop: prompt, ratio token if the model has ratio tokens, then one generation.

actor_rollout_ref.rollout.agent.default_agent_loop=chrpo
"""
# verl has an environment of its own, with other versions than the type checker's.
# pyright: reportMissingImports=false

from typing import Any
from uuid import uuid4

import numpy as np
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.agent_loop import register as register_agent_loop
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

from chrpo.prompts import spread

from .dataset import control_tokens
from .settings import NAME, section_settings


@register_agent_loop(NAME)
class RatioAgentLoop(SingleTurnAgentLoop):
    """One answer after a ratio token, which counts as the first token of the response.

    The ratio is the requested one if the prompt requests one. Where the model chooses, the rollout server draws each
    ratio from the model's probabilities of the ratio tokens, at the temperature of the rollouts; but the rollouts of
    prompts that are rolled out at every ratio (`ladder_share`) open with every ratio in turn. Without control tokens,
    it adds none.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        tokens = control_tokens(self.config.actor_rollout_ref.model.path)
        ladder = list(tokens.ratios) if tokens else []
        self._ladder: list[int] = self.tokenizer.convert_tokens_to_ids(ladder)
        self._requests = dict(zip(tokens.requests if tokens else [], self._ladder, strict=False))
        self._ladder_share = section_settings(self.config).chosen().ladder_share
        self._forced: int | None = None
        self._sampling: dict[str, Any] = {}

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        """Generate one rollout.

        Args:
            sampling_params: Sampling parameters of the rollout server.
            **row: Fields of the prompt; `session_id` is the rollout's number among those of its prompt, `index` the
                prompt's row number.
        """
        if not self._ladder:
            return await super().run({**sampling_params, "max_tokens": self.response_length}, **row)
        requested = row["raw_prompt"][-1]["content"].split()[-1]
        place = int(row["session_id"]) * len(self._ladder) // self.rollout_config.n
        whole = spread(np.array(int(row["index"])), self._ladder_share)
        own = self._ladder[place] if whole else None
        self._forced, self._sampling = self._requests.get(requested, own), sampling_params
        output = await super().run({**sampling_params, "max_tokens": self.response_length - 1}, **row)
        output.response_ids = [output.prompt_ids[-1], *output.response_ids]
        output.response_mask = [1, *output.response_mask]
        output.prompt_ids = output.prompt_ids[:-1]
        return output

    async def ct_build_initial_tokens(self, *args: Any, **options: Any) -> list[int]:
        """The rendered prompt and the ratio token."""
        prompt = await super().ct_build_initial_tokens(*args, **options)
        if not self._ladder:
            return prompt
        return [*prompt, await self._drawn(prompt) if self._forced is None else self._forced]

    async def _drawn(self, prompt: list[int]) -> int:
        """A ratio token that the rollout server draws."""
        sampling = {**self._sampling, "max_tokens": 1, "allowed_token_ids": self._ladder}
        drawn = await self.server_manager.generate(request_id=uuid4().hex, prompt_ids=prompt, sampling_params=sampling)
        return int(drawn.token_ids[0])
