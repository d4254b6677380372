#!/usr/bin/env bash
# All that a machine with a GPU can tell about Distill, in one command of at most ten minutes: its tests, what
# a step costs, a training run by the command line, and for the rest of the time the training of the base model.
#
#   benchmarks/gpu.sh --wheels               fill wheels/, here, for a machine without a network (16 MB)
#   benchmarks/gpu.sh [options]              run, there: torch with CUDA, accelerate, attrs, click, numpy and
#                                            safetensors must be installed; all else is taken from wheels/
#   benchmarks/gpu.sh --rehearse [options]   the same on the CPU with small limits, in about five minutes
#
#   --base FOLDER         go on with the base training from the checkpoint in FOLDER, whole or in parts as this
#                         script leaves it (runs/base or runs/gpu/out, say)
#   --recordings FOLDER   recordings to train on; by default the demo corpus, which a program makes
#   --minutes M           of all stages together (default 9)
#   --batch N             clips in a step of the base training (default 64)
#   --hours H             hours of audio of the whole base training; by default its learning rate falls over
#                         the last quarter of the time that it has here
#   --fresh N             sounds of the base training made anew for each step (default 4)
#   --without STAGES      do not run some of tests, run, speed, compiled and base: "speed compiled", say
#   --compile MODE        of torch.compile for the base training, also if the stage "compiled" was not run
#
# Environment: PYTHON, the interpreter (default python3); OUT, the folder of results (default runs/gpu/out).
# To mimic the other machine, let PYTHON be that of a virtual environment with torch 2.11 and the packages above.
#
# A stage that fails or takes too long is recorded, and does not stop those that follow; the exit status is 1
# if there was one. What is in $OUT is written after each stage and while the base model is trained, so that
# little is lost if the machine goes away. No file exceeds 15 MiB:
#
#   summary.md                          what each stage came to, and the tables
#   logs.tar.gz                         a log for each stage, records of the training, a few sounds
#   model.safetensors                   the averaged base model
#   checkpoint.safetensors.part-*       its checkpoint: cat checkpoint.safetensors.part-* > checkpoint.safetensors
#   checkpoint.sha256                   its checksum: sha256sum -c checkpoint.sha256
set -u -o pipefail
export LC_ALL=C

repository=$(cd "$(dirname "$0")/.." && pwd)
cd "$repository" || exit 1
python=${PYTHON:-python3}
out=${OUT:-runs/gpu/out}
device=${DEVICE:-cuda}
base='' recordings='' hours='' fresh=4 without='' compiles=no minutes=9 batch=64

wheels() {
    local platforms=() n
    for n in 28 27 24 17 12 5; do platforms+=(--platform "manylinux_2_${n}_x86_64"); done
    for n in 2014 2010 1; do platforms+=(--platform "manylinux${n}_x86_64"); done
    # No measures of hearing, and no shards: what needs them is not run there, or says that they are missing.
    rm -rf wheels
    "$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        "${platforms[@]}" -c constraints.txt -d wheels \
        auraloss cffi coverage execnet filelock hypothesis iniconfig jinja2 markdown-it-py markupsafe mdurl narwhals \
        packaging plotly pluggy protobuf pycparser pygments pytest pytest-xdist rich sortedcontainers soundfile \
        soxr tensorboardX tomlkit &&
        du -sh wheels
}

while (($#)); do
    case $1 in
    --wheels) wheels; exit ;;
    --rehearse) device=cpu ;;
    --base) base=$2; shift ;;
    --recordings) recordings=$2; shift ;;
    --minutes) minutes=$2; shift ;;
    --batch) batch=$2; shift ;;
    --hours) hours=$2; shift ;;
    --fresh) fresh=$2; shift ;;
    --without) without=$2; shift ;;
    --compile) compiles=$2; shift ;;
    *) echo "unknown option: $1" >&2; exit 2 ;;
    esac
    shift
done

# Stages may take longer on a CPU, by a factor.
if [[ $device == cpu ]]; then
    workers=1 runs=2 batch=2 slots=8 train_minutes=0.2 resumed_minutes=0.25 base_least=40 jobs=1 slower=6 quick=(--quick)
    every=10
else
    cores=$(env -u OMP_NUM_THREADS nproc) workers=$((cores > 4 ? cores - 2 : 2)) quick=()
    runs=25 slots=4000 train_minutes=0.5 resumed_minutes=0.6 base_least=60 jobs=4 slower=1 every=30
