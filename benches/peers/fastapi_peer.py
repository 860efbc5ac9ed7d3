"""The measured endpoints with FastAPI and pydantic. Run as its documentation says: uvicorn with one worker a core, blocking work in `def`."""

from typing import Annotated, Any, Literal

import shared
from fastapi import Depends, FastAPI, Header, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

app = FastAPI(title="Peer")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Database(Strict):
    type: str
    host: str | None = None
    cluster: str | None = None
    port: int | None = None
    username: str | None = None
    password: str | None = None
    database: str | None = None


class Paths(Strict):
    web_root: str | None = None
    uploads: str | None = None


class System(Strict):
    type: Literal["wordpress", "drupal", "django", "static", "mysql", "postgresql", "mongodb", "aws-s3", "gcp-gcs", "azure-blob"]
    host: str | None = None
    port: int | None = None
    username: str | None = None
    password: str | None = None
    region: str | None = None
    bucket: str | None = None
    paths: Paths | None = None
    database: Database | None = None


class TransferOptions(Strict):
    compression: bool = False
    parallel_transfers: int = 4
    chunk_size: str | None = None
    resume_on_failure: bool = True
    verify_checksums: bool = True


class Transfer(Strict):
    method: str | None = None
    options: TransferOptions | None = None


class Safety(Strict):
    backup_before: bool = True
    backup_retention_days: int = 30
    rollback_on_failure: bool = True
    verify_after: bool = True
    maintenance_mode: bool = False


class NewMigration(Strict):
    name: str
    description: str | None = None
    source: System
    destination: System
    transfer: Transfer | None = None
    safety: Safety | None = None


class Created(BaseModel):
    session_id: str
    id: str
    status: str
    message: str
    created_at: str


class Summary(BaseModel):
    session_id: str
    id: str
    name: str
    status: str
    rolled_back: bool
    kind: str
    created_at: str
    start_time: str | None
    end_time: str | None
    source_type: str
    destination_type: str
    progress: float


class Step(BaseModel):
    name: str
    title: str
    status: str
    attempts: int
    start_time: str | None
    end_time: str | None
    duration: float | None


class Detail(Summary):
    description: str | None
    source: str
    destination: str
    error: dict[str, Any] | None
    steps: list[Step]
    configuration: dict[str, Any]


class Performance(BaseModel):
    transfer_rate_current: str
    transfer_rate_average: str
    files_transferred: int
    files_total: int
    data_transferred: str
    data_total: str
    transfer_rate_current_bytes: float
    transfer_rate_average_bytes: float
    data_transferred_bytes: int
    data_total_bytes: int
    rows_transferred: int
    rows_total: int


class Status(BaseModel):
    session_id: str
    id: str
    name: str
    status: str
    rolled_back: bool
    progress: float
    current_step: str | None
    start_time: str | None
    end_time: str | None
    duration: float | None
    error: dict[str, Any] | None
    steps_completed: int
    steps_total: int
    performance_metrics: Performance
    current_operation: dict[str, Any] | None
    steps: list[Step]
    partial: bool
    backup_id: str | None
    last_event: int


@app.exception_handler(shared.Refused)
def refused(_: Request, error: shared.Refused):
    return JSONResponse({"error": {"code": error.code}}, status_code=error.status)


@app.exception_handler(shared.Missing)
def missing(_: Request, __: shared.Missing):
    return JSONResponse({"error": {"code": "MIGRATION_NOT_FOUND"}}, status_code=404)


def caller(authorization: Annotated[str | None, Header()] = None, x_tenant_id: Annotated[str | None, Header()] = None):
    return shared.caller(authorization, x_tenant_id)


Caller = Annotated[tuple[str, str], Depends(caller)]


@app.get("/health")
def health():
    return {"status": "healthy"}


@app.get("/migrations/")
def migrations(
    who: Caller, status_filter: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100, offset: Annotated[int, Query(ge=0)] = 0
) -> list[Summary]:
    return shared.listed(who[1], status_filter, limit, offset)


@app.get("/migrations/{session_id}")
def migration(who: Caller, session_id: str) -> Detail:
    return shared.detail(who[1], session_id)


@app.get("/migrations/{session_id}/status")
def status(who: Caller, session_id: str) -> Status:
    return shared.status(who[1], session_id)


@app.post("/migrations/", status_code=201)
def create(who: Caller, body: NewMigration, request: Request) -> Created:
    return shared.create(*who, request.client.host, body.model_dump(exclude_unset=True))
