#!/bin/bash
# Map a scene in S3 with AWS Batch: bash submit.sh QUEUE DEFINITION SCENE MODEL OUT RUN SHARDS
# SCENE, OUT and RUN are s3:// addresses; MODEL is a file in the container, or on a disk that it mounts.
set -euo pipefail
queue=$1 definition=$2 scene=$3 model=$4 out=$5 run=$6 shards=$7
submit() { aws batch submit-job --job-queue "$queue" --job-definition "$definition" --query jobId --output text "$@"; }
command() { python3 -c 'import json, sys; print(json.dumps({"command": sys.argv[1:]}))' "$@"; }

plan=$(submit --job-name geoseg-plan --container-overrides \
    "$(command geoseg plan "$scene" -m "$model" -o "$out" --run "$run" --allow-remote --shards "$shards")")
# An array has at least two tasks. Three attempts: a task whose machine is taken away goes on where it stopped.
shards_id=$(submit --job-name geoseg-shards --depends-on "jobId=$plan" --array-properties "size=$shards" \
    --retry-strategy attempts=3 --container-overrides "$(command bash /opt/geoseg/shard.sh "$run" "$shards")")
submit --job-name geoseg-finalize --depends-on "jobId=$shards_id" \
    --container-overrides "$(command geoseg finalize "$run")"
