#!/bin/bash
# Submit the stages to Slurm, each after the one that it needs: all of them, or those that are named. DRY_RUN=1 prints the
# commands of the stages instead.
#   bash examples/cluster/submit.sh
#   bash examples/cluster/submit.sh sft measure rl evaluate
SCRIPTS=$(cd "$(dirname "$0")" && pwd)
export SCRIPTS
source "$SCRIPTS/settings.sh"

job=
for stage in ${*:-sample compress sft measure rl evaluate}; do
    flags=()
    case $stage in sample | measure) flags+=(--array "1-$PARTS") ;; esac
    if [ -n "${DRY_RUN:-}" ]; then
        printf '\nsbatch %s\n' "${flags[*]:-} $stage.sbatch"
        bash "$SCRIPTS/$stage.sbatch"
    else
        [ -z "$job" ] || flags+=(--dependency "afterok:$job")
        job=$(sbatch --parsable ${flags[@]+"${flags[@]}"} "$SCRIPTS/$stage.sbatch")
        job=${job%%;*}
    fi
done
