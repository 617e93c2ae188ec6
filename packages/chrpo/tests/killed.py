"""`chrpo`, whose main process kills itself.

It does when step 3 is logged: a step more than the checkpoint of step 2 holds. With `KILLED_BEFORE` it does when the
checkpoint of step 4 is saved, before the trainer's module calls the function of this name.
"""

import os
import signal

from chrpo.cli import cli
from chrpo.trl import CHRPOTrainer, trainer


def log(self, *arguments, _log=CHRPOTrainer.log):
    _log(self, *arguments)
    if self.state.global_step == 3 and self.accelerator.is_main_process:
        os.kill(os.getpid(), signal.SIGKILL)


def killed_before(function):
    def call(path, *arguments):
        if "checkpoint-4" in str(path):
            os.kill(os.getpid(), signal.SIGKILL)
        function(path, *arguments)

    return call


if name := os.environ.get("KILLED_BEFORE"):
    setattr(trainer, name, killed_before(getattr(trainer, name)))
else:
    CHRPOTrainer.log = log
cli()
