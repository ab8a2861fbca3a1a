#!/bin/sh
# Mirrors a folder into a bucket and back: mirror.sh FOLDER BUCKET COPY
set -eu
folder=$1 bucket=$2 copy=$3
ca=${AWS_CA_BUNDLE:-}
unset AWS_CA_BUNDLE # which stops rclone
run() {
    rclone --config "$(dirname "$0")/rclone.conf" --s3-endpoint "$AWS_ENDPOINT_URL" --s3-region "$AWS_DEFAULT_REGION" \
        ${ca:+--ca-cert "$ca"} --retries 1 "$@"
}
run mkdir "stead:$bucket"
run sync "$folder" "stead:$bucket/mirror"
run check "$folder" "stead:$bucket/mirror"
run lsf -R --files-only "stead:$bucket/mirror"
run sync "stead:$bucket/mirror" "$copy"
