#!/bin/sh
# The main job on real prices, as a newcomer would type it. Works in ./demo, and a second time too.
set -eu

mkdir -p demo
cd demo

step() {
    printf '\n\033[2m# %s\033[0m\n' "$1"
    shift
    printf '$ %s\n' "$*"
    "$@"
}

# Only a terminal gets colour.
if [ ! -t 1 ]; then
    step() {
        printf '\n# %s\n' "$1"
        shift
        printf '$ %s\n' "$*"
        "$@"
    }
fi

step "A workspace: a store of immutable objects, and folders to work in." \
    ros init
step "Twenty years of the S&P 500, checked against its checksums and bar by bar." \
    ros data add ../research/datasets/sp500-daily/1999-2018 --name sp500-daily
step "A crossover of two moving averages, with slippage and fees." \
    ros run sma_crossover --name base
step "The same question again: answered from the store, nothing is executed." \
    ros run sma_crossover
step "A variation." \
    ros run sma_crossover --param fast=10 --name quick
step "Run the first one again, from what the store holds alone. To the bit?" \
    ros replay base
step "Why did the figures move?" \
    ros diff base quick
step "What have I run?" \
    ros log
step "A config for evaluation: disabled, EVAL_ONLY, and a human has to approve it." \
    ros promote quick --strategy sma_quick
step "Every object, every link, every move: is it what it was?" \
    ros fsck

printf '\nThe files it wrote, in demo/:\n'
find . -type f -not -path './.ros/*' | sort
printf './.ros/  (%s files; the store)\n' "$(find .ros/objects -type f | wc -l | tr -d ' ')"
