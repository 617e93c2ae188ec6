"""Rewards two generations of the same completions, divided over the processes of a run, in each of them."""

import json
import sys
from pathlib import Path

from accelerate import PartialState
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerState
from trl import GRPOConfig

from chrpo.trl import CHRPOReward

given, out = json.loads(Path(sys.argv[1]).read_text("utf-8")), Path(sys.argv[2])
args = GRPOConfig(str(out), num_generations=4, per_device_train_batch_size=12, scale_rewards="none", use_cpu=True)
process = PartialState()
model, tokenizer = (kind.from_pretrained(given["checkpoint"]) for kind in (AutoModelForCausalLM, AutoTokenizer))
reward = CHRPOReward(given["rows"], args)
reward.on_train_begin(args, TrainerState(), None, model=model.train(), processing_class=tokenizer)
share = len(given["texts"]) // process.num_processes
here = slice(process.process_index * share, (process.process_index + 1) * share)
ids = [tokenizer.encode(text, add_special_tokens=False) for text in given["texts"][here]]
rewards = [reward(completion_ids=ids, id=given["ids"][here]) for _ in range(2)]
found = {"rewards": rewards, "state": reward.state()}
(out / f"{process.process_index}.json").write_text(json.dumps(found), "utf-8")
