# shellcheck shell=bash
# What the hooks share. Sourced, from the repository's root.

# azd gives a hook the variables of its environment; a hook that is run by hand asks for them.
load_environment() {
    local line name
    if [ -z "${AZURE_RESOURCE_GROUP:-}" ]; then
        while IFS= read -r line; do
            name=${line%%=*}
            line=${line#*=}
            line=${line#\"}
            [[ $name =~ ^[A-Z_]+$ ]] && export "$name=${line%\"}"
        done < <(azd env get-values </dev/null)
    fi
    for name in "$@"; do
        [ -n "${!name:-}" ] || fail "\`$name\` is not set: run \`azd provision\` first, or choose the environment with \`azd env select\`"
    done
}

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "${0##*/}: $*"
    exit 1
}

# Always by name of the subscription: the default of `az login` may be another one.
azure() { az "$@" --subscription "$AZURE_SUBSCRIPTION_ID" --only-show-errors; }

# wait_for WHAT TIMES SECONDS COMMAND...: runs the command until it succeeds, so many times at most, with so long a pause between.
wait_for() {
    local what=$1 times=$2 pause=$3 time
    shift 3
    for ((time = 1; time <= times; time++)); do
        if "$@"; then
            return 0
        fi
        if [ "$time" -eq 1 ]; then
            say "waiting for $what, $((times * pause / 60)) minutes at most"
        fi
        [ "$time" -eq "$times" ] || sleep "$pause"
    done
    fail "gave up: waited for $what ${LAST_SEEN:+(last seen: $LAST_SEEN)}"
}
