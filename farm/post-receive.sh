#!/bin/sh
# post-receive of the farm: writes one file per moved ref, tells the farm, and lets the push go on whatever happens.
# Written by `farm hook install`; a hook that was here before is post-receive.before-farm and runs after this.
home=@HOME@ # of a farm on this machine; else
far=@FAR@   # the folder that says which farm elsewhere
spool=@SPOOL@
program=@PROGRAM@
wait_s=${FARM_HOOK_WAIT_S:-10}

say() { printf 'farm: %s\n' "${*#farm: }" >&2; }
say_all() { printf '%s\n' "$1" | while read -r line; do say "$line"; done; }

escaped() { printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g'; }

is_id() {
  case $1 in *[!0-9a-f]*) return 1 ;; esac
  [ ${#1} -eq 40 ] || [ ${#1} -eq 64 ]
}

# One event: to a hidden file, to the disk, then to its name.
keep() {
  coming=$(mktemp "$spool/.coming-XXXXXX" 2>/dev/null) || return 1
  name=$spool/$(date +%s%N)-$$-$4.json
  if printf '{"repository": "%s", "ref": "%s", "old": "%s", "new": "%s"}\n' \
    "$repository" "$(escaped "$3")" "$1" "$2" >"$coming" &&
    sync "$coming" && mv "$coming" "$name" && sync "$spool"; then
    kept="$kept$name
"
    return 0
  fi
  rm -f "$coming"
  return 1
}

# Status 2: the farm refuses, and says why; 124: the time was up; else no farm answered.
tell() {
  if [ -n "$far" ]; then # goes on in the background when the time is up, and takes from the spool what the farm has
    timeout -k 1 "$((${wait_s%%.*} + 20))" "$program" event "$git_dir" --spooled "$far" --for "$wait_s" 2>&1
  else
    printf '%s\n' "$good" | timeout -k 1 "$wait_s" "$program" event "$git_dir" --home "$home" 2>&1
  fi
}
tell_later() {
  if [ -n "$far" ]; then
    [ "$1" = 124 ] && say "noted; it is on its way to the farm, see $far/log" && return
    say_all "$answer"
    say "noted; it is sent with the next push, or by: farm hook send $git_dir"
  elif [ "$1" = 124 ]; then
    say "noted; the farm is at it, see: farm jobs --home $home"
  else
    say "noted; the farm takes it up when it runs: farm up --home $home"
  fi
}

given=$(cat)
git_dir=$(git rev-parse --absolute-git-dir 2>/dev/null) || git_dir=$(pwd -P)
repository=$(escaped "$git_dir")
umask 077
kept='' good='' number=0
mkdir -p "$spool" 2>/dev/null
while read -r old new ref; do
  [ -n "$old$new$ref" ] || continue
  number=$((number + 1))
  if ! is_id "$old" || ! is_id "$new" || [ "${ref#refs/}" = "$ref" ]; then
    say "'$old $new $ref' is no line of post-receive: passed over"
  elif keep "$old" "$new" "$ref" "$number"; then
    good="$good$old $new $ref
"
  else
    say "$ref could not be noted in $spool; the farm may learn of it later, or run: farm rebuild $git_dir"
  fi
done <<LINES
$given
LINES

if [ -n "$kept" ]; then
  good=${good%?}
  answer=$(tell)
  status=$?
  case $status in
    0)
      printf '%s' "$kept" | while read -r name; do rm -f "$name"; done
      [ -z "$answer" ] || say_all "$answer"
      ;;
    2) say_all "$answer" ;;
    *) tell_later "$status" ;;
  esac
fi

before=$(dirname "$0")/post-receive.before-farm
if [ -x "$before" ]; then
  printf '%s\n' "$given" | "$before" "$@"
fi
exit 0
