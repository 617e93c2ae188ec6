"""`chrpo`, whose main process kills itself when step 3 is logged: a step more than the checkpoint of step 2 holds."""

import os
import signal

from chrpo.cli import cli
from chrpo.trl import CHRPOTrainer


def log(self, *arguments, _log=CHRPOTrainer.log):
    _log(self, *arguments)
    if self.state.global_step == 3 and self.accelerator.is_main_process:
        os.kill(os.getpid(), signal.SIGKILL)


CHRPOTrainer.log = log
cli()
