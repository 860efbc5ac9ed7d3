"""Things for the operations to work on: made over the interface itself, by an administrator whom no test case reaches.

`Seed` makes something of every kind once. `fresh(operation)` gives the path parameters of something that the operation is good for now:
what it uses up (a migration to delete, a batch to start) is made anew each time.
"""

import itertools
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request


class Api:
    """Our own requests, beside those of the tool."""

    def __init__(self, base, key):
        self.base, self.key = base.rstrip("/"), key

    def __call__(self, method, path, body=None, expect=(200, 201, 202, 204)):
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-API-Key": self.key, "Content-Type": "application/json"}
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        if status not in expect:
            raise RuntimeError(f"seeding: {method} {path} answered {status}: {text.decode()}")
        return json.loads(text) if text else None


class Seed:
    def __init__(self, base, key, root):
        self.api, self.root = Api(base, key), root
        self.numbers = itertools.count(1)
        self.me = self.api("GET", "/auth/me")
        # What the test cases must leave alone: with the caller gone, nothing would be tested any more.
        users = self.api("GET", "/auth/users")
        self.guarded = {u["id"] for u in users} | {k["id"] for k in self.api("GET", "/auth/api-keys")} | {"default"}
        os.makedirs(f"{root}/site", exist_ok=True)
        for name in ("index.html", "a.css"):
            with open(f"{root}/site/{name}", "w") as file:
                file.write(name * 100)
        self.completed = self.settled(self.started())
        self.failed = self.settled(self.started(source=f"{root}/nowhere"))
        self.scheduled = self.with_schedule()
        self.created = self.migration()
        self.user, self.tenant, self.own_key, self.client = self.new_user(), self.new_tenant(), self.new_key(), self.new_client()
        self.application = self.api("GET", f"/auth/clients/{self.new_client()}")
        self.preset, self.template, self.batch = self.new_preset(), self.new_template(), self.new_batch()
        self.webhook = self.new_webhook(events=["*"])
        self.vm, self.workload, self.resources = self.new_vm(), self.new_workload(), self.new_resources()
        self.settled(self.started())
        self.deliveries = self.eventually(lambda: self.api("GET", f"/webhooks/{self.webhook}/deliveries?status=dead"))
        self.backups = self.api("GET", "/backups")
        self.guarded |= {value for value in vars(self).values() if isinstance(value, str)} | {self.application["client_id"], self.backups[0]["id"]}
        self.guarded |= set(self.resources.values())

    def name(self, word):
        return f"{word}-{next(self.numbers)}"

    def eventually(self, ask):
        """Long polling of a migration's events is the clock here: no sleeping."""
        for _ in range(60):
            found = ask()
            if found:
                return found
            self.api("GET", f"/migrations/{self.completed}/events?after=999999&wait=1", expect=(200, 404))
        raise RuntimeError("seeding: what was waited for did not come")

    # Migrations

    def configuration(self, source=None):
        to = f"{self.root}/out/{self.name('to')}"
        os.makedirs(to, exist_ok=True)
        with open(f"{to}/index.html", "w") as file:
            file.write("before")
        system = lambda path: {"type": "static", "paths": {"web_root": path}}
        return {"name": self.name("seeded"), "source": system(source or f"{self.root}/site"), "destination": system(to)}

    def migration(self, source=None):
        return self.api("POST", "/migrations", self.configuration(source))["id"]

    def started(self, source=None):
        made = self.migration(source)
        self.api("POST", f"/migrations/{made}/start?skip_validation=true", {"auto_rollback": False})
        return made

    def settled(self, made):
        after = 0
        for _ in range(60):
            status = self.api("GET", f"/migrations/{made}/status")["status"]
            if status in ("completed", "failed", "cancelled", "rolled_back", "stuck", "paused"):
                return made
            events = self.api("GET", f"/migrations/{made}/events?after={after}&wait=2")["events"]
            after = events[-1]["seq"] if events else after
        raise RuntimeError(f"seeding: the migration {made} does not come to rest")

    def cancelled(self):
        made = self.started()
        self.api("POST", f"/migrations/{made}/cancel", expect=(200, 409))
        return self.settled(made)

    def paused(self):
        made = self.started()
        self.api("POST", f"/migrations/{made}/pause", expect=(200, 409))
        return self.settled(made)

    def with_schedule(self):
        made = self.migration()
        self.api("POST", f"/migrations/{made}/schedule", {"schedule_type": "cron", "cron": "0 2 * * *"})
        return made

    # The others

    def new_batch(self, **options):
        body = {"migrations": [self.configuration(), self.configuration()], "batch_options": {"auto_start": False, **options}}
        return self.api("POST", "/migrations/batch", body)["id"]

    def ended_batch(self):
        made = self.new_batch()
        self.api("POST", f"/batches/{made}/cancel")
        self.eventually(lambda: self.api("GET", f"/batches/{made}")["status"] == "cancelled")
        return made

    def new_user(self):
        body = {"username": self.name("ann"), "password": "a long password", "scopes": ["migrations:read"]}
        return self.api("POST", "/auth/users", body)["id"]

    def new_tenant(self):
        return self.api("POST", "/tenants", {"name": self.name("customer")})["id"]

    def new_key(self):
        return self.api("POST", "/auth/api-keys", {"name": self.name("key"), "scopes": ["migrations:read"]})["id"]

    def new_client(self):
        return self.api("POST", "/auth/clients", {"name": self.name("client"), "redirect_uris": ["https://client.example/callback"]})["id"]

    def authorization(self):
        """What an application sends browsers with."""
        return {
            "response_type": "code",
            "client_id": self.application["client_id"],
            "redirect_uri": self.application["redirect_uris"][0],
            "scope": "migrations:read",
        }

    def opened(self, asked):
        """The ticket and the cookie of a page that was opened with that."""
        page = urllib.request.urlopen(f"{self.api.base}/auth/authorize?{urllib.parse.urlencode(asked)}", timeout=30)
        name, _, value = page.headers["Set-Cookie"].split(";")[0].partition("=")
        return re.search(r'name="ticket" value="([^"]*)"', page.read().decode())[1], {name: value}

    def new_preset(self):
        source = {"type": "static", "paths": {"web_root": f"{self.root}/site"}}
        body = {"id": self.name("preset"), "name": "Ours", "config_template": {"source": source, "destination": self.configuration()["destination"], "description": "{{text}}"}, "optional": ["description"]}
        return self.api("POST", "/presets", body)["id"]

    def new_template(self):
        template = self.configuration() | {"name": "{{title}}"}
        body = {"name": self.name("template"), "template": template, "variables": [{"name": "title", "type": "string", "default": "From a template"}]}
        return self.api("POST", "/templates", body)["id"]

    def new_webhook(self, events=("migration.completed",)):
        # Nobody listens there: what is sent fails at once, and nothing leaves this machine.
        retry = {"max_retries": 0, "retry_delay": 1}
        body = {"name": self.name("hook"), "url": "http://127.0.0.1:9/", "events": list(events), "retry_policy": retry}
        return self.api("POST", "/webhooks", body)["id"]

    # Virtual machines and workloads

    def new_vm(self):
        return self.api("POST", "/vms", {"name": self.name("vm")})["id"]

    def address(self):
        number = next(self.numbers)
        return f"127.1.{number // 250 % 250}.{number % 250 + 1}"

    def new_workload(self):
        credentials = {"username": "ann", "password": "secret", "domain": "example.com"}
        storage = {"mount_points": [{"mount_point_name": "/", "total_size": 1000}]}
        return self.api("POST", "/workloads", {"ip": self.address(), "credentials": credentials, "storage": storage})["ip"]

    def new_resources(self):
        """Document 1's things, each made for the next."""
        made = lambda kind, body: self.api("POST", f"/api/v1/{kind}", body)["id"]
        credentials = made("credentials", {"username": "ann", "password": "secret", "domain": "example.com"})
        point = made("mount-points", {"mount_point_name": "/", "total_size": 1000})
        source = made("workloads", {"ip": self.address(), "credentials": credentials, "mount_points": [point]})
        vm = made("workloads", {"ip": self.address(), "credentials": credentials, "mount_points": [point]})
        target = made("migration-targets", {"cloud_type": "aws", "cloud_credentials": credentials, "target_vm": vm})
        move = made("migrations", {"selected_mount_points": [point], "source": source, "migration_target": target})
        return {"credentials": credentials, "mount-points": point, "workloads": source, "migration-targets": target, "migrations": move}

    def disposable(self, kind):
        """The last of a chain of things: nothing else needs it."""
        made = lambda kind, body: self.api("POST", f"/api/v1/{kind}", body)["id"]
        known = self.resources
        if kind == "credentials":
            return made(kind, {"username": "ann", "password": "secret", "domain": "example.com"})
        if kind == "mount-points":
            return made(kind, {"mount_point_name": "/srv", "total_size": 1000})
        if kind == "workloads":
            return made(kind, {"ip": self.address(), "credentials": known["credentials"], "mount_points": []})
        if kind == "migration-targets":
            vm = self.disposable("workloads")
            return made(kind, {"cloud_type": "aws", "cloud_credentials": known["credentials"], "target_vm": vm})
        return made(kind, {"selected_mount_points": [known["mount-points"]], "source": known["workloads"], "migration_target": known["migration-targets"]})

    def backup(self):
        return (self.backups.pop() if len(self.backups) > 1 else {"id": "backup-none"})["id"]

    def fresh(self, operation):
        """Path parameters that suit the operation (`GET /migrations/{session_id}`) now; `None` when there is nothing special about it."""
        delivery = lambda: {"webhook_id": self.webhook, "delivery_id": self.deliveries[0]["id"]}
        session = lambda make: lambda: {"session_id": make()}
        special = {
            "DELETE /migrations/{session_id}": session(self.migration),
            "POST /migrations/{session_id}/start": session(self.migration),
            "POST /migrations/{session_id}/pause": session(self.started),
            "POST /migrations/{session_id}/resume": session(self.paused),
            "POST /migrations/{session_id}/cancel": session(self.started),
            "POST /migrations/{session_id}/rollback": session(self.cancelled),
            "POST /migrations/{session_id}/schedule": session(self.migration),
            "DELETE /migrations/{session_id}/schedule": session(self.with_schedule),
            "GET /migrations/{session_id}/schedule": lambda: {"session_id": self.scheduled},
            "GET /migrations/{session_id}/schedule/firings": lambda: {"session_id": self.scheduled},
            "DELETE /backups/{backup_id}": lambda: {"backup_id": self.backup()},
            "GET /backups/{backup_id}": lambda: {"backup_id": self.backups[0]["id"]},
            "POST /batches/{batch_id}/start": lambda: {"batch_id": self.new_batch()},
            "POST /batches/{batch_id}/pause": lambda: {"batch_id": self.new_batch()},
            "POST /batches/{batch_id}/cancel": lambda: {"batch_id": self.new_batch()},
            "DELETE /batches/{batch_id}": lambda: {"batch_id": self.ended_batch()},
            "PATCH /auth/users/{user_id}": lambda: {"user_id": self.new_user()},
            "DELETE /auth/users/{user_id}": lambda: {"user_id": self.new_user()},
            "PUT /tenants/{tenant_id}/quotas": lambda: {"tenant_id": self.new_tenant()},
            "DELETE /tenants/{tenant_id}": lambda: {"tenant_id": self.new_tenant()},
            "DELETE /auth/api-keys/{key_id}": lambda: {"key_id": self.new_key()},
            "PUT /auth/clients/{client_id}": lambda: {"client_id": self.new_client()},
            "DELETE /auth/clients/{client_id}": lambda: {"client_id": self.new_client()},
            "PUT /presets/{preset_id}": lambda: {"preset_id": self.new_preset()},
            "DELETE /presets/{preset_id}": lambda: {"preset_id": self.new_preset()},
            "DELETE /templates/{template_id}": lambda: {"template_id": self.new_template()},
            "PUT /templates/{template_id}": lambda: {"template_id": self.new_template()},
            "PUT /webhooks/{webhook_id}": lambda: {"webhook_id": self.new_webhook()},
            "DELETE /webhooks/{webhook_id}": lambda: {"webhook_id": self.new_webhook()},
            "DELETE /vms/{vm_id}": lambda: {"vm_id": self.new_vm()},
            "POST /vms/{vm_id}/snapshots": lambda: {"vm_id": self.new_vm()},
            "PUT /workloads/{ip}": lambda: {"ip": self.new_workload()},
            "DELETE /workloads/{ip}": lambda: {"ip": self.new_workload()},
            "GET /webhooks/{webhook_id}/deliveries/{delivery_id}": delivery,
            "POST /webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": delivery,
        }
        if "/api/v1/" in operation:
            kind = operation.split("/api/v1/")[1].split("/")[0]
            is_used_up = not operation.startswith("GET")
            return {"resource_id": self.disposable(kind) if is_used_up else self.resources[kind]}
        if operation in special:
            return special[operation]()
        return {
            "session_id": next(self.turns),
            "batch_id": self.batch,
            "user_id": self.user,
            "tenant_id": self.tenant,
            "key_id": self.own_key,
            "client_id": self.client,
            "preset_id": self.preset,
            "template_id": self.template,
            "webhook_id": self.webhook,
            "vm_id": self.vm,
            "ip": self.workload,
        }

    @property
    def turns(self):
        if not hasattr(self, "_turns"):
            self._turns = itertools.cycle([self.completed, self.failed, self.created, self.scheduled])
        return self._turns
