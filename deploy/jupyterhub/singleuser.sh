#!/usr/bin/env bash
# A student's server: the lessons are copied into the student's home, then JupyterLab starts with the course's settings.
set -euo pipefail
umask 077 # no other student reads these files

python=$(command -v python3)
"$python" -m xai_lessons lab --copy-only --folder "$HOME/xai-lessons-notebooks"
settings=$("$python" -c "from xai_lessons.command import lab; print(lab.SETTINGS)")
export JUPYTER_CONFIG_PATH="$settings${JUPYTER_CONFIG_PATH:+:$JUPYTER_CONFIG_PATH}"
exec jupyterhub-singleuser "$@"
