#!/bin/bash
# Submit every stage to Slurm, each after the one that it needs. DRY_RUN=1 prints the commands of all stages instead.
SCRIPTS=$(cd "$(dirname "$0")" && pwd)
export SCRIPTS
source "$SCRIPTS/settings.sh"

after=()
submit() {
    if [ -n "${DRY_RUN:-}" ]; then
        printf '\nsbatch %s\n' "$*"
        bash "$SCRIPTS/${!#}"
    else
        after=(--dependency "afterok:$(sbatch --parsable "${after[@]}" "${@:1:$#-1}" "$SCRIPTS/${!#}")")
    fi
}

submit --array "1-$PARTS" sample.sbatch
submit compress.sbatch
submit sft.sbatch
submit --array "1-$PARTS" measure.sbatch
submit rl.sbatch
submit evaluate.sbatch
