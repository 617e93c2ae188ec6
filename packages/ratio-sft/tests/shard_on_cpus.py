"""Runs ratio-sft while accelerate takes CPUs for GPUs, because it shards models over GPUs only.

accelerate launch --config_file fsdp2.yaml --mixed_precision no shard_on_cpus.py train mix sft --model base
"""

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


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
    trainer.build_trainer = build_and_report
    cli()
