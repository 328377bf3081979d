#!/bin/bash
# Map SCENE with MODEL on a Slurm cluster: bash submit.sh SCENE MODEL OUT SHARDS [more options of geoseg predict]
# The folders of all three have to be on a disk that every node sees.
set -euo pipefail
scene=$1 model=$2 out=$3 shards=$4
here=$(dirname "$(readlink -f "$0")")
mkdir -p logs

# The plan is made on a node of the kind that does the work, because the arithmetic of processors differs.
plan=$(sbatch --parsable "$here/plan.sbatch" "$scene" -m "$model" -o "$out" --shards "$shards" "${@:5}")
# %32: at most so many at a time.
array=$(sbatch --parsable --kill-on-invalid-dep=yes --dependency="afterok:$plan" --array="1-$shards%32" "$here/shard.sbatch" "$out.run" "$shards")
# afterany: what a failed task has left out is named by geoseg finalize, and submitting again does only that.
sbatch --kill-on-invalid-dep=yes --dependency="afterany:$array" "$here/finalize.sbatch" "$out.run"
