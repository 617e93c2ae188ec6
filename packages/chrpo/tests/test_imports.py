import subprocess
import sys

import pytest

HEAVY = ("torch", "trl", "transformers", "datasets", "accelerate", "sympy")


@pytest.mark.parametrize(
    "code",
    [
        "import chrpo",
        "import chrpo.core",
        "import chrpo.prepare, chrpo.step, chrpo.rollout, chrpo.grader, chrpo.plot, chrpo.core.baselines, chrpo.cli",
        "from click.testing import CliRunner; from chrpo.cli import cli; import sys;"
        "assert CliRunner().invoke(cli, ['train', '--help']).exit_code == 0",
    ],
)
def test_neither_torch_nor_a_trainer_library_is_imported(code):
    check = f"import sys; {code}; found = [m for m in {HEAVY} if m in sys.modules]; assert not found, found"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_help_and_version_of_the_real_command():
    for arguments in (["--help"], ["--version"], ["prepare", "--help"], ["train", "--help"]):
        done = subprocess.run([sys.executable, "-m", "chrpo", *arguments], capture_output=True, text=True, check=True)
        assert done.stdout
