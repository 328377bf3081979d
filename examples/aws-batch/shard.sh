#!/bin/bash
# One task of an array job of AWS Batch: bash shard.sh RUN SHARDS
set -euo pipefail
# AWS counts tasks from 0; without an array there is one.
number=$((${AWS_BATCH_JOB_ARRAY_INDEX:-0} + 1))
export OMP_NUM_THREADS=1
exec geoseg work "$1" --shard "$number/$2"
