"""What the three programs share: the database, who asks, and the shape of the answers.

They read and write a copy of a Migration Assistant database. What they spare themselves, to their advantage: the input is not sealed, and
nobody is told of a new migration.
"""

import json
import os
import sqlite3
import threading
import time
import uuid
from datetime import datetime, timezone

import jwt

DATABASE = os.environ["BENCH_DATABASE"]
SECRET = os.environ["BENCH_SECRET"]
STEPS = [
    ("validate", "Validating configuration"), ("backup", "Creating backup"), ("prepare", "Preparing destination"),
    ("database", "Migrating database"), ("files", "Transferring files"), ("configuration", "Updating configuration"),
    ("verify", "Verifying migration"), ("finish", "Finishing"),
]
WORDS = {"pending": "pending", "begun": "running", "done": "completed", "undone": "undone", "failed": "failed"}
RUN = "id, kind, state, labels, error, created_at, started_at, ended_at, sample, last_event, by_itself"
LINE = "id, kind, state, labels, created_at, started_at, ended_at, by_itself, steps, steps_done, at_work"
AUDIT = "at, tenant, actor, proof, action, target, source, request_id, result, details"
SECRETS = {"password", "private_key", "passphrase", "secret_access_key", "session_token", "account_key", "sas_token", "service_account_key"}
FRESH = 3.0

_local = threading.local()
_standings = {}


class Refused(Exception):
    """Nobody known asks, or for a tenant that is not theirs."""

    def __init__(self, status, code):
        self.status, self.code = status, code


class Missing(Exception):
    """There is no such migration in the tenant."""


def connection():
    """This thread's connection, as durable as the product's."""
    if not hasattr(_local, "connection"):
        made = sqlite3.connect(DATABASE, isolation_level=None, timeout=20, cached_statements=256)
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("PRAGMA synchronous = FULL")
        made.execute("PRAGMA foreign_keys = ON")
        _local.connection = made
    return _local.connection


