"""Runs commands of ratio-sft while accelerate takes CPUs for GPUs, because it shards models over GPUs only.

accelerate launch --config_file fsdp2.yaml --mixed_precision no shard_on_cpus.py '[["train", "mix", "sft"]]'

The commands run one after the other until one fails, each in a fork of a process that has loaded the libraries.
"""

import json
import os
import sys

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType

from ratio_sft.cli import cli
from ratio_sft.training import trainer

build_trainer = trainer.build_trainer


def build_and_report(*arguments):
    """Print the types of the weights when they are sharded over the processes."""
    built = build_trainer(*arguments)
    train = built.train

    def train_and_report(**options):
        train(**options)
        kinds = {type(weight.data).__name__ for weight in built.model.parameters()}
        print(f"{built.accelerator.distributed_type.value} {kinds}", flush=True)

    built.train = train_and_report
    return built


def run(words, number):
    """Run one command; its processes meet apart from those of the other commands."""
    store = torch.distributed.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    ranks = {"rank": int(os.environ["RANK"]), "world_size": int(os.environ["WORLD_SIZE"])}
    torch.distributed.init_process_group("gloo", store=torch.distributed.PrefixStore(str(number), store), **ranks)
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
    trainer.build_trainer = build_and_report
    cli(words)


if __name__ == "__main__":
    for number, words in enumerate(json.loads(sys.argv[1])):
        child = os.fork()
        if not child:
            run(words, number)
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(os.waitstatus_to_exitcode(status))
