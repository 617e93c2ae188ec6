# Settings of all stages, and how they run a command. Every script here sources this file.
set -euo pipefail

MODEL=${MODEL:-models/base}             # folder of the base model
QUESTIONS=${QUESTIONS:-train.jsonl}     # rows {id, question, answer} to learn from
TEST=${TEST:-math500}                   # tasks of the last evaluation
RUN=${RUN:-runs/cluster}                # folder of everything that is made; every node sees it
BACKEND=${BACKEND:-vllm}
PARTS=${PARTS:-16}                      # jobs of the array that samples
SHARDS=${SHARDS:-256}                   # files of traces, several for each worker
SAMPLES=${SAMPLES:-4}                   # samples of each question, 3 or more at every ratio
MAX_TOKENS=${MAX_TOKENS:-16384}
RATIOS=${RATIOS:-0.2 0.4 0.6 0.8 1.0}
BUILD=${BUILD:-}                        # further flags of `ratio-sft build`
SFT=${SFT:---epochs 3 --max-length $((MAX_TOKENS + 2048))}  # further flags of `ratio-sft train`; a question may have 2048 tokens
RL=${RL:---max-steps 300}               # further flags of `chrpo train`
GPUS=${GPUS:-${SLURM_GPUS_ON_NODE:-8}}  # of a node
PORT=${PORT:-29500}

LADDER=$(printf -- '--ratio %s ' $RATIOS)

# run COMMAND ...: print the command, and run it unless DRY_RUN is set
run() {
    printf '+ %s\n' "$*"
    [ -n "${DRY_RUN:-}" ] || "$@"
}

# first_node: name of the node where a job's processes meet; without Slurm, this machine
first_node() {
    if [ -n "${SLURM_JOB_NODELIST:-}" ]; then
        scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p
    else
        echo 127.0.0.1
    fi
}

# on_each_node COMMAND ...: run a command once on each node of the job; without Slurm, on this machine
on_each_node() {
    local step=()
    if [ -n "${SLURM_JOB_NODELIST:-}" ]; then
        step=(srun --ntasks-per-node 1 ${SLURM_CPUS_PER_TASK:+--cpus-per-task "$SLURM_CPUS_PER_TASK"})
    fi
    run ${step[@]+"${step[@]}"} "$@"
}

# train MODULE ARGUMENT ...: start a trainer on all GPUs of all nodes of the job
train() {
    on_each_node torchrun --nnodes "${SLURM_JOB_NUM_NODES:-1}" --nproc_per_node "$GPUS" --rdzv_backend c10d \
        --rdzv_endpoint "$(first_node):$PORT" -m "$@"
}
