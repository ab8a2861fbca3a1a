#!/bin/sh
# Backs a folder up twice, verifies the repository, and restores: backup.sh FOLDER BUCKET TARGET (RESTIC_PASSWORD is set)
set -eu
folder=$1 bucket=$2 target=$3
run() {
    restic --repo "s3:$AWS_ENDPOINT_URL/$bucket/backups" ${AWS_CA_BUNDLE:+--cacert "$AWS_CA_BUNDLE"} --no-cache "$@"
}
run init
run backup "$folder"
run backup "$folder"
run forget --keep-last 1 --prune
run check --read-data
run restore latest --target "$target"
