"""Bodies that keep to their schemas, made to keep to the rules between fields and to this machine.

Nothing that a case names is reached outside: hosts become closed ports of this machine, and paths lie below the one allowed directory.
"""

import copy
import re

TREES = ("wordpress", "drupal", "django", "laravel", "rails", "static", "server", "aws-ec2", "gcp-compute", "azure-vm")
ENGINES = {"mysql": "mysql", "mariadb": "mysql", "aurora-mysql": "mysql", "cloud-sql": "mysql", "postgresql": "postgresql", "aurora-postgres": "postgresql", "sqlite": "sqlite"}
CLOSED = "http://127.0.0.1:9/"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----"
# Headers that the service sets itself.
SET = "host content-length transfer-encoding content-encoding connection keep-alive te trailer upgrade expect proxy-authorization webhook-id webhook-timestamp webhook-signature".split()


class Bodies:
    def __init__(self, seed):
        self.seed, self.root = seed, seed.root
        made = {"username": seed.name("token"), "password": "the password of a seeded user"}
        seed.api("POST", "/auth/users", made | {"scopes": ["migrations:read"]})
        self.login = made

    def fitted(self, operation, body, path):
        body = copy.deepcopy(body)
        rule = {
            "POST /migrations": self.configuration,
            "POST /migrations/dry-run": self.configuration,
            "POST /validate": self.configuration,
            "POST /migrations/batch": self.batch,
            "POST /migrations/{session_id}/rollback": self.rollback,
            "POST /migrations/{session_id}/schedule": lambda body: self.later(body, "scheduled_time"),
            "POST /presets": self.preset,
            "PUT /presets/{preset_id}": lambda body: self.preset(body) | {"id": path.get("preset_id")},
            "POST /presets/import": self.presets,
            "POST /presets/{preset_id}/create-migration": lambda body: self.values(body, "overrides", "description"),
            "POST /templates": self.template,
            "PUT /templates/{template_id}": self.template,
            "POST /templates/{template_id}/create-migration": lambda body: self.values(body, "variables", "title"),
            "POST /webhooks": self.webhook,
            "PUT /webhooks/{webhook_id}": self.webhook,
            "POST /auth/api-keys": lambda body: self.later(body, "expires_at"),
            "PATCH /auth/users/{user_id}": self.user,
            "POST /auth/token": self.token,
            "POST /vms": lambda body: {k: v for k, v in body.items() if k not in ("image", "kernel", "initrd", "append", "node")},
            "POST /workloads": self.workload,
            "PUT /workloads/{ip}": lambda body: self.workload(body) | {"ip": path.get("ip")},
            "POST /api/v1/workloads": lambda body: body | {"ip": self.seed.address(), "credentials": self.known("credentials"), "mount_points": []},
            "POST /api/v1/migration-targets": lambda body: self.asked_of(body) | {"cloud_credentials": self.known("credentials"), "target_vm": self.seed.disposable("workloads")},
            "POST /api/v1/migrations": self.move,
            "POST /api/v1/auth": lambda body: body | {"username": self.seed.name("registered")},
            "POST /api/v1/token": lambda body: body | self.login,
        }.get(operation)
        return rule(body) if rule else body

    # A migration's configuration

    def configuration(self, body):
        if "destination" not in body:
            return self.moved(body)
        source, destination = body["source"], body["destination"]
        self.pair(body, source, destination)
        for side in ("source", "destination"):
            self.at_home(body[side], f"{self.root}/{'site' if side == 'source' else 'out/fuzzed'}")
        database = self.database(body["source"])
        if database is not None and not database.get("database"):
            database["database"] = "shop"
        return self.telling(body)

    def telling(self, body):
        notifications = body.get("notifications") or {}
        for channel, field in (("webhook", "url"), ("slack", "webhook_url")):
            if (notifications.get(channel) or {}).get(field):
                notifications[channel][field] = CLOSED
        return body

    def database(self, system):
        """The part of the system that says where its database is."""
        own = system.get("database")
        if isinstance(own, dict):
            return own
        return system if system["type"] in ENGINES else None

    def engine(self, system):
        database = self.database(system)
        return ENGINES.get(database["type"]) if database else None

    def pair(self, body, source, destination):
        """Files go where files can be, both databases are of one engine, and a machine's disk goes into files and comes from there."""
        files = lambda system: system["type"] in TREES or system["type"] == "aws-s3"
        if "vm" in (source["type"], destination["type"]):
            return self.disk(body, "destination" if source["type"] == "vm" else "source", files)
        if files(source) and not files(destination):
            body["destination"] = destination = {"type": "static"}
        of, to = self.engine(source), self.engine(destination)
        if of == to or (to is None and files(source)) or (of is None and source["type"] == "wordpress"):
            return
        if of is None:
            destination.pop("database")
        elif files(destination):
            destination["database"] = {k: v for k, v in self.database(source).items() if k != "url"}
        else:
            body["destination"] = copy.deepcopy(source)

    def disk(self, body, outside, files):
        """One file of a plain place, and nothing said of others."""
        if not files(body[outside]):
            body[outside] = {"type": "static"}
        body[outside].pop("database", None)
        options = (body.get("transfer") or {}).get("options") or {}
        for field in ("exclude", "delete_extraneous"):
            options.pop(field, None)
        for field in ("kernel", "initrd", "append"):
            body["destination"].pop(field, None)

    def at_home(self, system, directory):
        if system["type"] in TREES and (system.get("host") or "localhost") == "localhost":
            system["paths"] = {"web_root": directory}
        elif system["type"] in TREES:
            self.ssh(system)
            if (system.get("paths") or {}).get("config") is not None:
                system["paths"]["config"] = system["paths"].get("web_root") or "/var/www/html"
        if system["type"] == "aws-s3":
            system["endpoint"] = CLOSED.rstrip("/")
        database = self.database(system)
        if database is None:
            return
        if database["type"] == "sqlite":
            database["database"] = f"{directory}.db"
        for field in ("host", "cluster"):
            if database.get(field):
                database[field] = "127.0.0.1"
        if database["type"] != "sqlite":
            database["port"] = 9
        if database.get("ca") is not None:
            database["ca"] = "-----BEGIN CERTIFICATE-----"

    def ssh(self, at):
        at["host"], at["port"] = "127.0.0.1", 9
        if at.get("private_key") is not None:
            at["private_key"] = KEY
        if at.get("known_hosts") is not None:
            at["known_hosts"] = f"{self.root}/known_hosts"
        if at.get("jump"):
            self.ssh(at["jump"])

    def batch(self, body):
        body.pop("waves", None)
        for index, entry in enumerate(body["migrations"]):
            self.configuration(entry)
            entry.pop("wave", None)
            if entry.get("depends_on") is not None:
                entry["depends_on"] = index - 1 if index else []
        return body

    # What configurations are made from

    def preset(self, body):
        made = self.seed.configuration()
        body["config_template"] = {"source": made["source"], "destination": made["destination"], "description": "{{text}}"}
        if body.get("optional") is not None:
            body["optional"] = ["description"] if body["optional"] else []
        return body

    def presets(self, body):
        body["presets"] = [self.preset(preset) | {"id": self.seed.name("imported")} for preset in body["presets"]]
        return body

    def values(self, body, field, name):
        if body.get(field) is not None:
            body[field] = {name: "a text"}
        return body

    def template(self, body):
        """Each variable is declared once and stands somewhere; secret ones stand where nothing is shown."""
        made, seen = self.seed.configuration(), {}
        for variable in body.get("variables") or []:
            seen.setdefault(variable["name"], variable)
        for variable in seen.values():
            if variable["type"] == "enum" and variable.get("default") is not None:
                variable["default"] = variable["values"][0]
            if variable["type"] == "secret" and variable.get("default") is not None:
                variable["default"] = "a secret"
            if variable.get("default") is None:
                variable["required"] = True
        of = lambda secret: "".join("{{%s}}" % v["name"] for v in seen.values() if (v["type"] == "secret") == secret)
        source = {"type": "static", "host": "127.0.0.1", "username": "ann", "password": "x" + of(True)}
        body["template"] = {"source": source, "destination": made["destination"], "description": "About " + of(False)}
        if body.get("variables") is not None:
            body["variables"] = list(seen.values())
        return body

    # Workloads

    def known(self, kind):
        return self.seed.resources[kind]

    def workload(self, body):
        """A server that is not asked for its mount points."""
        points = [{"mount_point_name": "/", "total_size": 1000}]
        return body | {"ip": self.seed.address(), "credentials": {"username": "ann", "password": "secret", "domain": "example.com"}, "storage": {"mount_points": points}}

    def asked_of(self, target):
        """The target's cloud behind a closed port. Only aws has regions and tokens."""
        cloud = target.get("cloud")
        if cloud is None:
            return target
        kept = cloud if target["cloud_type"] == "aws" else {k: v for k, v in cloud.items() if v is None or k not in ("region", "session_token")}
        fixed = {"endpoint": CLOSED.replace("http:", "https:"), "session_token": "a-token"}
        return target | {"cloud": kept | {k: v for k, v in fixed.items() if kept.get(k) is not None}}

    def moved(self, body):
        """A migration of a workload in document 0's form."""
        side = self.workload({})
        target = self.asked_of(body["migration_target"]) | {"cloud_credentials": side["credentials"], "target_vm": self.workload({})}
        return self.telling(body) | {"source": side, "migration_target": target, "selected_mount_points": side["storage"]["mount_points"]}

    def move(self, body):
        known = {"source": self.known("workloads"), "migration_target": self.known("migration-targets"), "selected_mount_points": [self.known("mount-points")]}
        return body | known

    # The others

    def rollback(self, body):
        return {k: v for k, v in body.items() if k != "backup_id"} if len(body) > 1 else body

    def later(self, body, field):
        if body.get(field) is not None:
            body[field] = "2048" + body[field][4:]
        return body

    def webhook(self, body):
        body["url"] = CLOSED + re.sub("[^a-z]", "", body["url"])
        kept = {}
        for name, value in (body.get("headers") or {}).items():
            if name.lower() not in SET and name.lower() not in map(str.lower, kept) and value != "********":
                kept[name] = "application/json" if name.lower() == "content-type" else value
        return body | ({"headers": kept} if body.get("headers") is not None else {})

    def user(self, body):
        if body.get("tenant_id") is not None:
            body["tenant_id"] = "default"
        return body

    def token(self, body):
        kept = {name: body[name] for name in ("grant_type", "tenant_id", "scope") if body.get(name) is not None}
        if kept.get("grant_type", "password") != "password":
            return body
        return kept | self.login | ({"tenant_id": "default"} if "tenant_id" in kept else {}) | ({"scope": "migrations:read"} if "scope" in kept else {})

    def asked(self, operation, query):
        """Nobody waits long, a period ends after its beginning, and a log is read from one end."""
        query = dict(query)
        is_of_machine = "/vms/" in operation and not operation.startswith("GET")
        if query.get("wait") or is_of_machine:
            query["wait"] = 0
        if query.get("offset") is not None and operation.endswith("/console"):
            query.pop("tail", None)
        if query.get("start_date") and query.get("end_date"):
            query["start_date"], query["end_date"] = sorted([query["start_date"], query["end_date"]])
        return query

    def authorize(self, case):
        """A client that exists; and for the answer, a page that was really opened."""
        asked = self.seed.authorization()
        if case.method.upper() == "GET":
            case.query = dict(case.query or {}) | asked
        elif isinstance(case.body, dict):
            ticket, cookie = self.seed.opened(asked)
            case.body = dict(case.body) | {"ticket": ticket}
            case.cookies = dict(case.cookies or {}) | cookie
