"""What the tool cannot know: which things exist, and rules between fields that JSON Schema has no words for.

Only what keeps to the schema is touched here, and only as far as it must be; what breaks a rule on purpose is sent as it is.
"""

import base64
import os
import uuid

import schemathesis
from bodies import Bodies
from hypothesis import strategies as st
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase
from seed import Seed

seed = Seed(os.environ["MA_BASE"], os.environ["MA_KEY"], os.environ["MA_ROOT"])
bodies = Bodies(seed)
turns = 0

# Every fourth case keeps the ids that the tool made up, but not where the body has to fit the thing, nor where a new thing lacks what is asked for:
# a migration is made without a schedule.
FITTED = ("/workloads/{ip}", "create-migration", "/presets/{preset_id}", "/auth/users/{user_id}", "/migrations/{session_id}/schedule")

schemathesis.openapi.format("cursor", st.datetimes().map(lambda at: base64.urlsafe_b64encode(f"{at.isoformat()} ü".encode()).decode().rstrip("=")))
schemathesis.openapi.format("time-zone", st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]))
schemathesis.openapi.format("cron", st.sampled_from(["0 2 * * *", "*/5 9-17 * * mon-fri", "@daily", "30 1 1,15 * ?"]))


def is_good(case, part):
    """Whether this part of the case keeps to the schema."""
    found = case.meta.components.get(part) if case.meta else None
    return found is None or found.mode.is_positive


@schemathesis.hook
def before_call(context, case, kwargs):
    global turns
    turns += 1
    operation = f"{case.method.upper()} {case.path}"
    invented = case.meta is None or case.meta.phase.name != TestPhase.STATEFUL
    wanted = case.path.endswith(FITTED) or (invented and turns % 4)
    if case.path_parameters and wanted and is_good(case, ParameterLocation.PATH):
        fresh = seed.fresh(operation)
        case.path_parameters = {name: fresh.get(name, value) for name, value in case.path_parameters.items()}
    if case.method.upper() in ("PATCH", "PUT", "DELETE") and seed.guarded & set(map(str, (case.path_parameters or {}).values())):
        case.path_parameters = {name: "guarded" for name in case.path_parameters}
    if case.path == "/vms/{vm_id}/start":
        # No machine runs for this: it would take the processors from all other tests. Real ones have tests of their own.
        case.path_parameters = {"vm_id": "none"}
    if not invented and case.headers and "Idempotency-Key" in case.headers and is_good(case, ParameterLocation.HEADER):
        # A key that comes again brings an old answer again, and what it names may be gone by then.
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    if isinstance(case.body, dict) and is_good(case, ParameterLocation.BODY):
        case.body = bodies.fitted(operation, case.body, case.path_parameters or {})
    if is_good(case, ParameterLocation.QUERY):
        case.query = bodies.asked(operation, case.query or {})
    if case.path == "/auth/authorize" and is_good(case, ParameterLocation.QUERY):
        bodies.authorize(case)
