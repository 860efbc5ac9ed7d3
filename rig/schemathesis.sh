#!/bin/bash
# schemathesis.sh start|stop   no server: the tool that tries an interface out against its OpenAPI document, in $VENV. With its generator pinned, so that a seed means the same cases.
. "$(dirname "$0")/lib.sh"
case ${1:-start} in
 start) [ -d "$VENV"/lib/python3*/site-packages/schemathesis-4.32.5.dist-info ] && [ -d "$VENV"/lib/python3*/site-packages/hypothesis-6.170.15.dist-info ] || pip_get schemathesis==4.32.5 hypothesis==6.170.15;;
 stop) ;;
esac
