#!/usr/bin/env bash
# Build the image of Dockerfile without a container engine or a registry, start it, and ask it (Debian, as root, minutes).
#
#   apt-get install --no-install-recommends buildah mmdebstrap
#   tools/container_test.sh
#
# The base image is a minimal Debian. buildah's chroot isolation shares the network with this machine.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in buildah mmdebstrap curl; do
    command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
work=${CONTAINER_TEST_DIR:-build/container}
mkdir -p "$work"
work=$(realpath "$work")
port=${PORT:-5079}
photo=docs/images/grace_hopper.jpg
server=''
container=''

build() { buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }
stop() { [ -z "$server" ] || kill "$server" 2>/dev/null || true; }
trap stop EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

printf '{"default": [{"type": "insecureAcceptAnything"}]}\n' > "$work/policy.json"

if command -v hadolint >/dev/null; then
    hadolint Dockerfile || fail "hadolint"
fi

echo "== base image"
if ! build inspect --type image localhost/ferlib-base >/dev/null 2>&1; then
    # From the mirrors that this machine uses.
    mapfile -t sources < <(find /etc/apt -name '*.sources' -o -name 'sources.list' -size +0)
    [ -e "$work/base.tar" ] || mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates \
        "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$work/base.tar" "${sources[@]}"
    base=$(build from scratch)
    build add --quiet "$base" "$work/base.tar" / >/dev/null
    build commit --quiet --signature-policy "$work/policy.json" "$base" localhost/ferlib-base >/dev/null
    build rm "$base" >/dev/null
fi

echo "== image"
volumes=()
# pip's settings and certificates of this machine.
for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    [ ! -e "$file" ] || volumes+=(--volume "$file:$file:ro")
done
[ ! -e "$HOME/.config/pip/pip.conf" ] || volumes+=(--volume "$HOME/.config/pip:/root/.config/pip:ro")
build bud --isolation chroot --pull-never --format docker --signature-policy "$work/policy.json" "${volumes[@]}" \
    --build-arg BASE=localhost/ferlib-base --tag localhost/ferlib . > "$work/build.log" 2>&1 \
    || { tail -n 20 "$work/build.log" >&2; fail "the image cannot be built"; }

build inspect --type image localhost/ferlib > "$work/image.json"
python3 - "$work/image.json" <<'END' || fail "the image has other settings"
import json, sys
config = json.load(open(sys.argv[1]))["Docker"]["config"]
assert config["User"] == "10001:10001", config
assert config["Entrypoint"] == ["ferlib"], config
assert config["Cmd"] == ["serve", "--host", "0.0.0.0", "--port", "5000"], config
assert config["ExposedPorts"] == {"5000/tcp": {}}, config
assert "health/ready" in config["Healthcheck"]["Test"][-1], config
END

container=$(build from --signature-policy "$work/policy.json" localhost/ferlib)
inside() { build run --isolation chroot "$@"; }
cleanup() { stop; build rm "$container" >/dev/null 2>&1 || true; }
trap cleanup EXIT

echo "== files"
# shellcheck disable=SC2016
inside "$container" -- sh -c '
    [ "$(id -u)" = 10001 ]
    python -c "import sys, ferlib; assert ferlib.__file__.startswith(\"/opt/ferlib\")"
    ! python -c "import tensorflow" 2>/dev/null
    [ ! -e /opt/ferlib/bin/pip ]
    writable=$(find / -xdev -writable ! -type l ! -path "/proc/*" ! -path "/dev/*" ! -path "/sys/*" ! -path "/tmp*" \
        ! -path "/var/tmp*" ! -path "/run/*" 2>/dev/null | head)
    [ -z "$writable" ] || { echo "writable: $writable" >&2; exit 1; }' || fail "the files are not as they should be"

echo "== command line"
inside --volume "$(realpath docs/images):/data:ro" "$container" -- ferlib predict grace_hopper.jpg | tee "$work/predict.txt"
grep -q '^grace_hopper.jpg: face 1, box \[178, 110, 173, 220\], neutral' "$work/predict.txt" || fail "another prediction"

echo "== service"
inside "$container" -- ferlib serve --host 0.0.0.0 --port "$port" > "$work/serve.log" 2>&1 &
server=$!
for _ in $(seq 150); do
    curl --silent --fail "http://127.0.0.1:$port/health/ready" >/dev/null && break
    kill -0 "$server" 2>/dev/null || { cat "$work/serve.log" >&2; fail "the service has ended"; }
    sleep 0.2
done
curl --silent --fail --form "file=@$photo;filename=grace_hopper.jpg" "http://127.0.0.1:$port/v1/faces" > "$work/answer.json" \
    || fail "no answer"
inside --volume "$(realpath docs/images):/data:ro" "$container" -- \
    ferlib predict grace_hopper.jpg --quiet --output-json /tmp/record.jsonl >/dev/null
inside "$container" -- cat /tmp/record.jsonl > "$work/record.json"
python3 - "$work/answer.json" "$work/record.json" <<'END' || fail "service and command line disagree"
import json, sys
answer, record = (json.load(open(path)) for path in sys.argv[1:])
assert answer["version"] and answer["notice"]
assert {name: answer[name] for name in record} == record, (answer, record)
print(json.dumps(record)[:160], "...")
END
for path in / /docs /v1/models /metrics; do
    curl --silent --fail --output /dev/null "http://127.0.0.1:$port$path" || fail "no answer at $path"
done

# A video job, in a process of its own.
inside "$container" -- python -c '
import numpy as np
from ferlib.video import VideoWriter
with VideoWriter("/tmp/v.mp4", rate=10) as writer:
    for number in range(10): writer.write(np.full((240, 320, 3), 20 * number, np.uint8), number / 10)'
inside "$container" -- cat /tmp/v.mp4 > "$work/v.mp4"
job=$(curl --silent --fail --data-binary "@$work/v.mp4" "http://127.0.0.1:$port/v1/videos" | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')
curl --silent --no-buffer --max-time 60 "http://127.0.0.1:$port/v1/jobs/$job/events" | grep '^event:' | tail -n 1 | grep -q done \
    || fail "the video job did not end well"

# The service is the last of the processes that buildah started for it.
pid=$server
while child=$(pgrep --parent "$pid" | head -n 1) && [ -n "$child" ]; do pid=$child; done
kill -TERM "$pid"
wait "$server" || fail "the service ended with status $?"
server=''
cat "$work/serve.log"

echo "== size"
inside "$container" -- du -sm /opt/ferlib | awk '{ print $1 " MB in /opt/ferlib, the rest is the base image" }'
build images --format '{{.Name}} {{.Size}}'
echo "the container works"
