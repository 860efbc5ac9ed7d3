"""The measured endpoints with Flask, behind gunicorn."""

import shared
from flask import Flask, jsonify, request

app = Flask(__name__)
SYSTEM = {"type", "host", "port", "username", "password", "region", "bucket", "paths", "database"}
KNOWN = {"name", "description", "source", "destination", "transfer", "safety"}


@app.errorhandler(shared.Refused)
def refused(error):
    return jsonify(error={"code": error.code}), error.status


@app.errorhandler(shared.Missing)
def missing(_):
    return jsonify(error={"code": "MIGRATION_NOT_FOUND"}), 404


def caller():
    return shared.caller(request.headers.get("Authorization"), request.headers.get("X-Tenant-ID"))


def problems(body):
    """Every bad field of a body."""
    if not isinstance(body, dict):
        return ["body"]
    bad = [name for name in body if name not in KNOWN]
    bad += [name for name in ("name",) if not isinstance(body.get(name), str)]
    for side in ("source", "destination"):
        system = body.get(side)
        if not isinstance(system, dict) or not isinstance(system.get("type"), str):
            bad.append(side)
        else:
            bad += [f"{side}.{name}" for name in system if name not in SYSTEM]
    return bad


@app.get("/health")
def health():
    return jsonify(status="healthy")


@app.get("/migrations/")
def migrations():
    _, tenant = caller()
    limit, offset = request.args.get("limit", 100, type=int), request.args.get("offset", 0, type=int)
    return jsonify(shared.listed(tenant, request.args.get("status_filter"), limit, offset))


@app.get("/migrations/<session_id>")
def migration(session_id):
    return jsonify(shared.detail(caller()[1], session_id))


@app.get("/migrations/<session_id>/status")
def status(session_id):
    return jsonify(shared.status(caller()[1], session_id))


@app.post("/migrations/")
def create():
    name, tenant = caller()
    body = request.get_json()
    bad = problems(body)
    if bad:
        return jsonify(error={"code": "INVALID_CONFIGURATION", "details": bad}), 400
    return jsonify(shared.create(name, tenant, request.remote_addr, body)), 201