def caller(authorization, tenant):
    """Name and tenant of whoever the token belongs to. The session is looked up at most every three seconds, as the product does."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        raise Refused(401, "AUTHENTICATION_REQUIRED")
    try:
        claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="migration-assistant", issuer="migration-assistant")
    except jwt.InvalidTokenError as error:
        raise Refused(401, "AUTHENTICATION_REQUIRED") from error
    at, name, tenants = _standings.get(claims["sid"], (0.0, None, None))
    if time.monotonic() - at > FRESH:
        name, tenants = _standing(claims)
        _standings[claims["sid"]] = (time.monotonic(), name, tenants)
    chosen = tenant or next(iter(tenants))
    if chosen not in tenants:
        raise Refused(404, "TENANT_NOT_FOUND")
    return name, chosen


def _standing(claims):
    get = "SELECT body FROM record WHERE tenant = 'system' AND kind = ? AND id = ? AND (state IS NULL OR state = 'active')"
    session = connection().execute(get, ("session", claims["sid"])).fetchone()
    user = connection().execute(get, ("user", claims["sub"])).fetchone()
    if session is None or user is None or json.loads(user[0])["disabled"]:
        raise Refused(401, "AUTHENTICATION_REQUIRED")
    body = json.loads(user[0])
    return body["username"], body["tenants"]


def text(micros):
    """Document 3's time."""
    if micros is None:
        return None
    at = datetime.fromtimestamp(micros // 1_000_000, timezone.utc).replace(microsecond=micros % 1_000_000, tzinfo=None)
    return at.isoformat(timespec="microseconds")


def now():
    return time.time_ns() // 1000


def listed(tenant, state, limit, offset):
    db = connection()
    where, values = ("AND state = ?", [state]) if state else ("", [])
    sql = f"SELECT {LINE} FROM run WHERE tenant = ? {where} ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?"
    db.execute("BEGIN")
    try:
        runs = db.execute(sql, [tenant, *values, limit, offset]).fetchall()
        ledgers = _ledgers(db, [run[0] for run in runs if run[10]])
    finally:
        db.execute("ROLLBACK")
    return [summary(*run[:8], progress(*run[8:], ledgers.get(run[0], []))) for run in runs]


def _one(tenant, id, with_input):
    db = connection()
    db.execute("BEGIN")
    try:
        run = db.execute(f"SELECT {RUN} FROM run WHERE id = ? AND tenant = ?", (id, tenant)).fetchone()
        if run is None:
            raise Missing(id)
        steps = db.execute("SELECT name, title, state, attempts, started_at, ended_at FROM step WHERE run = ? ORDER BY idx", (id,)).fetchall()
        ledgers = _ledgers(db, [id]).get(id, [])
        document = db.execute("SELECT input FROM run WHERE id = ? AND tenant = ?", (id, tenant)).fetchone()[0] if with_input else None
    finally:
        db.execute("ROLLBACK")
    return run, steps, ledgers, document


def _ledgers(db, ids):
    if not ids:
        return {}
    sql = f"SELECT run, name, items, items_done, bytes, bytes_done FROM ledger WHERE run IN ({', '.join('?' * len(ids))}) ORDER BY run, name"
    ledgers = {}
    for row in db.execute(sql, ids):
        ledgers.setdefault(row[0], []).append(row[1:])
    return ledgers


def progress(steps, done, begun, ledgers):
    part = next((l[4] / l[3] for l in ledgers if l[3] and begun == {"files": "files", "tables": "database"}.get(l[0])), 0.0)
    return int((done + min(part, 0.99)) / steps * 1000) / 10 if steps else 0.0


def progress_of(steps, ledgers):
    done = sum(1 for step in steps if step[2] == "done")
    return progress(len(steps), done, next((step[0] for step in steps if step[2] == "begun"), None), ledgers)


def status_word(state, by_itself):
    return "failed" if state == "rolled_back" and by_itself else state


def summary(id, kind, state, labels, created, started, ended, by_itself, percent):
    labels = json.loads(labels)
    return {
        "session_id": id, "id": id, "name": labels["name"], "status": status_word(state, by_itself), "rolled_back": state == "rolled_back",
        "kind": kind, "created_at": text(created), "start_time": text(started), "end_time": text(ended),
        "source_type": labels["source_type"], "destination_type": labels["destination_type"], "progress": percent,
    }


def shown_steps(run, steps):
    def one(name, title, state, attempts, started, ended):
        lasted = None if started is None or state == "undone" else ((ended or run[7] or now()) - started) / 1e6
        return {"name": name, "title": title, "status": WORDS[state], "attempts": attempts, "start_time": text(started),
                "end_time": text(ended), "duration": lasted}
    return [one(*step) for step in steps]


def redact(value):
    if isinstance(value, dict):
        return {k: "********" if k in SECRETS else redact(v) for k, v in value.items()}
    return [redact(v) for v in value] if isinstance(value, list) else value


def detail(tenant, id):
    run, steps, ledgers, document = _one(tenant, id, True)
    labels = json.loads(run[3])
    return {
        **summary(*run[:4], *run[5:8], run[10], progress_of(steps, ledgers)), "description": labels.get("description"), "source": labels["source"], "destination": labels["destination"],
        "error": json.loads(run[4]) if run[4] else None, "steps": shown_steps(run, steps), "configuration": redact(json.loads(document)),
    }


def size(count):
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000


def performance(run, ledgers):
    sample = json.loads(run[8]) if run[8] else {"rate_current": 0.0, "rate_average": 0.0}
    total = {"files": [0, 0, 0, 0], "tables": [0, 0, 0, 0]}
    for name, *numbers in ledgers:
        kind = "files" if name.startswith("files") else name
        if kind in total:
            total[kind] = [a + b for a, b in zip(total[kind], numbers)]
    files, rows = total["files"], total["tables"]
    moved, all_bytes = files[3] + rows[3], files[2] + rows[2]
    current = sample["rate_current"] if run[2] in ("running", "rolling_back") else 0.0
    return {
        "transfer_rate_current": size(current) + "/s", "transfer_rate_average": size(sample["rate_average"]) + "/s",
        "files_transferred": files[1], "files_total": files[0], "data_transferred": size(moved), "data_total": size(all_bytes),
        "transfer_rate_current_bytes": current, "transfer_rate_average_bytes": sample["rate_average"], "data_transferred_bytes": moved,
        "data_total_bytes": all_bytes, "rows_transferred": rows[1], "rows_total": rows[0],
    }


def status(tenant, id):
    run, steps, ledgers, _ = _one(tenant, id, False)
    at_work = next((s for s in steps if s[2] in ("begun", "pending")), None)
    started, ended = run[6], run[7]
    return {
        "session_id": id, "id": id, "name": json.loads(run[3])["name"], "status": status_word(run[2], run[10]), "rolled_back": run[2] == "rolled_back",
        "progress": progress_of(steps, ledgers), "current_step": at_work[1] if at_work and run[2] in ("running", "paused") else None,
        "start_time": text(started), "end_time": text(ended), "duration": None if started is None else ((ended or now()) - started) / 1e6,
        "error": json.loads(run[4]) if run[4] else None, "steps_completed": sum(1 for s in steps if s[2] == "done"), "steps_total": len(steps),
        "performance_metrics": performance(run, ledgers), "current_operation": None, "steps": shown_steps(run, steps), "partial": False,
        "backup_id": None, "last_event": run[9],
    }


def labels_of(body):
    def place(side):
        database = side.get("database") or {}
        return f"{side['type']}://{side.get('host') or side.get('bucket')} + {database.get('type')}://{database.get('host') or database.get('cluster')}"
    return {
        "name": body["name"], "description": body.get("description"), "source_type": body["source"]["type"],
        "destination_type": body["destination"]["type"], "source": place(body["source"]), "destination": place(body["destination"]),
    }


def create(name, tenant, address, body):
    """A new migration with its steps, its first event and the entry in the audit log, in one transaction."""
    id, at, db = uuid.uuid4().hex, now(), connection()
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("INSERT INTO run (id, tenant, kind, state, labels, input, options, created_at, last_event, steps) "
                   "VALUES (?, ?, 'application', 'created', ?, ?, 'null', ?, 1, ?)",
                   (id, tenant, json.dumps(labels_of(body)), json.dumps(body), at, len(STEPS)))
        db.executemany("INSERT INTO step (run, idx, name, title, version) VALUES (?, ?, ?, ?, 1)", [(id, n, *step) for n, step in enumerate(STEPS)])
        db.execute("INSERT INTO event (run, seq, at, kind, level, component, message, details) VALUES (?, 1, ?, 'run.created', 1, 'engine', 'created', 'null')", (id, at))
        db.execute(f"INSERT INTO audit ({AUDIT}) VALUES (?, ?, ?, 'token', 'create_migration', 'migrations', ?, ?, 'done', 'null')",
                   (at, tenant, name, address, f"req-{uuid.uuid4().hex[:12]}"))
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    return created(id, at)


def created(id, at):
    return {"session_id": id, "id": id, "status": "created", "message": "Migration session created successfully", "created_at": text(at)}


def unseal(source):
    """Puts plain JSON in the place of sealed inputs, which only the product can read. Called once, before the first measurement."""
    with open(source, encoding="utf-8") as file:
        document = file.read()
    connection().execute("UPDATE run SET input = ?", (document,))


if __name__ == "__main__":
    import sys
    unseal(sys.argv[1])
