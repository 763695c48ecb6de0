#!/usr/bin/env bash
# Makes models/digits from nothing: voices, training, export, measures. Needs espeak-ng, flite and
# festival (with festvox-kallpc16k, festvox-kdlpc16k and festvox-us-slt-hts) and Python 3.11.
# Usage: training/run.sh [FSDD folder]      (from the root of the repository; an hour or two on two idle cores)
set -euo pipefail
fsdd=${1:-../shared/data/fsdd}
work=training/work
[ -d "$fsdd" ] || { echo "no recordings in $fsdd: give the folder as the first argument" >&2; exit 1; }
[ -d .venv ] || python3 -m venv .venv
.venv/bin/pip install --quiet -r training/requirements.txt
python=.venv/bin/python
export OMP_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184

$python training/speak.py --fsdd "$fsdd" --output $work
# One speaker is never heard, for an honest measure on strangers; then he is added.
$python training/train.py --work $work --name stranger --hold-out theo --steps 8000 --decay 2500
$python training/export.py $work/stranger.pt $work/stranger
$python training/evaluate.py $work/stranger --work $work
$python training/train.py --work $work --name digits --start $work/stranger.pt \
    --steps 12000 --decay 3500 --rate 1e-3 --warm-up 50
$python training/export.py $work/digits.pt models/digits
$python training/evaluate.py models/digits --work $work
$python training/check.py models/digits --work $work