fi

work=$repository/runs/gpu/work
begun=''
if [[ -n $base ]]; then # before anything is removed that it may be in
    begun=$(mktemp) || exit 1
    cat "$base"/checkpoint.safetensors >"$begun" 2>/dev/null || cat "$base"/checkpoint.safetensors.part-* >"$begun" || exit 1
fi
rm -rf "$work" && mkdir -p "$work/logs" "$work/base" "$out" || exit 1
[[ -n $begun ]] && mv "$begun" "$work/base/checkpoint.safetensors"
out=$(cd "$out" && pwd)
rm -f "$out"/summary.md "$out"/logs.tar.gz "$out"/*.safetensors* "$out"/checkpoint.sha256
summary=$out/summary.md
page=$work/logs/tables.md
deadline=$(($(date +%s) + $(awk "BEGIN { print int(60 * $minutes) }")))
failed=0
wanted() { [[ " $without " != *" $1 "* ]]; }
kept=0 # seconds that no other stage may take from the base training
wanted base && kept=$((2 * base_least + 40))
export PYTHONPATH=$repository:$work/site PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TQDM_DISABLE=1
export HF_HUB_OFFLINE=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 COLUMNS=200
export TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-$work/inductor} TRITON_CACHE_DIR=${TRITON_CACHE_DIR:-$work/triton}

left() { echo $((deadline - $(date +%s))); }

# Weights of the short training are of no use elsewhere, and large.
pack() {
    local made=$work/logs.$BASHPID.tar.gz
    tar -C "$work" --exclude=checkpoints --exclude=.distill --exclude='*.safetensors' -czf "$made" logs 2>/dev/null
    mv -f "$made" "$out/logs.tar.gz"
}

# The model and the checkpoint of the base training, as they are. Both files are replaced whole by base.py.
keep_base() {
    local from=$work/base parts=$work/parts
    [[ -f $from/checkpoint.safetensors && -f $from/model.safetensors ]] || return 0
    [[ $from/checkpoint.safetensors -nt $out/checkpoint.sha256 ]] || return 0
    rm -rf "$parts" && mkdir "$parts" || return
    cp "$from/checkpoint.safetensors" "$parts/whole" && cp "$from/model.safetensors" "$parts/" || return
    (cd "$parts" && split -b 15M whole checkpoint.safetensors.part- &&
        sha256sum <whole | sed 's/-$/checkpoint.safetensors/' >checkpoint.sha256 && rm whole) || return
    rm -f "$out"/checkpoint.safetensors.part-*
    mv -f "$parts"/* "$out/"
}

# stage NAME SECONDS COMMAND...: run it, at most so long and not beyond the end; keep its output and how it ended.
stage() {
    local name=$1 seconds=$(($2 * slower)) began status rest
    shift 2
    rest=$(($(left) - kept))
    if ((rest < 10)); then
        failed=1
        echo "| $name | not run: no time was left | |" | tee -a "$summary"
        return 1
    fi
    ((seconds > rest)) && seconds=$rest
    began=$(date +%s)
    timeout --kill-after=5 "$seconds" "$@" >"$work/logs/$name.log" 2>&1 </dev/null
    status=$?
    local word=ok
    ((status)) && word="failed, $status" && failed=1
    ((status == 124 || status == 137)) && word="stopped after $seconds s"
    echo "| $name | $word | $(($(date +%s) - began)) s |" | tee -a "$summary"
    ((status)) && tail -n 15 "$work/logs/$name.log"
    pack
    return "$status"
}

# shellcheck disable=SC2329  # by a stage
install() {
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade \
        --disable-pip-version-check --target "$work/site" wheels/*.whl || return
    nvidia-smi || [[ $device == cpu ]] || return
    env -u OMP_NUM_THREADS nproc
    "$python" - "$device" <<'END'
import importlib.metadata, platform, sys
import torch
print(platform.python_version(), *(f"{x.metadata['Name']} {x.version}" for x in importlib.metadata.distributions()
      if x.metadata["Name"] in {"accelerate", "attrs", "auraloss", "click", "numpy", "pytest", "safetensors",
                                "soundfile", "torch", "triton"}))
print(torch.__config__.show())
if sys.argv[1] == "cuda":
    print(torch.cuda.get_device_properties(0), (torch.ones(3, device="cuda") * 2).tolist())
import distill
print(distill.__file__)
END
}
export -f install
export python device work

# tests FILE...: a warning that only this machine gives is in the log, and fails nothing.
# shellcheck disable=SC2329  # by a stage
tests() {
    OMP_NUM_THREADS=1 "$python" -m pytest -q -ra -W default -p no:cacheprovider -p xdist -n "$jobs" --durations=10 "$@"
}
export -f tests
export jobs

{
    echo "# Distill on $device"
    echo
    echo "Commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%F)."
    echo
    echo "| stage | came to | time |"
    echo "| --- | --- | ---: |"
} >"$summary"

# The way of a user, by the command line.
use() {
    local run=$work/logs/run some
    stage train 90 "$python" -m distill train ${recordings:+"$recordings"} --loss stft,recon,kl \
        --set "training.device=$device" --set "training.minutes=$train_minutes" --set training.pairs=2 --out "$run" || return
    some=${recordings:-$(find "$work/logs" runs -path '*demo*' -name '*.wav' -print -quit 2>/dev/null)}
    [[ -d $some ]] && some=$(find "$some" -type f -name '*.*' -print -quit)
    stage reconstruct 40 "$python" -m distill reconstruct "$run" "$some" --out "$work/logs/reconstructed"
    stage generate 40 "$python" -m distill generate "$run" -n 2 --out "$work/logs/generated"
    stage evaluate 40 "$python" -m distill evaluate "$run" --heldout --no-visqol
    stage profile 40 "$python" -m distill losses profile --run "$run" --batches 8
    stage resume 60 "$python" -m distill train --resume --out "$run" --minutes "$resumed_minutes"
    return "$failed"
}

stage environment 120 bash -c install

# Nothing is timed in these two, which run side by side.
together=()
wanted tests && { stage tests 150 bash -c 'tests tests/cuda' & together+=($!); }
wanted run && { use & together+=($!); }
for each in "${together[@]}"; do wait "$each" || failed=1; done

if wanted speed; then
    stage step 45 "$python" benchmarks/step.py --device "$device" --runs "$runs" --write "$page"
    if [[ $device == cuda ]]; then
        stage step-64 45 "$python" benchmarks/step.py --device "$device" --batch 64 --runs "$runs" --write "$page"
    fi
    stage spectral 120 "$python" benchmarks/spectral.py --device "$device" --runs "$runs" "${quick[@]}" --write "$page"
fi
# It was compiled in time, and pays: then it is compiled for the base training, too, from the same cache.
wanted compiled && stage compiled 150 "$python" benchmarks/compiled.py --device "$device" --batch "$batch" --runs "$runs" --write "$page" &&
    [[ $device == cuda ]] && compiles=$(sed -n 's/^compile pays: //p' "$work/logs/compiled.log" | tail -n 1)

kept=0
if wanted base && [[ -z $recordings ]]; then
    recordings=$work/demo
    stage demo 30 "$python" -c "import sys, pathlib, distill.audio.corpus as c; c.write_demo_corpus(pathlib.Path(sys.argv[1]))" \
        "$recordings"
fi
# train_base NAME OPTION...: for the time that is left but 20 s, which are for the checkpoint and to pack it.
train_base() {
    local name=$1 rest
    shift
    rest=$(($(left) - 20))
    if ((rest < base_least)); then
        failed=1
        echo "| $name | not run: $rest s were left | |" | tee -a "$summary"
        return
    fi
    [[ $device == cpu ]] && rest=$base_least
    stage "$name" $((rest + 15)) env OMP_NUM_THREADS=1 "$python" benchmarks/base.py --device "$device" \
        --batch "$batch" --recordings "$recordings" --out "$work/base" --slots "$slots" --fresh "$fresh" \
        --workers "$workers" --minutes "$(awk "BEGIN { print $rest / 60 }")" ${hours:+--hours "$hours"} "$@"
}
if wanted base; then
    while sleep "$every"; do keep_base; done &
    keeper=$!
    if [[ ${compiles:-no} != no ]]; then
        train_base base-compiled --compile "$compiles" || train_base base
    else
        train_base base
    fi
    kill "$keeper" && wait "$keeper" 2>/dev/null
    keep_base || failed=1
    printf '\nThe end of the base training:\n\n' >>"$summary"
    tail -q -n 3 "$work"/logs/base*.log 2>/dev/null | sed 's/^/    /' >>"$summary"
fi
{
    echo
    tail -n +2 "$page" 2>/dev/null
} >>"$summary"
pack
cat "$summary"
exit "$failed"
